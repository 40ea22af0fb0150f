"""The registry: people, providers, models, and the path to every service.

An applied configuration (design.md §7) as frozen values. Ids are the keys of the
file; a service's id is unique in the organization.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final, NewType

PersonId = NewType("PersonId", str)
ServiceId = NewType("ServiceId", str)
UnitId = NewType("UnitId", str)
TenantId = NewType("TenantId", str)
ModelId = NewType("ModelId", str)
ProviderId = NewType("ProviderId", str)

DIALECT_PREFIXES: Final = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
"""Every dialect, with the prefix that its standard paths begin with."""

SERVICE_KINDS: Final = ("internal", "external", "automation", "agent")
BUDGET_WINDOWS: Final = ("hour", "day", "week", "month", "total")
TOKENIZERS: Final = ("o200k_base", "cl100k_base")
"""Whose prompts can be counted exactly, offline."""
ON_SHORTFALL: Final = ("refuse", "clamp")
"""What a budget does with a request that may cost more than is left."""
HOLDS: Final = ("full", "progressive")
"""What a budget holds of a request before it is sent."""


@dataclass(frozen=True, slots=True)
class Organization:
    """What holds for everything: its name, its calendar, its overall budget."""

    name: str
    timezone: str
    """IANA name; calendar windows begin and end by it."""
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A named, living person; never a shared mailbox."""

    id: PersonId
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Where models run."""

    id: ProviderId
    base_url: str
    """Origin: scheme, host and port, without a path."""
    speaks: dict[str, str]
    """Dialect to the path prefix that stands where DIALECT_PREFIXES has its own.

    `{"openai": "/v1"}` is the usual one, `{"openai": "/api/v1"}` OpenRouter's:
    chat completions are then at `/api/v1/chat/completions`.
    """
    credential: str | None = None
    """A reference, `env:NAME` or `file:PATH`; never the secret."""
    ca_file: str | None = None
    """PEM bundle that replaces the system's trust for this provider."""
    prices: str | None = None
    """The provider's id in the price catalogue, where its URL does not tell."""
    region: str | None = None
    """Where its models run, such as `eu`; a fact that policies speak of."""
    self_hosted: bool = False
    """Whether we run it ourselves."""


@dataclass(frozen=True, slots=True)
class DeclaredPrice:
    """A price from the configuration; classes it leaves out keep the catalogue's."""

    rates_pico_usd: dict[str, int]
    """By usage class: pico-USD per token, or per unit for a counted unit."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per period."""

    count: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits other than money; None: not limited here."""

    requests: Rate | None = None
    tokens: Rate | None = None
    concurrency: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of several places where a model runs."""

    provider: ProviderId
    upstream: str
    """The provider's own name of the model."""
    weight: int = 1
    """Its share of the requests, against the other weights; from 1."""
    price: DeclaredPrice | None = None
    region: str | None = None
    """None: the model's, or else its provider's."""


@dataclass(frozen=True, slots=True)
class Model:
    """What callers may ask for."""

    id: ModelId
    provider: ProviderId
    upstream: str
    """The provider's own name of the model."""
    price: DeclaredPrice | None = None
    max_output_tokens: int | None = None
    context_window_tokens: int | None = None
    tokenizer: str | None = None
    """One of TOKENIZERS, which its provider bills by; None: known by its host."""
    limits: Limits = field(default_factory=Limits)
    """For all who ask for the model together; `output_tokens` is not set here."""
    tier: str | None = None
    """Such as `premium`; a fact that policies speak of."""
    region: str | None = None
    """Where it runs; None: where its provider does."""
    environments: tuple[str, ...] = ()
    """That it is approved for, as policies are told; empty: none is named."""
    aliases: tuple[str, ...] = ()
    """Further names by which callers may ask for it."""
    deployments: tuple[Deployment, ...] = ()
    """Where it runs, where that is more than one place; the first one is also
    `provider` and `upstream`. Empty: there alone."""


@dataclass(frozen=True, slots=True)
class Window:
    """A limit on money in a window of time."""

    limit_nano_usd: int
    window: str
    """`hour`, `day`, `week`, `month` or `total`."""


@dataclass(frozen=True, slots=True)
class Downgrade:
    """Another model for requests, once a share of a budget is spent."""

    percent: int
    use: ModelId


@dataclass(frozen=True, slots=True)
class Budget:
    """One or more windows, and the shares at which to alert."""

    windows: tuple[Window, ...]
    alert_at_percent: tuple[int, ...] = ()
    on_shortfall: str = "refuse"
    """`refuse`, or `clamp`: lower a request's output ceiling to what still fits."""
    hold: str = "full"
    """`full`: all that a request can cost is held before it is sent;
    `progressive`: of a stream its input and a slice of output, extended as it runs."""
    on_threshold: tuple[Downgrade, ...] = ()
    """Lowest share first."""


@dataclass(frozen=True, slots=True)
class Owners:
    """The three named people who answer for a service."""

    policy: PersonId
    billing: PersonId
    technical: PersonId


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A trial: who pays for it, how much in all, and its last day."""

    sponsor: PersonId
    budget: Window
    """Its window is always `total`."""
    ends: date
    """The last day on which it may be used, in the organization's timezone."""


@dataclass(frozen=True, slots=True)
class PolicyException:
    """An approved exception from a rule of the policy, which ends."""

    id: str
    approved_by: PersonId
    reason: str
    until: date
    """The last day on which it holds, in the organization's timezone."""


@dataclass(frozen=True, slots=True)
class Service:
    """What owns credentials and answers for its requests."""

    id: ServiceId
    tenant: TenantId
    unit: UnitId
    purpose: str
    kind: str
    """`internal`, `external`, `automation` or `agent`."""
    environment: str
    owners: Owners
    models: tuple[ModelId, ...]
    escalation: tuple[PersonId, ...] = ()
    budget: Budget | None = None
    limits: Limits = field(default_factory=Limits)
    operator: PersonId | None = None
    sponsor: PersonId | None = None
    run_budget: Window | None = None
    """For one run of an agent; its window is always `total`."""
    sandbox: Sandbox | None = None
    credential_budget: Budget | None = None
    """For each of its credentials by itself."""
    credential_limits: Limits = field(default_factory=Limits)
    """For each of its credentials by itself; `output_tokens` is not set here."""
    classification: str = "internal"
    """How sensitive the data in its requests is; a fact that policies speak of."""
    exceptions: tuple[PolicyException, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """A business unit of a tenant."""

    id: UnitId
    tenant: TenantId
    owner: PersonId
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the gateway."""

    id: TenantId
    owner: PersonId | None = None
    budget: Budget | None = None
    provider_credentials: dict[ProviderId, str] = field(default_factory=dict)
    """References to its own credentials, instead of the providers' shared ones."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """What decision records say of persons: only as commitments and fingerprints."""

    end_user: bool = False
    """Whether they commit to who the end user is, as the request says."""
    client_address: bool = False
    """Whether they commit to the address that the connection came from."""
    prompt_fingerprint: bool = False
    """Whether they hold a keyed fingerprint of the request's body."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The shared gateway: its named operational owner and its bounds."""

    owner: PersonId
    body_bytes_max: int = 32 * 1024 * 1024
    upstream_first_byte_timeout_s: int = 600
    upstream_idle_timeout_s: int = 300
    drain_count_max: int = 64
    drain_timeout_s: int = 120
    separation_of_duties: bool | None = None
    """Whether a policy's approver must be another person than its author; None:
    when more than one person is declared."""
    privacy: Privacy = field(default_factory=Privacy)


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything an applied configuration declares."""

    organization: str
    timezone: str
    people: dict[PersonId, Person]
    gateway: GatewaySettings
    providers: dict[ProviderId, Provider]
    models: dict[ModelId, Model]
    tenants: dict[TenantId, Tenant]
    units: dict[str, Unit]
    """By `tenant/unit`."""
    services: dict[ServiceId, Service]
    budget: Budget | None = None
