"""Checking: reads every record that an answer on controls cites, and compares it.

The store is worked out from the records, so whoever may write it may write rows that
no record ever said. An answer cites a place in a journal for each row that it rests
on; here the record at that place is read, from the trail when it is in it and else
from the journal, and compared with the row: its type, its time and what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from comptroller.core.errors import ComptrollerError, RecordError
from comptroller.core.timestamps import rfc3339
from comptroller.engine import records
from comptroller.engine.control_answers import Since, TrailIndex
from comptroller.engine.control_evidence import (
    ACTIVATION,
    CONTRADICTS,
    HEARTBEAT,
    MISSING,
    DecisionThen,
    Fault,
    Moment,
    Piece,
    configured_by,
)
from comptroller.engine.control_ports import LifeRow, RecordPlace, RevisionRow
from comptroller.engine.control_records import (
    CONTROL_HEARTBEAT,
    Heartbeat,
    HeartbeatState,
)
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.policy_records import (
    POLICY_ACTIVATED,
    POLICY_DEACTIVATED,
    PolicyActivated,
    PolicyDeactivated,
)
from comptroller.engine.ports import JournalReader, JournalRecord, RequestRow

Members: TypeAlias = Mapping[str, str]
"""What a row or a record says, by what it says it of."""

READ_BYTES: Final = 64 * 1024
"""Of a journal, at once, while a record is looked for."""


class _Head(msgspec.Struct, frozen=True):
    source: str
    sequence: str


_head: Final = msgspec.json.Decoder(_Head).decode
_envelope: Final = msgspec.json.Decoder(records.Envelope).decode


class _Cited(NamedTuple):
    """A row that an answer rests on, and the place that it names."""

    source: str
    place: RecordPlace | None
    """None: the last record of `journal`."""
    journal: str | None
    """None: the store does not say where the record is."""
    time_ns: int
    says: Members
    controls: frozenset[str]
    """Those that it bears upon."""


class Checking:
    """Compares what a store says with the records that it names."""

    def __init__(self, journals: JournalReader, trail: TrailIndex | None) -> None:
        """Reads places when they are asked for, each by bisection of its journal.

        Args:
            journals: of the data directory.
            trail: None: there is none; records are read from their journals alone.
        """
        self._journals = journals
        self._trail = trail

    def faults(
        self, moment: Moment, since: Mapping[str, Since | None]
    ) -> Sequence[Fault]:
        """What of an answer its records do not bear out.

        Args:
            moment: what the store says of it.
            since: the act that each control is dated by.
        """
        found = (self._fault(one) for one in _cited(moment, since))
        return [one for one in found if one is not None]

    def decision(self, row: RequestRow) -> DecisionThen:
        """A decision as its record has it.

        Raises:
            RecordError: it cannot be read, or is not what the store says.
        """
        position = row.decided_at
        try:
            envelope = _envelope(self._journals.record_at(position))
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
        except (LookupError, OSError, ValueError) as error:
            raise RecordError(
                f"the record of {row.request_id} is not in {position.source} at"
                f" {position.offset}: {error}"
            ) from error
        place = RecordPlace(position.source, int(envelope.sequence))
        differing = _differing(
            {
                "journal": position.source,
                "request": row.request_id,
                "service": row.service,
                "time": rfc3339(row.time_ns),
            },
            {
                "journal": envelope.source,
                "request": decided.decision_id,
                "service": decided.service,
                "time": envelope.time,
            },
            place,
        )
        if differing is not None:
            raise RecordError(differing)
        return DecisionThen(
            row.request_id,
            row.time_ns,
            place,
            str(decided.registry_revision),
            decided.bundles.get("policy", {}).get("revision"),
            decided.controls,
            decided.rate_card is None,
        )

    def _fault(self, cited: _Cited) -> Fault | None:
        place, journal = cited.place, cited.journal
        if journal is None:
            says = f"the record of {rfc3339(cited.time_ns)} is not known here"
            piece = Piece(cited.source, MISSING, says, None, cited.time_ns)
            return Fault(piece, cited.controls)
        try:
            if place is None:
                place = self._last_place(journal)
            found = _members(_envelope(self._line(place)))
        except (ComptrollerError, LookupError, OSError, ValueError) as error:
            where = "at the end" if place is None else str(place.sequence)
            reason = error.message if isinstance(error, ComptrollerError) else error
            says = f"the record at {journal} {where} cannot be read: {reason}"
            piece = Piece(cited.source, MISSING, says, place, cited.time_ns)
            return Fault(piece, cited.controls)
        expected = {"journal": journal, **cited.says}
        differing = _differing(expected, found, place)
        if differing is None:
            return None
        piece = Piece(cited.source, CONTRADICTS, differing, place, cited.time_ns)
        return Fault(piece, cited.controls)

    # -- reading -----------------------------------------------------------------

    def _line(self, place: RecordPlace) -> bytes:
        """The record at a place: as the trail has it, else as its journal has it."""
        if self._trail is not None:
            try:
                line = self._trail.entry_at(place.source, place.sequence)
            except ComptrollerError:
                line = None  # `trail.problem` of the answer says why
            if line is not None:
                return line
        return self._in_journal(place)

    def _in_journal(self, place: RecordPlace) -> bytes:
        """Bisects: a journal's sequences rise by one from 0."""
        source, wanted = place
        begin, end = 0, self._journals.size(source)
        while begin < end:  # it begins at one of these bytes, if anywhere
            guess = begin if end - begin <= READ_BYTES else (begin + end) // 2
            run, following = self._run(source, guess)
            if not run or wanted < run[0][0]:
                end = guess
            elif wanted > run[-1][0]:
                begin = following
            else:
                line = next((line for number, line in run if number == wanted), None)
                if line is None:
                    break
                return line
        raise LookupError(f"there is no record {wanted} in {source}")

    def _run(self, source: str, offset: int) -> tuple[list[tuple[int, bytes]], int]:
        """Some records behind an offset, by sequence, and where the next one begins.

        The first line is part of a record, where none begins at the offset; alone
        in a segment it is followed by the next segment's.
        """
        while True:
            lines = self._journals.read(source, offset, READ_BYTES)
            if not lines:
                return [], offset
            offset = _end(lines[-1])
            run = [(_sequence(one.line), one.line) for one in lines]
            known = [(number, line) for number, line in run if number is not None]
            if known:
                return known, offset

    def _last_place(self, source: str) -> RecordPlace:
        """Of the last record in a journal."""
        offset = max(0, self._journals.size(source) - READ_BYTES)
        last: int | None = None
        while True:
            run, offset = self._run(source, offset)
            if not run:
                break
            last = run[-1][0]
        if last is None:
            raise LookupError(f"there is no record in {source}")
        return RecordPlace(source, last)


def _end(record: JournalRecord) -> int:
    return record.offset + len(record.line) + 1


def _sequence(line: bytes) -> int | None:
    """Of a record; None: it is none, or only a part of one."""
    try:
        return int(_head(line).sequence)
    except ValueError:  # msgspec's errors are ValueErrors, too
        return None


# -- what is cited ---------------------------------------------------------------


def _cited(moment: Moment, since: Mapping[str, Since | None]) -> Iterator[_Cited]:
    """Every row with a place that the answer names, each once a control."""
    every = frozenset(CONTROLS)
    for what, own in (("registry", moment.registry), ("policy", moment.policy)):
        if own.row is not None and (own.place or own.revision is None):
            bears = frozenset(one for one in CONTROLS if what in configured_by(one))
            yield from _of_act(own.row, own.place, bears)
    for name, one in since.items():
        if one is None:
            continue
        act = one.activated or one.applied
        own = moment.policy if name in BUNDLED else moment.registry
        if act is not None and act != own.row:
            yield from _of_act(act, one.place, frozenset((name,)))
    for worker in moment.workers:
        if worker.life is not None:
            yield from _of_life(worker.life, every)
        for beat in (worker.before, worker.after):
            if beat is not None:
                time = {"time": rfc3339(beat.time_ns)}
                says = {"type": CONTROL_HEARTBEAT, **time, **_state(beat.state)}
                source = beat.place.source
                yield _Cited(HEARTBEAT, beat.place, source, beat.time_ns, says, every)


def _of_act(
    row: RevisionRow | ActivationRow, place: RecordPlace | None, bears: frozenset[str]
) -> Iterator[_Cited]:
    time = {"time": rfc3339(row.time_ns)}
    if isinstance(row, RevisionRow):
        says = {"type": records.REGISTRY_APPLIED, **time, **_applied(row)}
    else:
        kind = POLICY_DEACTIVATED if row.revision is None else POLICY_ACTIVATED
        says = {"type": kind, **time, **_activated(row)}
    journal = None if place is None else place.source
    yield _Cited(ACTIVATION, place, journal, row.time_ns, says, bears)


def _of_life(row: LifeRow, bears: frozenset[str]) -> Iterator[_Cited]:
    source = row.source
    says = {"type": records.JOURNAL_STARTED, "time": rfc3339(row.started_ns)}
    first = RecordPlace(source, 0)
    yield _Cited(HEARTBEAT, first, source, row.started_ns, says, bears)
    if row.closed_ns is not None:
        says = {"type": records.JOURNAL_CLOSED, "time": rfc3339(row.closed_ns)}
        yield _Cited(HEARTBEAT, None, source, row.closed_ns, says, bears)


# -- what rows and records say ---------------------------------------------------


def _members(envelope: records.Envelope) -> Members:
    """What a record says, in the terms of the rows."""
    kind, data = envelope.type, envelope.data
    found = {"journal": envelope.source, "type": kind, "time": envelope.time}
    if kind == CONTROL_HEARTBEAT:
        found |= _state(msgspec.json.decode(data, type=Heartbeat).state)
    elif kind == records.REGISTRY_APPLIED:
        applied = msgspec.json.decode(data, type=records.RegistryApplied)
        by = applied.actor
        row = RevisionRow(
            applied.revision, 0, applied.digest, by.person, by.account, None
        )
        found |= _applied(row)
    elif kind == POLICY_ACTIVATED:
        on = msgspec.json.decode(data, type=PolicyActivated)
        people = on.author, on.approver, ""
        row_of = ActivationRow(
            0, on.revision, on.previous, *people, on.separation_of_duties, 0
        )
        found |= _activated(row_of)
    elif kind == POLICY_DEACTIVATED:
        off = msgspec.json.decode(data, type=PolicyDeactivated)
        people = off.author, off.approver, off.note
        row_of = ActivationRow(
            0, None, off.previous, *people, off.separation_of_duties, 0
        )
        found |= _activated(row_of)
    return found


def _state(state: HeartbeatState) -> Members:
    return {
        "registry revision": str(state.registry_revision),
        "policy": _or_none(state.policy_revision),
        "usable policy": _yes(is_so=state.policy_is_usable),
        "durability": state.durability,
        "seconds between heartbeats": str(state.every_s),
        **{
            one.id: f"{'on' if one.is_active else 'off'} by {_or_none(one.revision)}"
            for one in state.controls
        },
    }


def _applied(row: RevisionRow) -> Members:
    return {
        "registry revision": str(row.revision),
        "digest": row.digest,
        "person": _or_none(row.person),
        "account": row.account,
    }


def _activated(row: ActivationRow) -> Members:
    return {
        "policy": _or_none(row.revision),
        "previous policy": _or_none(row.previous),
        "author": row.author,
        "approver": row.approver,
        "note": row.note,
        "separation of duties": _yes(is_so=row.is_separated),
    }


def _differing(stored: Members, recorded: Members, place: RecordPlace) -> str | None:
    """How a record is not what a store says; None: it is.

    Of a record of another type, or of another journal, only that is told.
    """
    names = list(dict.fromkeys((*stored, *recorded)))
    names = [one for one in names if stored.get(one) != recorded.get(one)]
    if not names:
        return None
    names = [one for one in names if one in ("journal", "type")] or names
    said = [
        ", ".join(f"{one} {members.get(one, 'unsaid')}" for one in names)
        for members in (stored, recorded)
    ]
    return (
        f"the store says {said[0]}; the record at {place.source} {place.sequence}"
        f" says {said[1]}"
    )


def _or_none(text: str | None) -> str:
    return "none" if text is None else text


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else "no"
