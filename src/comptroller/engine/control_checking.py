"""Checking: reads every act and decision that an answer on controls rests on.

The store is worked out from the records, so whoever may write it may write rows that
no record ever said, or take some out. Every act of a configuration or a policy is read
here, from the trail when it is in it and else from the journal, and compared with its
row: its type, its time and what it says; of a configuration also what it declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

import msgspec

from comptroller.core.errors import (
    ComptrollerError,
    JournalUnavailableError,
    RecordError,
    TrailPrunedError,
)
from comptroller.core.timestamps import nanoseconds, rfc3339
from comptroller.engine import records
from comptroller.engine.control_declared import RELEVANT
from comptroller.engine.control_evidence import (
    ACTIVATION,
    CONTRADICTS,
    MISSING,
    DecisionThen,
    Fault,
    Piece,
    configured_by,
)
from comptroller.engine.control_members import (
    activated_members,
    applied_members,
    differing,
    members_of,
)
from comptroller.engine.control_ports import ChangeRow, RecordPlace, RevisionRow
from comptroller.engine.control_reading import EVER, READ_ERRORS, Found, Reading
from comptroller.engine.controls import CONTROLS
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.policy_records import (
    POLICY_ACTIVATED,
    POLICY_DEACTIVATED,
    POLICY_PUBLISHED,
    PolicyPublished,
)
from comptroller.engine.ports import RequestRow
from comptroller.engine.projection import is_administrative

GONE: Final = "its journal is not there, and no record says that it was deleted"
SEALS_MAX: Final = 4
"""Other records between those of one act."""
_OBJECTS: Final = frozenset(
    {records.OBJECT_CREATED, records.OBJECT_CHANGED, records.OBJECT_REMOVED}
)
_SCANNED: Final = (
    records.REGISTRY_APPLIED,
    POLICY_PUBLISHED,
    POLICY_ACTIVATED,
    POLICY_DEACTIVATED,
)
_BY_REGISTRY: Final = frozenset(
    one for one in CONTROLS if "registry" in configured_by(one)
)
_BY_POLICY: Final = frozenset(one for one in CONTROLS if "policy" in configured_by(one))

ObjectKey: TypeAlias = tuple[str, str]
Bodies: TypeAlias = dict[ObjectKey, bytes | None]


class ActFault(NamedTuple):
    """An act that store and records do not agree upon, and when that matters."""

    fault: Fault
    begin_ns: int
    end_ns: int

    def bears_on(self, at_ns: int) -> bool:
        """Whether what was in force at a time rests on it."""
        return self.begin_ns <= at_ns < self.end_ns


class Acts(NamedTuple):
    """What the store says of everything that was ever put into force."""

    revisions: Sequence[RevisionRow]
    changes: Sequence[ChangeRow]
    """Of objects of the kinds RELEVANT."""
    activations: Sequence[ActivationRow]
    places: Mapping[int, RecordPlace]
    """Of activations, by number."""
    positions: Mapping[str, int]
    """Up to where the store has each journal; asked before all else."""


class Checked(NamedTuple):
    """What the records say of these acts."""

    faults: Sequence[ActFault]
    objects: Mapping[tuple[int, str, str], RecordPlace]
    """Where a revision's change of an object is recorded: revision, kind, id."""
    digests: Mapping[str, set[str]]
    """Of what each policy bundle declares, as recorded when it was published."""


class Checking:
    """Compares what a store says with the records that it names."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def decision(self, row: RequestRow) -> DecisionThen:
        """A decision as its record has it.

        Raises:
            RecordError: it cannot be read, or is not what the store or the trail says.
            TrailPrunedError: nobody has it any more.
        """
        position = row.decided_at
        self._check_kept(row)
        try:
            line = self._reading.journals.record_at(position)
            envelope = msgspec.json.decode(line, type=records.Envelope)
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
            place = RecordPlace(position.source, int(envelope.sequence))
            kept = self._reading.line(place)
        except READ_ERRORS as error:
            raise RecordError(
                f"the record of {row.request_id} is not in {position.source} at"
                f" {position.offset}: {_reason(error)}"
            ) from error
        stored = {
            "journal": position.source,
            "request": row.request_id,
            "service": row.service,
            "time": rfc3339(row.time_ns),
        }
        recorded = {
            "journal": envelope.source,
            "request": decided.decision_id,
            "service": decided.service,
            "time": envelope.time,
        }
        unlike = differing(stored, recorded, place)
        if kept != line:
            unlike = f"the journal's record at {_at(place)} is not the trail's"
        if unlike is not None:
            raise RecordError(unlike)
        return DecisionThen(
            row.request_id,
            row.time_ns,
            place,
            str(decided.registry_revision),
            decided.bundles.get("policy", {}).get("revision"),
            decided.controls,
            decided.rate_card is None,
        )

    def _check_kept(self, row: RequestRow) -> None:
        source, offset = row.decided_at
        with suppress(JournalUnavailableError):  # which is told when it is read
            why = self._reading.why_gone(source, offset)
            if why is not None:
                raise TrailPrunedError(f"the record of {row.request_id}: {why}")

    def acts(self, acts: Acts) -> Checked:
        """Reads the record of every act, and looks for acts without a row."""
        objects: dict[tuple[int, str, str], RecordPlace] = {}
        digests: dict[str, set[str]] = {}
        faults = [
            *self._revisions(acts, objects),
            *self._activations(acts),
            *self._unstored(acts, digests),
        ]
        return Checked(faults, objects, digests)

    # -- configurations ----------------------------------------------------------

    def _revisions(
        self, acts: Acts, objects: dict[tuple[int, str, str], RecordPlace]
    ) -> Iterator[ActFault]:
        stored: dict[int, Bodies] = {}
        for one in acts.changes:
            stored.setdefault(one.revision, {})[one.kind, one.id] = one.body
        first = min(stored, default=1)
        state: Bodies = {}
        ends = _ends([one.time_ns for one in acts.revisions])
        for number, (row, end_ns) in enumerate(
            zip(acts.revisions, ends, strict=True), 1
        ):
            if row.revision != number:
                says = f"registry revision {number} is not in the store"
                yield _fault(CONTRADICTS, says, None, (row.time_ns, EVER))
                return
            act = {"type": records.REGISTRY_APPLIED, **applied_members(row)}
            span = row.time_ns, max(end_ns, row.time_ns + 1)
            record, fault = self._compared(row.place, act, span, _BY_REGISTRY)
            if fault is not None:
                yield fault
            if record is None or record.type != records.REGISTRY_APPLIED:
                continue
            try:
                found = self._declared(row, record, objects)
            except READ_ERRORS as error:
                says_why = f"what revision {number} declared: {_reason(error)}"
                yield _fault(MISSING, says_why, row.place, (row.time_ns, EVER))
                continue
            state |= found
            if number < first:
                continue  # an older release kept no history of it
            if number == first:
                # It has everything that was declared by then.
                found = {key: body for key, body in state.items() if body is not None}
                found |= {key: None for key in stored[number] if key not in found}
            for says_why in _unlike(number, stored.get(number, {}), found):
                yield _fault(CONTRADICTS, says_why, row.place, (row.time_ns, EVER))

    def _declared(
        self,
        row: RevisionRow,
        record: records.Envelope,
        objects: dict[tuple[int, str, str], RecordPlace],
    ) -> Bodies:
        """What the records right before that of the act made of objects.

        Raises:
            LookupError: there are not as many as the act says.
            ValueError: one is no such record.
        """
        if row.place is None:
            raise LookupError("its record is not known")
        applied = msgspec.json.decode(record.data, type=records.RegistryApplied)
        source, end = row.place
        found: Bodies = {}
        count = 0
        lowest = max(0, end - applied.changes - SEALS_MAX)
        for sequence in range(end - 1, lowest - 1, -1):
            if count == applied.changes > 0:
                break
            place = RecordPlace(source, sequence)
            one = self._reading.record(place)
            if one.type not in _OBJECTS:
                continue
            change = msgspec.json.decode(one.data, type=records.ObjectChange)
            if change.revision != applied.revision:
                continue
            count += 1
            key = change.kind, change.id
            if change.kind in RELEVANT and key not in found:
                found[key] = change.body
                objects[row.revision, change.kind, change.id] = place
        if count < applied.changes:
            raise LookupError(
                f"{count} of {applied.changes} records are before {_at(row.place)}"
            )
        return found

    # -- policies ----------------------------------------------------------------

    def _activations(self, acts: Acts) -> Iterator[ActFault]:
        ends = _ends([one.time_ns for one in acts.activations])
        for row, end_ns in zip(acts.activations, ends, strict=True):
            kind = POLICY_DEACTIVATED if row.revision is None else POLICY_ACTIVATED
            says = {"type": kind, **activated_members(row)}
            span = row.time_ns, max(end_ns, row.time_ns + 1)
            place = acts.places.get(row.number)
            fault = self._compared(place, says, span, _BY_POLICY)[1]
            if fault is not None:
                yield fault

    # -- both --------------------------------------------------------------------

    def _compared(
        self,
        place: RecordPlace | None,
        says: Mapping[str, str],
        span: tuple[int, int],
        controls: frozenset[str],
    ) -> tuple[records.Envelope | None, ActFault | None]:
        """The record of an act, and how the row of it is not what that says."""
        time = rfc3339(span[0])
        if place is None:
            why = f"the record of {time} is not known here"
            return None, _fault(MISSING, why, None, span, controls)
        try:
            record = self._reading.record(place)
            recorded = members_of(record)
            begin_ns = min(span[0], nanoseconds(record.time))
        except READ_ERRORS as error:
            why = f"the record at {_at(place)} cannot be read: {_reason(error)}"
            return None, _fault(MISSING, why, place, span, controls)
        expected = {"journal": place.source, "time": time, **says}
        unlike = differing(expected, recorded, place)
        if unlike is None:
            return record, None
        span = begin_ns, span[1]
        return record, _fault(CONTRADICTS, unlike, place, span, controls)

    def _unstored(self, acts: Acts, digests: dict[str, set[str]]) -> Iterator[ActFault]:
        """The acts that are recorded, and of which the store has no row.

        Notes on the way what each bundle declared when it was published.
        """
        known = {one.place for one in acts.revisions} | set(acts.places.values())
        times = sorted(one.time_ns for one in acts.activations)
        there = frozenset(self._reading.journals.sources())
        known_of = {*self._reading.sources(), *acts.positions}
        sources = sorted(filter(is_administrative, known_of), key=_age)
        for source, later in zip_longest(sources, sources[1:]):
            until = acts.positions.get(source, 0)
            try:
                if source not in there:
                    raise LookupError(GONE)
                for found in self._reading.scan(source, -1, until, _SCANNED):
                    if found.record.type == POLICY_PUBLISHED:
                        data = found.record.data
                        said = msgspec.json.decode(data, type=PolicyPublished)
                        digests.setdefault(said.revision, set()).add(said.sets_digest)
                    elif found.place not in known:
                        yield _unstored(found, times)
                why = self._reading.why_gone(source, 0)
                if why is not None:
                    raise TrailPrunedError(why)
            except READ_ERRORS as error:
                says = f"the acts in {source} cannot be read: {_reason(error)}"
                yield from self._unread((source, later), says, times)

    def _unread(
        self, source: tuple[str, str | None], says: str, times: Sequence[int]
    ) -> Iterator[ActFault]:
        """What rests on a journal that cannot be read, and the one after it.

        Administrative processes follow one another: what this one did, it did before
        the next one began. Revisions are numbered, so none of them can be missing
        from then on; a policy may be in force until the next act.
        """
        end_ns = EVER
        if source[1] is not None:
            place = RecordPlace(source[1], 0)
            try:
                end_ns = Found(place, 0, self._reading.record(place)).time_ns
            except READ_ERRORS:
                end_ns = EVER
        place = RecordPlace(source[0], 0)
        policy_ns = next((one for one in times if one >= end_ns), EVER)
        yield _fault(MISSING, says, place, (0, end_ns))
        yield _fault(MISSING, says, place, (0, policy_ns), _BY_POLICY)


def _age(source: str) -> tuple[str, str]:
    """Sources in the order in which their processes began."""
    return source.rsplit("/", 1)[-1], source


def _ends(times: Sequence[int]) -> list[int]:
    """When each of several acts is no longer in force."""
    return [*times[1:], EVER][: len(times)]


def _unstored(found: Found, times: Iterable[int]) -> ActFault:
    kind, time_ns = found.record.type, found.time_ns
    says = f"the record at {_at(found.place)} is {kind}, and the store has no row of it"
    if kind == records.REGISTRY_APPLIED:
        return _fault(CONTRADICTS, says, found.place, (time_ns, EVER))
    end_ns = next((one for one in times if one > time_ns), EVER)
    return _fault(CONTRADICTS, says, found.place, (time_ns, end_ns), _BY_POLICY)


def _unlike(revision: int, stored: Bodies, recorded: Bodies) -> Iterator[str]:
    """How what a store says that a revision declared is not what was recorded."""
    for key in sorted({*stored, *recorded}):
        name = f"{key[0]} {key[1]} of revision {revision}"
        if key not in recorded:
            yield f"the store says that {name} was declared, and no record does"
        elif key not in stored:
            yield f"{name} was recorded, and the store does not have it"
        elif stored[key] != recorded[key]:
            yield f"{name} is not what was recorded: {_parts(stored, recorded, key)}"


def _parts(stored: Bodies, recorded: Bodies, key: ObjectKey) -> str:
    """The members that differ: the store's, then the record's."""
    ours, theirs = _members(stored[key]), _members(recorded[key])
    absent = msgspec.Raw(b"nothing")
    return "; ".join(
        f"{name} {bytes(ours.get(name, absent)).decode()}, recorded"
        f" {bytes(theirs.get(name, absent)).decode()}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )


def _members(body: bytes | None) -> Mapping[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return {"all": msgspec.Raw(b"unreadable")}


def _fault(
    verdict: str,
    says: str,
    place: RecordPlace | None,
    span: tuple[int, int],
    controls: frozenset[str] = _BY_REGISTRY,
) -> ActFault:
    piece = Piece(ACTIVATION, verdict, says, place, span[0])
    return ActFault(Fault(piece, controls), *span)


def _at(place: RecordPlace) -> str:
    return f"{place.source} {place.sequence}"


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, ComptrollerError) else str(error)
