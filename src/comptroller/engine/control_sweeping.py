"""Sweeping: what the records of a worker say, and where the store says otherwise.

The store finds rows fast, and is worked out from the records: whoever may write it may
put rows in, take some out, and change others. Here every heartbeat and every life that
an answer rests on is read as a record. What is told is what the records say; where the
store differs from them, that is told, too, and the time around it proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import (
    ComptrollerError,
    InvalidArgumentError,
    TrailPrunedError,
)
from comptroller.core.timestamps import nanoseconds, rfc3339
from comptroller.engine.control_evidence import (
    CONTRADICTS,
    HEARTBEAT,
    MISSING,
    NS,
    Fault,
    Piece,
)
from comptroller.engine.control_ports import (
    BEATS_MAX,
    LIVES_MAX,
    BeatRow,
    ControlReports,
    LifeRow,
    RecordPlace,
)
from comptroller.engine.control_reading import EVER, READ_ERRORS, Found, Reading
from comptroller.engine.control_records import CONTROL_HEARTBEAT, Heartbeat
from comptroller.engine.controls import CONTROLS
from comptroller.engine.projection import is_administrative
from comptroller.engine.records import JOURNAL_CLOSED, JOURNAL_STARTED

EVERY: Final = frozenset(CONTROLS)
NEW_NS: Final = 5 * NS
"""So old a journal may be of which the store has nothing yet."""
FAULTS_MAX: Final = 1000
"""Told one by one; more are counted."""
_beat: Final = msgspec.json.Decoder(Heartbeat).decode


class Lived(NamedTuple):
    """A worker's life, as its journal has it."""

    source: str
    begin_ns: int
    end_ns: int
    """When it ended in order; its last record, where it died; now, where it lives."""
    is_borne_out: bool = True
    """False: the store says otherwise, or there is no record of it."""
    is_pruned: bool = False
    """Whether its first records, or all, were pruned: then it began, and where nothing
    is left ended, as the store says."""


class _Mark(NamedTuple):
    """Where a heartbeat is among those of its journal."""

    sequence: int
    number: int | None
    """None: an older release did not count them."""

    def is_next_to(self, other: _Mark) -> bool:
        """Whether there is none between, as their numbers say."""
        if self.number is None or other.number is None:
            return False
        return self.number == other.number + 1


_NONE_BEFORE: Final = _Mark(-1, -1)


class _Swept(NamedTuple):
    """A heartbeat as its record has it."""

    row: BeatRow
    number: int | None
    follows: bool
    """False: between the worker's sign before and this, store and records differ."""
    is_followed: bool
    """False: between this and the next one they do."""

    @property
    def mark(self) -> _Mark:
        return _Mark(self.row.place.sequence, self.number)


class Sweep:
    """Goes through the records of workers, once for each answer."""

    def __init__(
        self,
        reading: Reading,
        controls: ControlReports,
        now_ns: int,
    ) -> None:
        """Notes how far the store is.

        Args:
            reading: of records.
            controls: the store.
            now_ns: until when those live that live.
        """
        self._reading = reading
        self._controls = controls
        self._now_ns = now_ns
        # Before any row is read: a record before these has a row by then.
        self.positions: Mapping[str, int] = controls.positions()
        """How far the store is."""
        self._journals = reading.sources()
        self.faults: list[Fault] = []
        """Of lives and heartbeats that were gone through; at most FAULTS_MAX."""
        self.faults_count = 0
        self.pruned: dict[str, str] = {}
        """Why heartbeats cannot be read any more that were gone through, by worker."""

    # -- lives -------------------------------------------------------------------

    def lives(self, span: tuple[int, int]) -> list[Lived]:
        """The workers that lived in a span, ends included, oldest first.

        Raises:
            InvalidArgumentError: there were too many.
        """
        rows = {one.source: one for one in self._controls.lives(*span)}
        if len(rows) >= LIVES_MAX:
            raise InvalidArgumentError(
                f"{LIVES_MAX} workers or more lived then: ask about a shorter span"
            )
        sources = {one for one in self._journals if not is_administrative(one)}
        found = [self._life(one, rows.get(one), span) for one in {*sources, *rows}]
        return sorted(
            (one for one in found if one is not None),
            key=lambda one: (one.begin_ns, one.source),
        )

    def life(self, source: str, at_ns: int) -> Lived | None:
        """One worker's life, if it lived at a time."""
        rows = {one.source: one for one in self._controls.lives(at_ns, at_ns)}
        return self._life(source, rows.get(source), (at_ns, at_ns))

    def _life(
        self, source: str, row: LifeRow | None, span: tuple[int, int]
    ) -> Lived | None:
        try:
            ends = self._ends(source)
        except READ_ERRORS as error:
            return self._unread_life((source, row), error, span)
        if ends is None:
            if row is None:
                return None  # it died before it recorded anything
            says = f"there is no record of {source}, and the store has its life"
            return self._unshown((source, row), says, span)
        first, last = ends
        lived = Lived(source, first.time_ns, self._end_ns(source, *ends))
        if first.place.sequence and row is not None:
            begin_ns = min(row.started_ns, first.time_ns)
            lived = lived._replace(begin_ns=begin_ns, is_pruned=True)
        is_so = row is not None and not self._differs(row, first, last)
        is_then = lived.begin_ns <= span[1] and lived.end_ns >= span[0]
        if not is_then or (row is None and not self._is_told(lived)):
            return None
        return lived._replace(is_borne_out=is_so)

    def _unread_life(
        self, of: tuple[str, LifeRow | None], error: Exception, span: tuple[int, int]
    ) -> Lived | None:
        source, row = of
        if row is None and self._is_elsewhere(source, span):
            return None  # it lived at another time
        if row is not None and isinstance(error, TrailPrunedError):
            return self._gone(row, span)
        return self._unshown(of, _unread(source, error), span)

    def _gone(self, row: LifeRow, span: tuple[int, int]) -> Lived | None:
        """A life of which every record was pruned; None: it ended before a span.

        It is only known that it ended before what is left of the trail.
        """
        source, begin_ns, end_ns = row
        if end_ns is None:
            beat = self._controls.heartbeat_before(source, EVER)
            decided_ns = self._controls.last_decision_ns(source, 0, EVER)
            signs = begin_ns, decided_ns or 0, 0 if beat is None else beat.time_ns
            end_ns = max(signs)
        if end_ns < span[0]:
            return None
        return Lived(source, begin_ns, end_ns, is_pruned=True)

    def _unshown(
        self, of: tuple[str, LifeRow | None], says: str, span: tuple[int, int]
    ) -> Lived:
        """A life that no record bears out: as its row has it, else all of the span."""
        source, row = of
        self._tell(MISSING, says, RecordPlace(source, 0), None)
        if row is None:
            return Lived(source, *span, is_borne_out=False)
        end_ns = self._now_ns if row.closed_ns is None else row.closed_ns
        return Lived(source, row.started_ns, end_ns, is_borne_out=False)

    def _is_told(self, lived: Lived) -> bool:
        """Tells that the store does not know of a life, but for one that just began."""
        source, begin_ns, end_ns = lived[:3]
        if source not in self.positions and begin_ns > self._now_ns - NEW_NS:
            return False  # while the question was asked: it decided nothing yet
        says = (
            f"{source} lived from {rfc3339(begin_ns)} to {rfc3339(end_ns)}, and the"
            " store says that it did not"
        )
        self._tell(CONTRADICTS, says, RecordPlace(source, 0), begin_ns)
        return True

    def _ends(self, source: str) -> tuple[Found, Found] | None:
        """The first and the last record that are left of a journal; None: it has none.

        Raises:
            LookupError: one is not there.
            ValueError: one is no record, or has no time.
            ComptrollerError: one cannot be read.
            OSError: one cannot be read.
        """
        if source not in self._journals:
            return None
        last = self._reading.last(source)
        if last is None:
            return None
        first = self._reading.first(source)
        for one in (first, last):
            nanoseconds(one.record.time)
        return first, last

    def _is_elsewhere(self, source: str, span: tuple[int, int]) -> bool:
        """Whether a journal that cannot be read is of another time than a span.

        As the store says; or as the trail says of its first record.
        """
        if any(one.source == source for one in self._controls.lives(0, EVER)):
            return True
        place = RecordPlace(source, 0)
        try:
            return Found(place, 0, self._reading.record(place)).time_ns > span[1]
        except READ_ERRORS:
            return False

    def _end_ns(self, source: str, first: Found, last: Found) -> int:
        is_over = last.record.type == JOURNAL_CLOSED
        if is_over or self._reading.journals.is_dead(source):
            return max(first.time_ns, last.time_ns)
        return max(self._now_ns, first.time_ns)

    def _differs(self, row: LifeRow, first: Found, last: Found) -> bool:
        """Whether a life's row is not what its records say; what differs is told."""
        is_new = last.offset is not None and last.offset >= self.positions.get(
            row.source, 0
        )
        is_closed = last.record.type == JOURNAL_CLOSED
        said = []
        if not first.place.sequence:  # else it was pruned
            said.append((JOURNAL_STARTED, rfc3339(row.started_ns), first))
        if row.closed_ns is not None:
            said.append((JOURNAL_CLOSED, rfc3339(row.closed_ns), last))
        elif is_closed and not is_new:
            said.append(("that it did not end", "", last))
        before = self.faults_count
        for kind, time, found in said:
            if (found.record.type, found.record.time) == (kind, time):
                continue
            source, sequence = found.place
            says = (
                f"of the life of {source} the store says {kind} {time}; the record at"
                f" {source} {sequence} says {found.record.type} {found.record.time}"
            )
            self._tell(CONTRADICTS, says, found.place, row.started_ns)
        return self.faults_count > before

    # -- heartbeats --------------------------------------------------------------

    def beats(self, source: str, span: tuple[int, int]) -> Iterator[BeatRow]:
        """A worker's heartbeats of a span and those next to it, as records have them.

        In order of sequence. Whatever a row says that its record does not, and
        whatever record has no row, is a fault; the heartbeat before it says so.
        """
        held: _Swept | None = None
        for one in self._swept(source, span):
            if held is not None:
                is_followed = held.is_followed and one is not None and one.follows
                held = held._replace(is_followed=is_followed)
            if one is None:
                continue
            if held is not None:
                yield held.row._replace(is_followed=held.is_followed)
            held = one
        if held is not None:
            yield held.row._replace(is_followed=held.is_followed)

    def _swept(self, source: str, span: tuple[int, int]) -> Iterator[_Swept | None]:
        """Heartbeats, as their records have them; None: a row without a record."""
        before = self._controls.heartbeat_before(source, span[0])
        after = self._controls.heartbeat_after(source, span[1])
        known = None if before is not None else _NONE_BEFORE
        for row in self._rows(source, span, (before, after)):
            try:
                found = self._checked(row)
            except TrailPrunedError as error:
                # Whatever the store says of it proves nothing, and contradicts nothing.
                self.pruned[source] = error.message
                known = found = None
            if found is not None:
                if known is not None:
                    yield from self._skipped(source, known, found.mark, EVER)
                known = found.mark
            yield found
        if after is None:
            yield from self._skipped(source, known or _NONE_BEFORE, None, span[1])

    def _rows(
        self,
        source: str,
        span: tuple[int, int],
        edges: Sequence[BeatRow | None],
    ) -> Iterator[BeatRow]:
        """Every row from the first that bears on a span to the last, by sequence."""
        controls = self._controls
        ends = controls.beat_ends(source, *span) or ()
        wanted = [*ends, *(one.place.sequence for one in edges if one is not None)]
        first, last = min(wanted, default=0), max(wanted, default=-1)
        while first <= last:
            page = controls.heartbeat_run(source, first, last)
            yield from page
            if len(page) < BEATS_MAX:
                return
            first = page[-1].place.sequence + 1

    def _checked(self, row: BeatRow) -> _Swept | None:
        """What the record at a row's place says; None: it is no heartbeat.

        Raises:
            TrailPrunedError: nobody has it any more.
        """
        place = row.place
        try:
            record = self._reading.record(place)
            if record.type != CONTROL_HEARTBEAT or record.source != place.source:
                says = (
                    f"the store says that a heartbeat of {rfc3339(row.time_ns)} is at"
                    f" {place.source} {place.sequence}; the record there is"
                    f" {record.type} of {record.source}"
                )
                self._tell(CONTRADICTS, says, place, row.time_ns)
                return None
            said = _beat(record.data)
            beat = BeatRow(place, nanoseconds(record.time), said.state)
        except TrailPrunedError:
            raise
        except READ_ERRORS as error:
            self._tell(MISSING, _unread_at(place, error), place, row.time_ns)
            return None
        is_so = beat == row
        if not is_so:
            says = (
                f"the store's heartbeat of {rfc3339(row.time_ns)} is not what the"
                f" record at {place.source} {place.sequence} says:"
                f" {_differing(row, beat)}"
            )
            self._tell(CONTRADICTS, says, place, row.time_ns)
        return _Swept(beat, said.number, is_so, is_so)

    def _skipped(
        self, source: str, known: _Mark, until: _Mark | None, end_ns: int
    ) -> Iterator[_Swept | None]:
        """The heartbeats after a known one of which the store has no row.

        Args:
            source: of the journal.
            known: the last one that is known.
            until: the next one; None: there is none.
            end_ns: what is later does not matter.
        """
        if until is not None and until.is_next_to(known):
            return
        position = self.positions.get(source, 0)
        types = (CONTROL_HEARTBEAT,)
        try:
            for found in self._reading.scan(source, known.sequence, position, types):
                place = found.place
                if until is not None and place.sequence >= until.sequence:
                    return
                state = _beat(found.record.data).state
                beat = BeatRow(place, found.time_ns, state)
                says = (
                    f"the record at {source} {place.sequence} is a heartbeat, and the"
                    " store has no row of it"
                )
                self._tell(CONTRADICTS, says, place, found.time_ns)
                yield _Swept(beat, None, follows=False, is_followed=False)
                if beat.time_ns > end_ns:
                    return
        except READ_ERRORS as error:
            place = RecordPlace(source, max(known.sequence, 0))
            self._tell(MISSING, _unread(source, error), place, None)
            yield None

    # -- telling -----------------------------------------------------------------

    def _tell(
        self, verdict: str, says: str, place: RecordPlace, time_ns: int | None
    ) -> None:
        self.faults_count += 1
        if len(self.faults) < FAULTS_MAX:
            piece = Piece(HEARTBEAT, verdict, says, place, time_ns)
            self.faults.append(Fault(piece, EVERY))


def _differing(row: BeatRow, beat: BeatRow) -> str:
    """What of a heartbeat differs: the store's first, then the record's."""
    found = []
    if row.time_ns != beat.time_ns:
        found.append(f"time {rfc3339(row.time_ns)}, not {rfc3339(beat.time_ns)}")
    stored, read = (msgspec.structs.asdict(one.state) for one in (row, beat))
    found += [
        f"{name} {stored[name]}, not {read[name]}"
        for name in stored
        if name != "controls" and stored[name] != read[name]
    ]
    found += [
        f"{name} {_control(row, name)}, not {_control(beat, name)}"
        for name in CONTROLS
        if row.state.control(name) != beat.state.control(name)
    ]
    return "; ".join(found) or "its controls"


def _control(beat: BeatRow, name: str) -> str:
    said = beat.state.control(name)
    if said is None:
        return "not told of"
    return f"{'on' if said.is_active else 'off'} by {said.revision}"


def _unread(source: str, error: Exception) -> str:
    return f"the journal of {source} cannot be read: {_reason(error)}"


def _unread_at(place: RecordPlace, error: Exception) -> str:
    return (
        f"the record at {place.source} {place.sequence} cannot be read:"
        f" {_reason(error)}"
    )


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, ComptrollerError) else str(error)
