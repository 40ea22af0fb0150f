"""Entries for providers and for the models that they run."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from comptroller.adapters.configfile.entry import Entry
from comptroller.adapters.configfile.fieldtypes import (
    BaseUrl,
    Count,
    Flag,
    Id,
    ModelName,
    Ref,
    Reference,
    Speaks,
    Text,
    TokenPrice,
    UnitPrice,
    Weight,
    one_of,
    refuse,
)
from comptroller.adapters.configfile.limit_entries import SharedLimitsEntry
from comptroller.core.registry import TOKENIZERS


class ProviderEntry(Entry):
    """Where models run."""

    base_url: BaseUrl = Field(
        description="Scheme, host and port, without a path: `https://api.openai.com`."
    )
    speaks: Speaks = Field(
        description=(
            "The dialects it understands, as a list; or as a map from a dialect to "
            "its path prefix, where that is not `/v1` (`/v1beta` for gemini)."
        )
    )
    credential: Reference | None = Field(
        default=None,
        description="Where its key is: `env:NAME` or `file:PATH`; never the key.",
    )
    ca_file: Text | None = Field(
        default=None,
        description="A PEM file of authorities to trust for it, and no others.",
    )
    prices: Text | None = Field(
        default=None,
        description="Its name in the price catalogue, where its URL does not tell.",
    )
    region: Id | None = Field(
        default=None, description="Where its models run, such as `eu`; for policies."
    )
    self_hosted: Flag = Field(
        default=False,
        description="Whether we run it ourselves, for policies; false unless set.",
    )


class UnitPriceEntry(Entry):
    """Prices of what is counted and not tokens, in USD each."""

    web_search: UnitPrice = Field(description="One web search, in USD.")


class PriceEntry(Entry):
    """A price in USD per million tokens, by class of use.

    Classes that it leaves out keep the catalogue's price.
    """

    input: TokenPrice | None = Field(default=None, description="Text prompt, uncached.")
    cache_read: TokenPrice | None = Field(
        default=None, description="Prompt read from a cache."
    )
    cache_write_5m: TokenPrice | None = Field(
        default=None, description="Prompt written to a cache for 5 minutes."
    )
    cache_write_30m: TokenPrice | None = Field(
        default=None, description="Prompt written to a cache for 30 minutes."
    )
    cache_write_1h: TokenPrice | None = Field(
        default=None, description="Prompt written to a cache for an hour."
    )
    cache_write_12h: TokenPrice | None = Field(
        default=None, description="Prompt written to a cache for 12 hours."
    )
    input_audio: TokenPrice | None = Field(default=None, description="Audio prompt.")
    input_image: TokenPrice | None = Field(default=None, description="Image prompt.")
    output: TokenPrice | None = Field(default=None, description="Text written.")
    reasoning: TokenPrice | None = Field(
        default=None, description="Reasoning; the price of output where left out."
    )
    output_audio: TokenPrice | None = Field(default=None, description="Audio written.")
    output_image: TokenPrice | None = Field(default=None, description="Image written.")
    per_unit: UnitPriceEntry | None = Field(
        default=None, description="What is counted and not tokens, in USD each."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            refuse("this price names no class", "such as {input: 0.10, output: 0.40}")
        return self


class DeploymentEntry(Entry):
    """One of several places where a model runs."""

    provider: Ref = Field(description="The provider that runs it there.")
    upstream: Text | None = Field(
        default=None,
        description="That provider's own name of it, where that is another.",
    )
    weight: Weight = Field(
        default=1,
        description="Its share of the requests against the others'; 1 unless set.",
    )
    price: PriceEntry | None = Field(
        default=None, description="Its price there, where it is not the model's."
    )
    region: Id | None = Field(
        default=None,
        description="Where that is, when it is not the model's or its provider's.",
    )


class ModelEntry(Entry):
    """A model that callers may ask for."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["provider"]}, {"required": ["deployments"]}]
        }
    )

    provider: Ref | None = Field(
        default=None, description="The provider that runs it, where it is only one."
    )
    upstream: Text | None = Field(
        default=None,
        description="The provider's own name of it, where that is another.",
    )
    price: PriceEntry | None = Field(
        default=None,
        description="Its price, where the catalogue has none or a contract differs.",
    )
    max_output_tokens: Count | None = Field(
        default=None, description="The most tokens it can write in one reply."
    )
    context_window_tokens: Count | None = Field(
        default=None, description="The most tokens of prompt and reply together."
    )
    tokenizer: Annotated[
        str | None,
        PlainValidator(one_of(TOKENIZERS)),
        WithJsonSchema({"enum": list(TOKENIZERS)}),
    ] = Field(
        default=None,
        description=(
            "The tokenizer that its provider bills prompts by, where the provider is "
            "not OpenAI or Azure itself and adds nothing to prompts."
        ),
    )
    limits: SharedLimitsEntry = Field(
        default=SharedLimitsEntry(),
        description="Limits for all who ask for it together.",
    )
    tier: Id | None = Field(
        default=None, description="Its tier, such as `premium`; for policies."
    )
    region: Id | None = Field(
        default=None,
        description="Where it runs, when it is not its provider's; for policies.",
    )
    environments: list[Id] = Field(
        default=[],
        description="The environments that it is approved for; for policies.",
    )
    aliases: list[ModelName] = Field(
        default=[], description="Further names by which callers may ask for it."
    )
    deployments: list[DeploymentEntry] | None = Field(
        default=None,
        description="Where it runs, when it is in several places; instead of provider.",
        min_length=1,
    )
