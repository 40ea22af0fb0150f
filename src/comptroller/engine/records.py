"""Records: the CloudEvents 1.0 documents that journals hold (design.md §6).

These are the shapes for reading. The request path writes the same shapes from
pre-encoded pieces (engine/recording.py); a test holds the two together.
Names: OpenTelemetry GenAI, OPA decision logs, OCSF `is_applied`; ours under
`comptroller.`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.engine.leasing import Lack

DECIDED: Final = "comptroller.request.decided.v1"
SETTLED: Final = "comptroller.request.settled.v1"
RELEASED: Final = "comptroller.request.released.v1"
ABANDONED: Final = "comptroller.request.abandoned.v1"
UNAUTHENTICATED: Final = "comptroller.request.unauthenticated.v1"
OBJECT_CREATED: Final = "comptroller.registry.object.created.v1"
OBJECT_CHANGED: Final = "comptroller.registry.object.changed.v1"
OBJECT_REMOVED: Final = "comptroller.registry.object.removed.v1"
REGISTRY_APPLIED: Final = "comptroller.registry.applied.v1"
CREDENTIAL_ISSUED: Final = "comptroller.credential.issued.v1"
CREDENTIAL_ROTATED: Final = "comptroller.credential.rotated.v1"
CREDENTIAL_REVOKED: Final = "comptroller.credential.revoked.v1"
EXTENDED: Final = "comptroller.request.extended.v1"
HOLDER_JOINED: Final = "comptroller.holder.joined.v1"
LEASE_GRANTED: Final = "comptroller.lease.granted.v1"
LEASE_RETURNED: Final = "comptroller.lease.returned.v1"
LEASE_CLOSED: Final = "comptroller.lease.closed.v1"
LEASE_SUSPENDED: Final = "comptroller.lease.suspended.v1"
SUSPENSE_SETTLED: Final = "comptroller.suspense.settled.v1"
LIMIT_CHANGED: Final = "comptroller.limit.changed.v1"
THRESHOLD_CROSSED: Final = "comptroller.budget.threshold_crossed.v1"
HOLD_EXCEEDED: Final = "comptroller.incident.hold_exceeded.v1"
JOURNAL_STARTED: Final = "comptroller.journal.started.v1"
JOURNAL_SEALED: Final = "comptroller.journal.sealed.v1"
JOURNAL_CLOSED: Final = "comptroller.journal.closed.v1"

RECORD_BYTES_MAX: Final = 65_535
NULL: Final = msgspec.Raw(b"null")


class Envelope(msgspec.Struct, frozen=True):
    """The CloudEvents attributes of a record; `data` is decoded by its type."""

    id: str
    source: str
    type: str
    time: str
    """RFC 3339, UTC, microseconds."""
    subject: str
    sequence: str
    """Decimal, 0 for a journal's first record, without gaps."""
    data: msgspec.Raw
    specversion: str = "1.0"


class Control(msgspec.Struct, frozen=True):
    """One control's outcome (core.decision.ControlOutcome on the wire)."""

    id: str
    version: str
    is_applied: bool
    outcome: str
    observed: str | int | None = None
    limit: str | int | None = None


def _named(name: str) -> Any:  # noqa: ANN401  msgspec.field is typed Any for its default
    return msgspec.field(name=name)


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.decided`: on disk before the first byte goes upstream."""

    decision_id: str
    """The request id, too."""
    path: str
    """The route asked, such as `/v1/chat/completions`, without a query."""
    result: str
    """`allow` or `deny`."""
    reason: str
    """`allowed`, or the stable code of the refusal."""
    operation: str = _named("gen_ai.operation.name")
    dialect: str = _named("comptroller.dialect")
    provider: str | None = _named("gen_ai.provider.name")
    model: str | None = _named("gen_ai.request.model")
    model_upstream: str | None = _named("comptroller.model.upstream")
    max_tokens: int | None = _named("gen_ai.request.max_tokens")
    stream: bool = _named("gen_ai.request.stream")
    server_address: str | None = _named("server.address")
    service: str = _named("service.name")
    unit: str = _named("comptroller.unit.id")
    tenant: str = _named("comptroller.tenant.id")
    kind: str = _named("comptroller.service.kind")
    environment: str = _named("deployment.environment.name")
    credential: str = _named("comptroller.credential.id")
    person: str = _named("comptroller.credential.person")
    owner_policy: str = _named("comptroller.owner.policy")
    owner_billing: str = _named("comptroller.owner.billing")
    owner_technical: str = _named("comptroller.owner.technical")
    owner_unit: str = _named("comptroller.owner.unit")
    owner_gateway: str = _named("comptroller.owner.gateway")
    operator: str | None = _named("comptroller.operator")
    sponsor: str | None = _named("comptroller.sponsor")
    registry_revision: int = _named("comptroller.registry.revision")
    bundles: dict[str, dict[str, str]]
    controls: list[Control] = _named("comptroller.controls")
    rate_card: str | None = _named("comptroller.rate_card")
    hold_nano_usd: int = _named("comptroller.hold.nano_usd")
    hold_input_tokens: int = _named("comptroller.hold.input_tokens")
    hold_output_tokens: int = _named("comptroller.hold.output_tokens")
    body_bytes: int = _named("http.request.body.size")
    run: str | None = msgspec.field(name="comptroller.run", default=None)
    downgraded_from: str | None = msgspec.field(
        name="comptroller.model.downgraded_from", default=None
    )
    """The id of the model asked for, where a budget had it answered by another."""
    downgraded_by: DowngradedBy | None = msgspec.field(
        name="comptroller.model.downgraded_by", default=None
    )
    hold_accounts: list[str] = msgspec.field(
        name="comptroller.hold.accounts", default_factory=list
    )
    """Accounts that each hold `hold_nano_usd`; see core.account."""
    hold_permits: list[str] = msgspec.field(
        name="comptroller.hold.permits", default_factory=list
    )
    """Accounts that each hold one request under way."""
    hold_progressive: list[str] = msgspec.field(
        name="comptroller.hold.progressive", default_factory=list
    )
    """Accounts that each hold `hold_slice_nano_usd`, extended while it streams."""
    hold_slice_nano_usd: int = msgspec.field(
        name="comptroller.hold.slice_nano_usd", default=0
    )
    attempt_of: str | None = msgspec.field(name="comptroller.attempt.of", default=None)
    """The decision of the first attempt, where another deployment failed it."""
    attempt_after: str | None = msgspec.field(
        name="comptroller.attempt.after", default=None
    )
    """The decision of the attempt right before this one."""
    policy_input: msgspec.Raw = msgspec.field(
        name="comptroller.policy.input", default=NULL
    )
    """The facts it was decided on; `policy_facts.restored` completes them. null: the
    policy was not asked, or none is active."""
    policy_effect: str | None = msgspec.field(
        name="comptroller.policy.effect", default=None
    )
    policy_by: list[str] = msgspec.field(
        name="comptroller.policy.by", default_factory=list
    )
    policy_would_deny: list[str] = msgspec.field(
        name="comptroller.policy.would_deny", default_factory=list
    )
    policy_warnings: list[str] = msgspec.field(
        name="comptroller.policy.warnings", default_factory=list
    )
    policy_errors: list[str] = msgspec.field(
        name="comptroller.policy.errors", default_factory=list
    )
    policy_max_output_tokens: int | None = msgspec.field(
        name="comptroller.policy.max_output_tokens", default=None
    )
    policy_ceiling: str | None = msgspec.field(
        name="comptroller.policy.ceiling", default=None
    )
    lack: Lack | None = msgspec.field(name="comptroller.limit.lack", default=None)
    """Of a request that was denied: the account that had no room, as it stood."""
    commitments: list[str] = msgspec.field(name="_sd", default_factory=list)
    """To its personal fields, sorted; see core.disclosure."""
    commitments_by: str | None = msgspec.field(name="_sd_alg", default=None)
    prompt_hmac: str | None = msgspec.field(
        name="comptroller.prompt.hmac", default=None
    )
    """Fingerprint of its body with its tenant's key; null: it has none."""


class DowngradedBy(msgspec.Struct, frozen=True):
    """The budget that changed a request's model, and the model that it uses."""

    account: str
    percent: int
    """The share of it that was spent."""
    use: str


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.settled`: what it consumed and what that cost."""

    decision_id: str
    outcome: str
    """`completed`, `upstream_error`, `client_left`, `cut`, `upstream_broke`."""
    status: int | None = _named("http.response.status_code")
    model_answered: str | None = _named("gen_ai.response.model")
    response_id: str | None = _named("gen_ai.response.id")
    input_tokens: int = _named("gen_ai.usage.input_tokens")
    """Every prompt-side token, as OpenTelemetry counts."""
    output_tokens: int = _named("gen_ai.usage.output_tokens")
    usage: dict[str, int] = _named("comptroller.usage")
    usage_source: str = _named("comptroller.usage.source")
    usage_raw: list[msgspec.Raw] = _named("comptroller.usage.raw")
    passes: list[Pass] = _named("comptroller.usage.passes")
    """Only when more than one model ran."""
    service_tier: str | None = _named("comptroller.service_tier")
    rate_card: str | None = _named("comptroller.rate_card")
    cost_nano_usd: int = _named("comptroller.cost.nano_usd")
    cost_source: str = _named("comptroller.cost.source")
    """`rate_card`, `provider`, `estimated` or `none` (nothing was billable)."""
    hold_exceeded: bool = _named("comptroller.hold.exceeded")
    duration_us: int = _named("comptroller.duration_us")
    first_byte_us: int | None = _named("comptroller.first_byte_us")
    stored: Stored | msgspec.UnsetType = msgspec.field(
        name="comptroller.stored", default=msgspec.UNSET
    )
    """Absent: its reply names nothing that the provider may have stored."""


class Stored(msgspec.Struct, frozen=True):
    """What a provider may have stored of a request, by the ids in its reply."""

    provider: str
    model: str
    """The model that ran, as the registry names it."""
    response: str
    items: list[str] = []


class Pass(msgspec.Struct, frozen=True):
    """What one of several models inside one reply consumed."""

    model: str | None
    usage: dict[str, int]
    cost_nano_usd: int


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.released`: nothing was sent upstream, nothing is owed."""

    decision_id: str
    reason: str


class Abandoned(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.abandoned`: its worker died; booked at its hold."""

    decision_id: str
    journal: str
    """Source of the dead worker's journal."""
    cost_nano_usd: int = _named("comptroller.cost.nano_usd")
    usage: dict[str, int] = _named("comptroller.usage")
    usage_source: str = _named("comptroller.usage.source")
    """Always `hold`."""


class Extended(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.extended`: a progressive hold grew while its reply streams."""

    decision_id: str
    slice_nano_usd: int = _named("comptroller.hold.slice_nano_usd")
    """What each of its progressive accounts holds from now on."""


class HolderJoined(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `holder.joined`: a worker may be granted leases from now on."""

    holder: str
    """Source of its journal."""
    boot: str
    durability: str


class GrantedLease(msgspec.Struct, frozen=True, kw_only=True):
    """One account's part of `lease.granted`."""

    account: str
    amount: int
    limit: int
    """Of the account as declared, in its own unit."""
    starts_ns: int
    """Where the account's window begins; 0: at no time."""
    ends_ns: int | None
    """Where it ends; None: never."""


class LeaseGranted(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `lease.granted`: a holder may spend so much more."""

    holder: str
    sequence: int
    """Of the ask that this answers; one ask is answered once."""
    grants: list[GrantedLease]


class ReturnedLease(msgspec.Struct, frozen=True, kw_only=True):
    """One account's part of `lease.returned` and its like."""

    account: str
    amount: int


class LeaseReturned(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `lease.returned`, in the holder's own journal."""

    returns: list[ReturnedLease]


class LeaseClosed(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `lease.closed`: a dead holder's leases return, all of them.

    It counts only after the holder's journal was projected up to `position`.
    """

    holder: str
    position: int
    returns: list[ReturnedLease]
    is_last: bool = True
    """False: it has more leases, and stays open until the record that says so."""


class LeaseSuspended(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `lease.suspended`: a holder is gone and its journal cannot be read.

    What it may have spent counts as spent until a named person settles it.
    """

    holder: str
    reason: str
    leases: list[ReturnedLease]
    is_last: bool = True
    """As in LeaseClosed."""


class SuspenseSettled(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `suspense.settled`: a named person says what a lost holder spent."""

    holder: str
    account: str
    spent_nano_usd: int
    """At most what is in suspense; the rest is free again."""
    reason: str
    actor: Actor


class LimitChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `limit.changed`: an account's limit, and what is in force of it.

    Lowering a limit below what is committed takes effect as soon as it fits.
    """

    account: str
    limit: int
    effective: int
    """At least the limit: what is committed now, while that is more."""


class ThresholdCrossed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Data of `budget.threshold_crossed`: once an account and percentage."""

    account: str
    percent: int
    spent_nano_usd: int
    limit_nano_usd: int
    use: str | None = None
    """The model that requests go to from then on; absent: those that they name."""


class HoldExceeded(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `incident.hold_exceeded`: a request cost more than was held for it."""

    decision_id: str
    service: str
    model: str | None
    hold_nano_usd: int
    cost_nano_usd: int


class Unauthenticated(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `request.unauthenticated`: refusals without a known credential.

    One record a second and reason at the most, so that strangers cannot fill
    the disk.
    """

    reason: str
    count: int


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it: a declared person where one was named, and the system account."""

    person: str | None
    account: str
    """`user@host` as the operating system has it."""


class ObjectChange(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `registry.object.*`: one object of the configuration, before and after.

    `kind` is `organization`, `person`, `gateway`, `provider`, `model`, `tenant`,
    `unit` or `service`; bodies are the JSON of the core.registry values, but of a
    person only the id with commitments to the rest (engine/people.py). A change
    takes effect with the `registry.applied` record of its revision.
    """

    revision: int
    kind: str
    id: str
    before: msgspec.Raw = NULL
    after: msgspec.Raw = NULL
    changed: list[str] | msgspec.UnsetType = msgspec.UNSET
    """The members of a person that are not what they were, by name."""
    actor: Actor

    @property
    def body(self) -> bytes | None:
        """The object's JSON after the change; None: it was removed."""
        # msgspec cannot decode `Raw | None`: it takes only the null of the two.
        return None if self.after == NULL else bytes(self.after)


class RegistryApplied(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `registry.applied`: the changes of this revision take effect."""

    revision: int
    changes: int
    digest: str
    """`sha256:` of the configuration text as applied."""
    actor: Actor


class CredentialIssued(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `credential.issued`."""

    credential_id: str
    service: str
    person: str
    secret_sha256: str
    not_before_ns: int
    expires_ns: int | None
    actor: Actor


class CredentialRotated(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `credential.rotated`: a new secret; the old ones end at a set time."""

    credential_id: str
    secret_sha256: str
    not_before_ns: int
    old_not_after_ns: int
    actor: Actor


class CredentialRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `credential.revoked`."""

    credential_id: str
    reason: str
    revoked_ns: int
    actor: Actor


def encode(envelope: dict[str, Any]) -> bytes:
    """Encodes a record that is not on the request path; one line of JSON."""
    return msgspec.json.encode(envelope)
