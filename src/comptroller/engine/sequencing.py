"""Sequencing: brings every journal's records into the trail, each exactly once.

An entry is the exact bytes of a journal's line. How far each journal is in the
trail is kept with the trail itself, so a kill at any moment loses nothing and
repeats nothing. What is wrong with a journal becomes an entry, too, and stops
neither the trail nor the other journals.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import JournalUnavailableError
from comptroller.core.timestamps import rfc3339
from comptroller.engine import records, trail_records
from comptroller.engine.ports import Clock, JournalReader, JournalRecord
from comptroller.engine.pruning import is_administrative, pruning_of
from comptroller.engine.trail_ports import (
    ENDED,
    LOST,
    OPEN,
    Pruning,
    SourcePosition,
    TrailLog,
    TrailPlaces,
    source_positions,
)
from comptroller.engine.trail_records import (
    TrailGap,
    TrailStarted,
    TrailWitnessRefused,
)

BATCH_RECORDS: Final = 20_000
BATCH_BYTES: Final = 32 * 1024 * 1024
"""So much becomes durable together. Every batch costs files of its own, whatever
is in it, so a large one is cheap; it is in memory only a share at a time."""
SHARE_BYTES: Final = 1024 * 1024
"""So much of one journal before the next one has its turn."""
IDS_KEPT: Final = 8192
"""Ids of a living journal that are known; one that comes again later than this is
found by `comptroller audit verify`, which knows all."""
_START: Final = SourcePosition(0, 0)


class _Run(NamedTuple):
    """Records in sequence that become entries one after another."""

    source: str
    sequence: int
    begin: int
    length: int
    offset: int
    """In their journal's stream, of the first."""


class _Begin(NamedTuple):
    """Where a run begins."""

    entry: int
    """Index in the log."""
    offset: int
    """In the journal's stream."""


class _Batch:
    """Entries that will be appended together."""

    def __init__(self, size: int) -> None:
        self.entries: list[bytes] = []
        """Those that the log has not taken in yet."""
        self.count = 0
        """With those that it has."""
        self.positions: dict[str, SourcePosition] = {}
        self.runs: list[_Run] = []
        self.prunings: list[Pruning] = []
        self.bytes = 0
        self._size = size

    @property
    def is_full(self) -> bool:
        return self.count >= BATCH_RECORDS or self.bytes >= BATCH_BYTES

    @property
    def index(self) -> int:
        """Of the next entry."""
        return self._size + self.count

    def add(self, entry: bytes) -> None:
        self.entries.append(entry)
        self.count += 1
        self.bytes += len(entry)

    def close_run(self, source: str, sequence: int, begin: _Begin) -> None:
        """Notes the entries since its begin as one run that ends before sequence."""
        count = self.index - begin.entry
        if count:
            first = sequence - count
            self.runs.append(_Run(source, first, begin.entry, count, begin.offset))


class Sequencer:
    """Merges the journals of a reader into a log."""

    def __init__(
        self,
        reader: JournalReader,
        log: TrailLog,
        places: TrailPlaces,
        clock: Clock,
        is_held: Callable[[], bool] | None = None,
    ) -> None:
        """Goes on where the log is.

        Args:
            reader: of the journals.
            log: that it appends to.
            places: where it notes what is where.
            clock: for the log's own records.
            is_held: whether a legal hold may be in force, so that no record that
                prunes the log is followed; asked where there is one. None: none is.

        Raises:
            TrailDamagedError: the log's positions cannot be understood.
        """
        self._reader = reader
        self._log = log
        self._places = places
        self._clock = clock
        self._is_held = is_held
        self._positions = source_positions(log.positions)
        self._turn = 0
        self._has_started = False
        self._ids: dict[str, OrderedDict[str, None]] = {}
        self._refusals: list[tuple[str, TrailWitnessRefused]] = []
        self.is_behind = False
        """Whether the last step left something, as far as it can tell."""
        self.unreadable: dict[str, str] = {}
        """Journals that could not be read at the last step, and why."""
        self.not_followed: str = ""
        """The last record that prunes the log and makes no sense, in words."""

    def step(self) -> int:
        """Appends one batch.

        Returns:
            How many entries it appended; 0: there was nothing new.

        Raises:
            TrailUnavailableError: not known whether it was done: open all anew.
        """
        batch = _Batch(self._log.size)
        refusals = tuple(self._refusals)
        for subject, data in refusals:
            self._start(batch)
            kind = trail_records.TRAIL_WITNESS_REFUSED
            self._add_own(kind, subject, data, batch)
        while self._take_round(batch):
            self._log.extend(batch.entries)
            batch.entries = []
        if batch.count or batch.positions:
            after = {**self._positions, **batch.positions}
            self._log.append(batch.entries, after, batch.prunings)
            self._positions = after
            del self._refusals[: len(refusals)]
        for run in batch.runs:
            self._places.note(*run)
        for source, position in batch.positions.items():
            if position.state != OPEN:
                self._ids.pop(source, None)
        self.is_behind = batch.is_full
        return batch.count

    def prune(self, covered: int) -> bool:
        """Removes a part of what may go; what a legal hold keeps waits for its end.

        What has begun to go is finished: it was not kept when it began.

        Args:
            covered: see `TrailLog.prune`.

        Returns:
            Whether more of it is left.

        Raises:
            TrailUnavailableError: the disk refuses, now or before.
        """
        if self._log.prunings and self._is_held is not None and self._is_held():
            covered = 0
        return self._log.prune(covered)

    def record_refusal(self, subject: str, data: TrailWitnessRefused) -> None:
        """Puts a witness's refusal into the trail, with the next step."""
        self._refusals.append((subject, data))

    def _take_round(self, batch: _Batch) -> bool:
        """Takes a share of every journal; whether there is likely more of them."""
        before = batch.bytes
        for source in self._in_turn({**self._positions, **batch.positions}):
            if batch.is_full:
                return False
            try:
                self._take(source, batch)
            except JournalUnavailableError as error:
                self.unreadable[source] = error.message
            else:
                self.unreadable.pop(source, None)
        return batch.bytes - before >= SHARE_BYTES // 2

    def _in_turn(self, positions: Mapping[str, SourcePosition]) -> Iterator[str]:
        present = self._reader.sources()
        live = [one for one in present if positions.get(one, _START).state == OPEN]
        if live:
            self._turn = (self._turn + 1) % len(live)
            yield from live[self._turn :]
            yield from live[: self._turn]
        known = set(present)
        yield from (
            source
            for source, position in positions.items()
            if position.state == OPEN
            and source not in known
            and source != trail_records.TRAIL_SOURCE
        )

    def _take(self, source: str, batch: _Batch) -> None:
        """Takes the next part of a journal."""
        position = self._position(source, batch)
        try:
            run = self._reader.read(source, position.offset, SHARE_BYTES)
        except JournalUnavailableError:
            if source in self._reader.sources():
                raise
            self._lose(source, position, trail_records.MISSING, "no journal", batch)
            return
        if not run:
            # What a process wrote before it died may have come after the read.
            if not self._reader.is_dead(source):
                return
            run = self._reader.read(source, position.offset, SHARE_BYTES)
        if run:
            self._take_run(source, position, run, batch)
        else:
            self._end(source, position, batch)

    def _end(self, source: str, position: SourcePosition, batch: _Batch) -> None:
        """A dead process's journal has no whole record left."""
        size = self._reader.size(source)
        if size < position.offset:
            found = f"{size} bytes of {position.offset}"
            self._lose(source, position, trail_records.SHRUNK, found, batch)
            return
        if size > position.offset:
            found = f"{size - position.offset} bytes without an end"
            self._note_gap(source, position, trail_records.TORN, found, batch)
        batch.positions[source] = SourcePosition(size, position.sequence, ENDED)

    def _lose(
        self,
        source: str,
        position: SourcePosition,
        reason: str,
        found: str,
        batch: _Batch,
    ) -> None:
        self._note_gap(source, position, reason, found, batch)
        batch.positions[source] = position._replace(state=LOST)

    def _take_run(
        self,
        source: str,
        position: SourcePosition,
        run: Sequence[JournalRecord],
        batch: _Batch,
    ) -> None:
        expected = position.sequence
        ids = self._ids.setdefault(source, OrderedDict())
        is_act = is_administrative(source)
        self._start(batch)
        end = position.offset
        begin = _Begin(batch.index, end)
        for record in run:
            line = record.line
            wrong = _judged(source, expected, line, ids)
            if wrong is not None:
                batch.close_run(source, expected, begin)
                here = SourcePosition(record.offset, expected)
                self._note_gap(source, here, wrong.reason, wrong.found, batch)
                begin = _Begin(batch.index, record.offset)
            if 0 < len(line) <= records.RECORD_BYTES_MAX:
                batch.add(line)
            end = record.offset + len(line) + 1
            if wrong is None:
                expected += 1
                if is_act:
                    self._heed(line, batch)
            elif wrong.sequence is not None:
                expected = wrong.sequence + 1
            else:
                begin = _Begin(batch.index, end)
            if batch.is_full:
                break
        batch.close_run(source, expected, begin)
        batch.positions[source] = SourcePosition(end, expected)

    def _heed(self, line: bytes, batch: _Batch) -> None:
        """Takes what the last entry says of the log itself."""
        found = pruning_of(line, batch.index - 1)
        if isinstance(found, Pruning):
            batch.prunings.append(found)
        elif found is not None:
            self.not_followed = found

    def _position(self, source: str, batch: _Batch) -> SourcePosition:
        found = batch.positions.get(source)
        return found if found is not None else self._positions.get(source, _START)

    # -- records of the trail itself -------------------------------------------

    def _start(self, batch: _Batch) -> None:
        """Says once that this process goes on with the log."""
        if not self._has_started:
            self._has_started = True
            data = TrailStarted(origin=self._log.origin, size=self._log.size)
            self._add_own(trail_records.TRAIL_STARTED, "trail", data, batch)

    def _note_gap(
        self,
        source: str,
        position: SourcePosition,
        reason: str,
        found: int | str,
        batch: _Batch,
    ) -> None:
        self._start(batch)
        data = TrailGap(
            source=source,
            reason=reason,
            expected=position.sequence,
            found=found,
            at=position.offset,
        )
        self._add_own(trail_records.TRAIL_GAP, f"journal{source}", data, batch)

    def _add_own(
        self, kind: str, subject: str, data: msgspec.Struct, batch: _Batch
    ) -> None:
        source = trail_records.TRAIL_SOURCE
        known = self._position(source, batch)
        record = {
            "specversion": "1.0",
            "id": f"{known.sequence}-{kind.split('.')[-2]}",
            "source": source,
            "type": kind,
            "time": rfc3339(self._clock.now_ns()),
            "subject": subject,
            "sequence": str(known.sequence),
            "data": data,
        }
        batch.add(records.encode(record))
        batch.positions[source] = SourcePosition(0, known.sequence + 1)


class _Wrong(NamedTuple):
    """What a line is that is not the record that was expected."""

    sequence: int | None
    """Its place in its journal; None: it has none there."""
    reason: str
    found: int | str


def _judged(
    source: str, expected: int, line: bytes, ids: OrderedDict[str, None]
) -> _Wrong | None:
    """Looks at a line; remembers its id. None: it is the record that was expected."""
    try:
        head = trail_records.read_head(line)
        sequence = trail_records.number_of(head)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Wrong(None, trail_records.BROKEN, f"{len(line)} bytes, not a record")
    if len(line) > records.RECORD_BYTES_MAX or head.source != source:
        found = f"{len(line)} bytes of {head.source[:100]}"
        return _Wrong(None, trail_records.BROKEN, found)
    if sequence < expected:
        return _Wrong(None, trail_records.SEQUENCE, sequence)
    is_known = head.id in ids
    ids[head.id] = None
    if len(ids) > IDS_KEPT:
        ids.popitem(last=False)
    if sequence > expected:
        return _Wrong(sequence, trail_records.SEQUENCE, sequence)
    if is_known:
        return _Wrong(sequence, trail_records.DUPLICATE, head.id[:100])
    return None


def sequence_all(
    sequencer: Sequencer, log: TrailLog, *, is_witnessed: bool = False
) -> int:
    """Brings everything into the trail that is recorded by now, and publishes.

    Args:
        sequencer: what appends.
        log: what it appends to.
        is_witnessed: whether witnesses sign it, too, who are not asked here: then
            nothing is pruned.

    Returns:
        How many entries that were.

    Raises:
        TrailUnavailableError: the trail cannot be written.
        TrailDamagedError: a person has to look first.
    """
    done = 0
    while count := sequencer.step():
        done += count
    log.publish()
    while not is_witnessed and sequencer.prune(log.size):
        pass
    return done
