"""Folding: what a run of journal records means to a store.

Every store projects from this one reading, so they cannot disagree about it.
Only what a store keeps is decoded, for this runs once a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from comptroller.core.credential import Credential, CredentialId, Secret
from comptroller.core.errors import RecordError
from comptroller.core.timestamps import nanoseconds
from comptroller.core.usage import USAGE_CLASSES, Usage
from comptroller.engine import (
    control_records,
    deletion_records,
    policy_records,
    privacy_records,
    records,
    retention_records,
    trail_records,
)
from comptroller.engine.access import ACCESS_READ
from comptroller.engine.ports import JournalRecord

Result: TypeAlias = Literal["allow", "deny"]


def _named(name: str, default: Any = msgspec.NODEFAULT) -> Any:  # noqa: ANN401  as msgspec.field
    return msgspec.field(name=name, default=default)


_NONE: Final = msgspec.Raw(b"[]")


class DecidedFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a store keeps of `request.decided`; see `records.Decided`.

    In the order in which the recorder writes the members, for then msgspec finds
    each at once.
    """

    decision_id: str
    path: str
    service: str = _named("service.name")
    unit: str = _named("comptroller.unit.id")
    tenant: str = _named("comptroller.tenant.id")
    credential: str = _named("comptroller.credential.id")
    person: str = _named("comptroller.credential.person")
    owner_policy: str = _named("comptroller.owner.policy")
    owner_billing: str = _named("comptroller.owner.billing")
    owner_technical: str = _named("comptroller.owner.technical")
    rate_card: str | None = _named("comptroller.rate_card", None)
    result: Result
    reason: str
    model: str | None = _named("gen_ai.request.model", None)
    hold_nano_usd: int = _named("comptroller.hold.nano_usd")
    hold_input_tokens: int = _named("comptroller.hold.input_tokens")
    hold_output_tokens: int = _named("comptroller.hold.output_tokens")
    run: str | None = _named("comptroller.run", None)
    hold_accounts: msgspec.Raw = _named("comptroller.hold.accounts", _NONE)
    """JSON as recorded: few requests hold on accounts that none held on before, so
    stores read each text once (`HeldAccounts`)."""
    hold_permits: msgspec.Raw = _named("comptroller.hold.permits", _NONE)
    hold_progressive: msgspec.Raw = _named("comptroller.hold.progressive", _NONE)
    hold_slice_nano_usd: int = _named("comptroller.hold.slice_nano_usd", 0)

    @property
    def is_allowed(self) -> bool:
        """Whether an end is still to come."""
        return self.result == "allow"


class _Ended(msgspec.Struct, frozen=True, gc=False):
    """What a store keeps of `settled`, `released` and `abandoned`."""

    decision_id: str
    model_answered: str | None = _named("gen_ai.response.model", None)
    usage: Usage = msgspec.field(name="comptroller.usage", default_factory=dict)
    usage_source: str | None = _named("comptroller.usage.source", None)
    rate_card: str | None = _named("comptroller.rate_card", None)
    cost_nano_usd: int = _named("comptroller.cost.nano_usd", 0)
    duration_us: int | None = _named("comptroller.duration_us", None)
    stored: records.Stored | None = _named("comptroller.stored", None)


class _DecidedLine(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=records.DECIDED
):
    time: str
    data: DecidedFacts


class _SettledLine(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=records.SETTLED
):
    data: _Ended


class _ReleasedLine(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=records.RELEASED
):
    data: _Ended


class _AbandonedLine(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=records.ABANDONED
):
    data: _Ended


class _Slice(msgspec.Struct, frozen=True, gc=False):
    """What a store keeps of `extended`."""

    decision_id: str
    slice_nano_usd: int = _named("comptroller.hold.slice_nano_usd")


class _ExtendedLine(
    msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=records.EXTENDED
):
    data: _Slice


class _GrantedLine(
    msgspec.Struct, frozen=True, tag_field="type", tag=records.LEASE_GRANTED
):
    time: str
    data: records.LeaseGranted


class _ReturnedLine(
    msgspec.Struct, frozen=True, tag_field="type", tag=records.LEASE_RETURNED
):
    time: str
    data: records.LeaseReturned


_LeaseLine: TypeAlias = _GrantedLine | _ReturnedLine
_EndedLine: TypeAlias = _SettledLine | _ReleasedLine | _AbandonedLine


class HeldAccounts(NamedTuple):
    """The accounts that a request was held on."""

    text: str
    """The three lists as JSON, as recorded; empty: it was held on none."""
    accounts: tuple[str, ...]
    """Each holds the whole hold."""
    permits: tuple[str, ...]
    """Each holds one request under way."""
    progressive: tuple[str, ...]
    """Each holds a slice, extended while the reply streams."""

    def held(self, hold: int, a_slice: int) -> list[tuple[str, int]]:
        """Every account with the amount that it holds."""
        held = [(account, hold) for account in self.accounts]
        if self.permits:
            held += [(account, 1) for account in self.permits]
        if self.progressive:
            held += [(account, a_slice) for account in self.progressive]
        return held


class Decision(NamedTuple):
    """A decision, where and when it was recorded."""

    facts: DecidedFacts
    time_ns: int
    offset: int
    path: HeldAccounts


class End(NamedTuple):
    """How an allowed request ended."""

    request_id: str
    state: str
    """`settled`, `released` or `abandoned`."""
    offset: int
    cost_nano_usd: int
    usage: Usage
    usage_source: str | None
    rate_card: str | None
    model_answered: str | None
    duration_us: int | None
    stored: records.Stored | None


ActData: TypeAlias = (
    records.ObjectChange
    | records.RegistryApplied
    | records.CredentialIssued
    | records.CredentialRotated
    | records.CredentialRevoked
    | retention_records.TrailPruned
    | retention_records.LegalHoldPlaced
    | retention_records.LegalHoldLifted
    | deletion_records.JournalDeleted
)


class Act(NamedTuple):
    """An administrative act: on the registry, credentials, or what is kept."""

    data: ActData
    time_ns: int
    sequence: int
    """Of its record in the journal."""


LedgerData: TypeAlias = (
    records.HolderJoined
    | records.LeaseGranted
    | records.LeaseReturned
    | records.LeaseClosed
    | records.LeaseSuspended
    | records.SuspenseSettled
    | records.LimitChanged
    | records.ThresholdCrossed
    | records.HoldExceeded
)


class LedgerAct(NamedTuple):
    """Something that happened to holders, leases, limits or budgets."""

    data: LedgerData
    time_ns: int
    offset: int


PolicyData: TypeAlias = (
    policy_records.PolicyPublished
    | policy_records.PolicyActivated
    | policy_records.PolicyDeactivated
    | policy_records.PolicyLoaded
)


class PolicyAct(NamedTuple):
    """Something that happened to policies: published, activated, loaded."""

    data: PolicyData
    time_ns: int
    offset: int
    sequence: int


class Sign(NamedTuple):
    """A sign that a process lived: its journal began or ended, or a heartbeat."""

    data: control_records.SignData
    time_ns: int
    sequence: int


class Conflict(NamedTuple):
    """An end of a request that had ended already; the first one counts."""

    request_id: str
    offset: int


@dataclass(slots=True)
class Folded:
    """What a run of records of one source means, by kind."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    """In the order of the journal."""
    slices: dict[str, int] = field(default_factory=dict)
    """What each progressive account of a request holds, as last extended."""
    ledger: list[LedgerAct] = field(default_factory=list)
    """In the order of the journal."""
    policies: list[PolicyAct] = field(default_factory=list)
    """In the order of the journal."""
    signs: list[Sign] = field(default_factory=list)
    """In the order of the journal."""


_KNOWN_CLASSES: Final = frozenset(USAGE_CLASSES)
_NO_EFFECT: Final = frozenset(
    {
        records.UNAUTHENTICATED,
        records.JOURNAL_SEALED,
        policy_records.POLICY_REFUSED,
        privacy_records.PRIVACY_ERASED,
        ACCESS_READ,
    }
)
_FREQUENT: Final = frozenset(
    {
        records.DECIDED,
        records.SETTLED,
        records.RELEASED,
        records.ABANDONED,
        records.EXTENDED,
        records.LEASE_GRANTED,
        records.LEASE_RETURNED,
    }
)
"""Types that are read at the first attempt; others are not a request's."""
_LEDGER: Final[dict[str, type[LedgerData]]] = {
    records.HOLDER_JOINED: records.HolderJoined,
    records.LEASE_CLOSED: records.LeaseClosed,
    records.LEASE_SUSPENDED: records.LeaseSuspended,
    records.SUSPENSE_SETTLED: records.SuspenseSettled,
    records.LIMIT_CHANGED: records.LimitChanged,
    records.THRESHOLD_CROSSED: records.ThresholdCrossed,
    records.HOLD_EXCEEDED: records.HoldExceeded,
}
_ACTS: Final[dict[str, type[ActData]]] = {
    records.OBJECT_CREATED: records.ObjectChange,
    records.OBJECT_CHANGED: records.ObjectChange,
    records.OBJECT_REMOVED: records.ObjectChange,
    records.REGISTRY_APPLIED: records.RegistryApplied,
    records.CREDENTIAL_ISSUED: records.CredentialIssued,
    records.CREDENTIAL_ROTATED: records.CredentialRotated,
    records.CREDENTIAL_REVOKED: records.CredentialRevoked,
    trail_records.TRAIL_PRUNED: retention_records.TrailPruned,
    retention_records.LEGAL_HOLD_PLACED: retention_records.LegalHoldPlaced,
    retention_records.LEGAL_HOLD_LIFTED: retention_records.LegalHoldLifted,
    deletion_records.JOURNAL_DELETED: deletion_records.JournalDeleted,
}
_POLICIES: Final[dict[str, type[PolicyData]]] = {
    policy_records.POLICY_PUBLISHED: policy_records.PolicyPublished,
    policy_records.POLICY_ACTIVATED: policy_records.PolicyActivated,
    policy_records.POLICY_DEACTIVATED: policy_records.PolicyDeactivated,
    policy_records.POLICY_LOADED: policy_records.PolicyLoaded,
}
_SIGNS: Final[dict[str, type[control_records.SignData]]] = {
    control_records.CONTROL_HEARTBEAT: control_records.Heartbeat,
    records.JOURNAL_STARTED: control_records.JournalStarted,
    records.JOURNAL_CLOSED: control_records.JournalClosed,
}

_STATES: Final[dict[type, str]] = {
    _SettledLine: "settled",
    _ReleasedLine: "released",
    _AbandonedLine: "abandoned",
}

_line: Final = msgspec.json.Decoder(
    _DecidedLine | _EndedLine | _ExtendedLine | _LeaseLine
).decode
_path: Final = msgspec.json.Decoder(
    tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
).decode
_envelope: Final = msgspec.json.Decoder(records.Envelope).decode


@lru_cache(maxsize=4096)
def held_accounts(text: bytes) -> HeldAccounts:
    """Reads what requests of one path share; the same text gives the same object.

    Raises:
        msgspec.ValidationError: it is not three lists of account ids.
    """
    path = _path(text)
    return HeldAccounts(text.decode() if any(path) else "", *path)


def fold(run: Sequence[JournalRecord]) -> Folded:
    """Reads records of one source, in their order.

    Raises:
        RecordError: a record cannot be read, is of a type or has a usage class
            that this release does not know. Its place is in the message.
    """
    folded = Folded()
    for source, offset, text in run:
        try:
            try:
                line = _line(text)
            except msgspec.ValidationError as error:
                _fold_other(folded, text, offset, error)
                continue
            if type(line) is _DecidedLine:
                _fold_decision(folded, line, offset)
            elif type(line) in _STATES:
                _fold_end(folded, line, offset)
            elif type(line) is _ExtendedLine:
                _fold_slice(folded, line.data)
            else:
                act = LedgerAct(line.data, nanoseconds(line.time), offset)
                folded.ledger.append(act)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise RecordError(f"journal {source}, byte {offset}: {error}") from error
    return folded


def _fold_decision(folded: Folded, line: _DecidedLine, offset: int) -> None:
    facts = line.data
    if facts.decision_id in folded.decisions:
        raise ValueError(f"request {facts.decision_id} was decided before")
    path = held_accounts(
        b"[%b,%b,%b]"
        % (facts.hold_accounts, facts.hold_permits, facts.hold_progressive)
    )
    decision = Decision(facts, nanoseconds(line.time), offset, path)
    folded.decisions[facts.decision_id] = decision


def _fold_end(folded: Folded, line: _EndedLine, offset: int) -> None:
    data = line.data
    request_id = data.decision_id
    if not _KNOWN_CLASSES.issuperset(data.usage):
        unknown = sorted(set(data.usage) - _KNOWN_CLASSES)
        raise ValueError(f"unknown usage classes {unknown}: upgrade this release")
    if request_id in folded.ends:
        folded.conflicts.append(Conflict(request_id, offset))
        return
    folded.ends[request_id] = End(
        request_id,
        _STATES[type(line)],
        offset,
        data.cost_nano_usd,
        data.usage,
        data.usage_source,
        data.rate_card,
        data.model_answered,
        data.duration_us,
        data.stored,
    )


def _fold_slice(folded: Folded, data: _Slice) -> None:
    """A hold grew; one of a request that has ended holds nothing any more."""
    if data.decision_id not in folded.ends:
        folded.slices[data.decision_id] = data.slice_nano_usd


def _fold_other(
    folded: Folded, line: bytes, offset: int, error: msgspec.ValidationError
) -> None:
    """Folds a record that is not read at once; error says why it is not."""
    envelope = _envelope(line)
    if envelope.type in _NO_EFFECT:
        return
    kind = _ACTS.get(envelope.type)
    if kind is not None:
        data = msgspec.json.decode(envelope.data, type=kind)
        sequence = int(envelope.sequence)
        folded.acts.append(Act(data, nanoseconds(envelope.time), sequence))
        return
    happened = _LEDGER.get(envelope.type)
    if happened is not None:
        found = msgspec.json.decode(envelope.data, type=happened)
        folded.ledger.append(LedgerAct(found, nanoseconds(envelope.time), offset))
        return
    policy = _POLICIES.get(envelope.type)
    if policy is not None:
        said = msgspec.json.decode(envelope.data, type=policy)
        time_ns, sequence = nanoseconds(envelope.time), int(envelope.sequence)
        folded.policies.append(PolicyAct(said, time_ns, offset, sequence))
        return
    sign = _SIGNS.get(envelope.type)
    if sign is not None:
        shown = msgspec.json.decode(envelope.data, type=sign)
        time_ns, sequence = nanoseconds(envelope.time), int(envelope.sequence)
        folded.signs.append(Sign(shown, time_ns, sequence))
        return
    if envelope.type in _FREQUENT:
        raise error
    raise ValueError(f"unknown type {envelope.type!r}: upgrade this release")


def issued(data: records.CredentialIssued, time_ns: int) -> Credential:
    """The credential that a `credential.issued` record brings into being."""
    return Credential(
        id=CredentialId(data.credential_id),
        service=data.service,
        person=data.person,
        issued_ns=time_ns,
        secrets=(Secret(data.secret_sha256, data.not_before_ns),),
        expires_ns=data.expires_ns,
    )


def hold_usage(input_tokens: int, output_tokens: int) -> Usage:
    """The usage at which an abandoned request is booked: all that was held."""
    held = {"input": input_tokens, "output": output_tokens}
    return {name: count for name, count in held.items() if count}
