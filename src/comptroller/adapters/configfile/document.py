"""The document: the shape of the configuration file, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from comptroller.adapters.configfile.entry import Entry
from comptroller.adapters.configfile.fieldtypes import (
    Count,
    Day,
    DurationText,
    Email,
    ExceptionId,
    Flag,
    Id,
    ModelName,
    ModelRef,
    PersonName,
    Ref,
    Reference,
    SizeText,
    Text,
    Timezone,
    TotalText,
    Version,
    one_of,
)
from comptroller.adapters.configfile.limit_entries import (
    BudgetField,
    LimitsEntry,
    SharedLimitsEntry,
)
from comptroller.adapters.configfile.model_entries import ModelEntry, ProviderEntry
from comptroller.core.registry import SERVICE_KINDS


class PersonEntry(Entry):
    """A named, living person."""

    name: PersonName = Field(description="The person's name.")
    email: Email = Field(
        description="The person's own address; a shared mailbox is refused."
    )


class PrivacyEntry(Entry):
    """What decision records say of persons; nothing unless set."""

    end_user: Flag = Field(
        default=False,
        description="Whether records commit to the request's end user.",
    )
    client_address: Flag = Field(
        default=False,
        description="Whether records commit to the address a request came from.",
    )
    prompt_fingerprint: Flag = Field(
        default=False,
        description="Whether records hold a keyed fingerprint of the request's body.",
    )


class GatewayEntry(Entry):
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
    separation_of_duties: Flag | None = Field(
        default=None,
        description=(
            "Whether a policy's approver must be another person than its author; so "
            "when more than one person is declared, unless set."
        ),
    )
    privacy: PrivacyEntry = Field(
        default=PrivacyEntry(),
        description="What decision records say of persons; nothing unless set.",
    )


class OwnersEntry(Entry):
    """The three people who answer for a service."""

    policy: Ref = Field(description="The person who answers for what it may do.")
    billing: Ref = Field(description="The person who answers for what it costs.")
    technical: Ref = Field(description="The person who answers for how it works.")


class SandboxEntry(Entry):
    """What makes a service a trial."""

    sponsor: Ref = Field(description="The person who pays for the trial.")
    budget: TotalText = Field(description="What it may cost in all: `500 USD`.")
    ends: Day = Field(description="Its last day: `2027-03-31`.")


class ExceptionEntry(Entry):
    """An approved exception from a rule of the policy, which ends."""

    approved_by: Ref = Field(description="The person who approved it.")
    reason: Text = Field(description="Why it was approved, in a sentence.")
    until: Day = Field(description="Its last day: `2027-03-31`.")


class ServiceEntry(Entry):
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
    classification: Id = Field(
        default="internal",
        description=(
            "How sensitive the data in its requests is, for policies; internal unless "
            "set."
        ),
    )
    exceptions: dict[ExceptionId, ExceptionEntry] = Field(
        default={},
        description="Approved exceptions from rules of the policy, by their ids.",
    )


class UnitEntry(Entry):
    """A business unit of a tenant."""

    owner: Ref = Field(description="The person who answers for the unit.")
    budget: BudgetField | None = Field(
        default=None, description="What all its services may spend together."
    )
    services: dict[Id, ServiceEntry] = Field(
        default={}, description="By id, which is unique in the organization."
    )


class TenantEntry(Entry):
    """A tenant of the gateway."""

    owner: Ref | None = Field(
        default=None, description="The person who answers for the tenant."
    )
    budget: BudgetField | None = Field(
        default=None, description="What all its units may spend together."
    )
    units: dict[Id, UnitEntry] = Field(default={}, description="By id.")
    provider_credentials: dict[Ref, Reference] = Field(
        default={},
        description=(
            "Where its own keys to providers are, `env:NAME` or `file:PATH`, by the "
            "provider's id; used instead of the provider's."
        ),
    )


class Document(Entry):
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
