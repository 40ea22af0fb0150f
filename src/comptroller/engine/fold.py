"""Folding: what a run of journal records means to a store.

Every store projects from this one reading, so they cannot disagree about it.
Only what a store keeps is decoded, for this runs once a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from comptroller.core.credential import Credential, CredentialId, Secret
from comptroller.core.errors import RecordError
from comptroller.core.timestamps import nanoseconds
from comptroller.core.usage import USAGE_CLASSES, Usage
from comptroller.engine import records
from comptroller.engine.ports import JournalRecord

Result: TypeAlias = Literal["allow", "deny"]


def _named(name: str, default: Any = msgspec.NODEFAULT) -> Any:  # noqa: ANN401  as msgspec.field
    return msgspec.field(name=name, default=default)


class DecidedFacts(msgspec.Struct, frozen=True, gc=False):
    """What a store keeps of `request.decided`; see `records.Decided`."""

    decision_id: str
    path: str
    result: Result
    reason: str
    tenant: str = _named("comptroller.tenant.id")
    unit: str = _named("comptroller.unit.id")
    service: str = _named("service.name")
    credential: str = _named("comptroller.credential.id")
    person: str = _named("comptroller.credential.person")
    owner_policy: str = _named("comptroller.owner.policy")
    owner_billing: str = _named("comptroller.owner.billing")
    owner_technical: str = _named("comptroller.owner.technical")
    hold_nano_usd: int = _named("comptroller.hold.nano_usd")
    hold_input_tokens: int = _named("comptroller.hold.input_tokens")
    hold_output_tokens: int = _named("comptroller.hold.output_tokens")
    model: str | None = _named("gen_ai.request.model", None)
    rate_card: str | None = _named("comptroller.rate_card", None)

    @property
    def is_allowed(self) -> bool:
        """Whether an end is still to come."""
        return self.result == "allow"


class _Ended(msgspec.Struct, frozen=True, gc=False):
    """What a store keeps of `settled`, `released` and `abandoned`."""

    decision_id: str
    cost_nano_usd: int = _named("comptroller.cost.nano_usd", 0)
    usage: Usage = msgspec.field(name="comptroller.usage", default_factory=dict)
    usage_source: str | None = _named("comptroller.usage.source", None)
    rate_card: str | None = _named("comptroller.rate_card", None)
    model_answered: str | None = _named("gen_ai.response.model", None)
    duration_us: int | None = _named("comptroller.duration_us", None)


class _DecidedLine(msgspec.Struct, frozen=True, gc=False):
    type: Literal["comptroller.request.decided.v1"]
    time: str
    data: DecidedFacts


class _EndedLine(msgspec.Struct, frozen=True, gc=False):
    type: Literal[
        "comptroller.request.settled.v1",
        "comptroller.request.released.v1",
        "comptroller.request.abandoned.v1",
    ]
    data: _Ended


class Decision(NamedTuple):
    """A decision, where and when it was recorded."""

    facts: DecidedFacts
    time_ns: int
    offset: int


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


ActData: TypeAlias = (
    records.ObjectChange
    | records.RegistryApplied
    | records.CredentialIssued
    | records.CredentialRotated
    | records.CredentialRevoked
)


class Act(NamedTuple):
    """An administrative act: something was applied, issued, rotated or revoked."""

    data: ActData
    time_ns: int


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


_TYPE: Final = b'"type":"'
_TYPE_WITHIN: Final = 1024
_KNOWN_CLASSES: Final = frozenset(USAGE_CLASSES)
_NO_EFFECT: Final = frozenset(
    {records.UNAUTHENTICATED, records.JOURNAL_STARTED, records.JOURNAL_CLOSED}
)
_ACTS: Final[dict[str, type[ActData]]] = {
    records.OBJECT_CREATED: records.ObjectChange,
    records.OBJECT_CHANGED: records.ObjectChange,
    records.OBJECT_REMOVED: records.ObjectChange,
    records.REGISTRY_APPLIED: records.RegistryApplied,
    records.CREDENTIAL_ISSUED: records.CredentialIssued,
    records.CREDENTIAL_ROTATED: records.CredentialRotated,
    records.CREDENTIAL_REVOKED: records.CredentialRevoked,
}

_decided_line: Final = msgspec.json.Decoder(_DecidedLine).decode
_ended_line: Final = msgspec.json.Decoder(_EndedLine).decode
_envelope: Final = msgspec.json.Decoder(records.Envelope).decode


def fold(run: Sequence[JournalRecord]) -> Folded:
    """Reads records of one source, in their order.

    Raises:
        RecordError: a record cannot be read, is of a type or has a usage class
            that this release does not know. Its place is in the message.
    """
    folded = Folded()
    for record in run:
        fold_one = _BY_TYPE.get(_type(record.line), _fold_other)
        try:
            fold_one(folded, record)
        except (msgspec.DecodeError, ValueError) as error:
            raise RecordError(
                f"journal {record.source}, byte {record.offset}: {error}"
            ) from error
    return folded


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


def _type(line: bytes) -> bytes:
    """The record's type as our writers place it: a guess, which decoding checks."""
    start = line.find(_TYPE, 0, _TYPE_WITHIN) + len(_TYPE)
    return line[start : line.find(b'"', start, start + 64)]


def _fold_decided(folded: Folded, record: JournalRecord) -> None:
    line = _decided_line(record.line)
    facts = line.data
    if facts.decision_id in folded.decisions:
        raise ValueError(f"request {facts.decision_id} was decided before")
    folded.decisions[facts.decision_id] = Decision(
        facts, nanoseconds(line.time), record.offset
    )


def _fold_ended(folded: Folded, record: JournalRecord) -> None:
    line = _ended_line(record.line)
    data = line.data
    usage = data.usage
    if not _KNOWN_CLASSES.issuperset(usage):
        unknown = sorted(set(usage) - _KNOWN_CLASSES)
        raise ValueError(f"unknown usage classes {unknown}: upgrade this release")
    if data.decision_id in folded.ends:
        folded.conflicts.append(Conflict(data.decision_id, record.offset))
        return
    folded.ends[data.decision_id] = End(
        data.decision_id,
        _STATES[line.type],
        record.offset,
        data.cost_nano_usd,
        usage,
        data.usage_source,
        data.rate_card,
        data.model_answered,
        data.duration_us,
    )


def _fold_other(folded: Folded, record: JournalRecord) -> None:
    envelope = _envelope(record.line)
    if envelope.type in _NO_EFFECT:
        return
    kind = _ACTS.get(envelope.type)
    if kind is not None:
        data = msgspec.json.decode(envelope.data, type=kind)
        folded.acts.append(Act(data, nanoseconds(envelope.time)))
        return
    fold_one = _BY_TYPE.get(envelope.type.encode())
    if fold_one is None:
        raise ValueError(f"unknown type {envelope.type!r}: upgrade this release")
    fold_one(folded, record)


_STATES: Final = {
    records.SETTLED: "settled",
    records.RELEASED: "released",
    records.ABANDONED: "abandoned",
}
_BY_TYPE: Final[dict[bytes, Callable[[Folded, JournalRecord], None]]] = {
    records.DECIDED.encode(): _fold_decided,
    **{kind.encode(): _fold_ended for kind in _STATES},
}
