"""The document: the shape of the configuration file, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from comptroller.adapters.configfile.fieldtypes import (
    BaseUrl,
    Count,
    Day,
    DurationText,
    Email,
    Id,
    LimitText,
    ModelName,
    ModelRef,
    PercentText,
    PersonName,
    RateText,
    Ref,
    Reference,
    SizeText,
    Speaks,
    Text,
    Timezone,
    TokenPrice,
    TotalText,
    UnitPrice,
    Version,
    one_of,
    refuse,
)
from comptroller.core.registry import HOLDS, ON_SHORTFALL, SERVICE_KINDS, TOKENIZERS


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _as_budget(value: object) -> object:
    return value if isinstance(value, dict) else {"limit": value}


class PersonEntry(_Strict):
    """A named, living person."""

    name: PersonName = Field(description="The person's name.")
    email: Email = Field(
        description="The person's own address; a shared mailbox is refused."
    )


class BudgetEntry(_Strict):
    """A limit on money, with when to alert and what to do near the limit."""

    limit: Annotated[
        list[LimitText],
        BeforeValidator(_as_list, json_schema_input_type=LimitText | list[LimitText]),
    ] = Field(
        description=(
            "An amount in a window of time, `1200 USD/month`; windows are hour, day, "
            "week and month, by the organization's calendar. Without a window it is "
            "a total. A list holds several windows, and each of them limits."
        ),
        min_length=1,
    )
    alert_at: list[PercentText] = Field(
        default=[], description="Shares of the limit at which to alert."
    )
    on_shortfall: Annotated[
        str,
        PlainValidator(one_of(ON_SHORTFALL)),
        WithJsonSchema({"enum": list(ON_SHORTFALL)}),
    ] = Field(
        default="refuse",
        description=(
            "What happens to a request that may cost more than is left: `refuse`, or "
            "`clamp` its output to what still fits; refuse unless set."
        ),
    )
    hold: Annotated[
        str, PlainValidator(one_of(HOLDS)), WithJsonSchema({"enum": list(HOLDS)})
    ] = Field(
        default="full",
        description=(
            "What is held before a request is sent: `full`, all that it can cost; or "
            "`progressive`, of a stream its input and a slice of output, extended "
            "while it runs; full unless set."
        ),
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        windows = [one.window for one in self.limit]
        twice = next((one for one in windows if windows.count(one) > 1), None)
        if twice is not None:
            refuse(f'there are two limits for the window "{twice}"', "keep one of them")
        shares = self.alert_at
        again = next((one for one in shares if shares.count(one) > 1), None)
        if again is not None:
            refuse(f'"{again}%" is twice under alert_at', "keep one of them")
        return self


BudgetField = Annotated[
    BudgetEntry,
    BeforeValidator(
        _as_budget, json_schema_input_type=LimitText | list[LimitText] | BudgetEntry
    ),
]


class GatewayEntry(_Strict):
    """The shared gateway."""

    owner: Ref = Field(description="The person who operates the shared gateway.")
    body_max: SizeText = Field(
        default=32 * 2**20, description="The largest request body; 32MiB unless set."
    )
    first_byte_timeout: DurationText = Field(
        default=600,
        description="How long a provider may take to begin its reply; 10m unless set.",
    )
    idle_timeout: DurationText = Field(
        default=300,
        description="How long a provider may pause inside a reply; 5m unless set.",
    )
    drain_max: Count = Field(
        default=64,
        description="Replies read on at once after their clients left; 64 unless set.",
    )
    drain_timeout: DurationText = Field(
        default=120, description="How long such a reply is read on; 2m unless set."
    )


class ProviderEntry(_Strict):
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


class UnitPriceEntry(_Strict):
    """Prices of what is counted and not tokens, in USD each."""

    web_search: UnitPrice = Field(description="One web search, in USD.")


class PriceEntry(_Strict):
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


class SharedLimitsEntry(_Strict):
    """Limits other than money on all requests of one kind together."""

    requests: RateText | None = Field(
        default=None, description="Requests in a period: `600/minute`."
    )
    tokens: RateText | None = Field(
        default=None, description="Tokens in a period: `200000/minute`."
    )
    concurrency: Count | None = Field(
        default=None, description="Requests at the same time."
    )


class LimitsEntry(SharedLimitsEntry):
    """Limits other than money."""

    output_tokens: Count | None = Field(
        default=None, description="Tokens that one reply may have."
    )


class ModelEntry(_Strict):
    """A model that callers may ask for."""

    provider: Ref = Field(description="The provider that runs it.")
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


class OwnersEntry(_Strict):
    """The three people who answer for a service."""

    policy: Ref = Field(description="The person who answers for what it may do.")
    billing: Ref = Field(description="The person who answers for what it costs.")
    technical: Ref = Field(description="The person who answers for how it works.")


class SandboxEntry(_Strict):
    """What makes a service a trial."""

    sponsor: Ref = Field(description="The person who pays for the trial.")
    budget: TotalText = Field(description="What it may cost in all: `500 USD`.")
    ends: Day = Field(description="Its last day: `2027-03-31`.")


class ServiceEntry(_Strict):
    """What owns credentials and answers for its requests."""

    purpose: Text = Field(description="What it is for, in a sentence.")
    kind: Annotated[
        str,
        PlainValidator(one_of(SERVICE_KINDS)),
        WithJsonSchema({"enum": list(SERVICE_KINDS)}),
    ] = Field(description="Who uses it: internal, external, automation or agent.")
    environment: Id = Field(description="Where it runs, such as production.")
    owners: OwnersEntry = Field(description="The three people who answer for it.")
    escalation: list[Ref] = Field(
        default=[], description="Whom to call when something is wrong, in order."
    )
    models: list[ModelRef] = Field(
        description="The models that it may ask for.", min_length=1
    )
    budget: BudgetField | None = Field(
        default=None, description="What it may spend: `1200 USD/month`."
    )
    limits: LimitsEntry = Field(
        default=LimitsEntry(), description="Limits other than money."
    )
    credential_budget: BudgetField | None = Field(
        default=None,
        description="What each of its credentials may spend: `100 USD/month`.",
    )
    credential_limits: SharedLimitsEntry = Field(
        default=SharedLimitsEntry(),
        description="Limits for each of its credentials by itself.",
    )
    operator: Ref | None = Field(
        default=None, description="The person who runs the agent; for kind: agent."
    )
    sponsor: Ref | None = Field(
        default=None,
        description="The person who wants the agent and pays; for kind: agent.",
    )
    run_budget: TotalText | None = Field(
        default=None,
        description="What one run of the agent may cost: `5 USD`; for kind: agent.",
    )
    sandbox: SandboxEntry | None = Field(
        default=None, description="Present when the service is a trial."
    )


class UnitEntry(_Strict):
    """A business unit of a tenant."""

    owner: Ref = Field(description="The person who answers for the unit.")
    budget: BudgetField | None = Field(
        default=None, description="What all its services may spend together."
    )
    services: dict[Id, ServiceEntry] = Field(
        default={}, description="By id, which is unique in the organization."
    )


class TenantEntry(_Strict):
    """A tenant of the gateway."""

    owner: Ref | None = Field(
        default=None, description="The person who answers for the tenant."
    )
    budget: BudgetField | None = Field(
        default=None, description="What all its units may spend together."
    )
    units: dict[Id, UnitEntry] = Field(default={}, description="By id.")


class Document(_Strict):
    """A Comptroller configuration: who may use which models, and who answers."""

    version: Version = Field(description="The version of this format: 1.")
    organization: Id = Field(description="The id of the organization.")
    timezone: Timezone = Field(
        default="UTC",
        description="IANA name; days, weeks and months begin by it; UTC unless set.",
    )
    budget: BudgetField | None = Field(
        default=None, description="What the whole organization may spend."
    )
    people: dict[Id, PersonEntry] = Field(
        description="Named, living people, by id.", min_length=1
    )
    gateway: GatewayEntry = Field(description="The shared gateway.")
    providers: dict[Id, ProviderEntry] = Field(
        default={}, description="Where models run, by id."
    )
    models: dict[ModelName, ModelEntry] = Field(
        default={}, description="What callers may ask for, by the name they use."
    )
    tenants: dict[Id, TenantEntry] = Field(
        default={}, description="Who uses the gateway, by id."
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file, for editors."""
    body = _tidy(Document.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Comptroller configuration",
        **body,
    }


def _tidy(schema: Any) -> Any:  # noqa: ANN401  any part of a JSON document
    """Leaves out what is pydantic's: titles, `null`, and defaults as parsed.

    No key may be left blank, so `null` is never valid; and a default such as
    600 stands for the text `10m`, which the description says.
    """
    if isinstance(schema, list):
        return [_tidy(one) for one in schema if one != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    tidied = {
        key: {name: _tidy(one) for name, one in value.items()}
        if key in {"properties", "$defs"}
        else _tidy(value)
        for key, value in schema.items()
        if key not in {"title", "default"}
    }
    if "patternProperties" in tidied:
        tidied["additionalProperties"] = False  # a key that is no id
    choices = tidied.get("anyOf", [])
    if len(choices) == 1:
        del tidied["anyOf"]
        tidied = {**choices[0], **tidied}
    return tidied
