"""Answers on controls over a trail that was pruned: proved by hash, or not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.core.errors import (
    JournalUnavailableError,
    RecordError,
    TrailPrunedError,
)
from comptroller.engine.control_ports import BeatRow, RecordPlace
from comptroller.engine.control_reading import Reading
from comptroller.engine.control_sweeping import Sweep
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.recorded import RecordedJournals
from comptroller.engine.trail_ports import KeptRecords, Published
from comptroller.testing.projected import CONTROL, W0, Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

NS = 10**9


class PrunedTrail:
    """Journals' lines as entries, of which the first were pruned."""

    def __init__(self, entries: Sequence[tuple[str, bytes]], below: int) -> None:
        self._lines = [line for _, line in entries]
        self._below = below
        self._places: dict[tuple[str, int], int] = {}
        self._count: dict[str, int] = {}
        for index, (source, _) in enumerate(entries):
            sequence = self._count.get(source, 0)
            self._places[source, sequence] = index
            self._count[source] = sequence + 1

    def sources(self) -> list[str]:
        """Whose lines it had."""
        return list(self._count)

    def published(self) -> Published | None:
        """Its lines are the tree."""
        return Published("test", len(self._lines), b"", START_NS, [])

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where such a line is, or was."""
        index = self._places.get((source, sequence))
        return index if index is not None and self._lines[index] == line else None

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where the line of a sequence is."""
        index = self._places.get((source, sequence))
        if index is not None and index < self._below:
            error = TrailPrunedError("it was pruned")
            error.index = index
            raise error
        return index

    def entry_at(self, source: str, sequence: int) -> bytes | None:
        """The line."""
        index = self.index_at(source, sequence)
        return None if index is None else self._lines[index]

    def kept(self, source: str) -> KeptRecords | None:
        """What is left of a journal."""
        last = self._count[source] - 1
        left = [
            sequence
            for (name, sequence), index in self._places.items()
            if name == source and index >= self._below
        ]
        return KeptRecords(min(left, default=last + 1), last, 0)


class Unread:
    """The trail's entries are not read by where they stood."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """Raises JournalUnavailableError."""
        raise JournalUnavailableError(f"{source} {offset} {bytes_max}: pruned")

    def record_at(self, position: JournalPosition) -> bytes:
        """Raises LookupError."""
        raise LookupError(position)


class Site:
    """A worker that beat four times, pruned up to its second beat, and deleted."""

    def __init__(self, folder: Path, *, deleted: bool = True) -> None:
        self.folder = folder
        self.books = Projected(InMemoryStore())
        control, worker = self.books.script(CONTROL), self.books.script(W0)
        control.applied(1, {("service", "one"): {"limit": 1}})
        worker.journal_started()
        for _ in range(4):
            self.books.clock.advance(10)
            worker.heartbeat(1, None)
        worker.journal_closed()
        self.books.project(CONTROL, W0)
        lines = {
            source: [one.line for one in journal.records]
            for source, journal in self.books.journals.items()
        }
        entries = [(CONTROL, one) for one in lines[CONTROL]]
        below = len(entries) + 3
        entries += [(W0, one) for one in lines[W0]]
        self.trail = PrunedTrail(entries, below)
        self.write(CONTROL, lines[CONTROL])
        if not deleted:
            self.write(W0, lines[W0])
        size = sum(map(len, lines[W0])) + len(lines[W0])
        self.deleted = [DeletedJournal(W0, size, len(lines[W0]), len(entries), [], 1)]
        store = self.books.store
        assert isinstance(store, InMemoryStore)
        self.store = store

    def write(self, source: str, lines: Sequence[bytes]) -> None:
        """Writes a journal."""
        name = ".".join(source.strip("/").split("/"))
        data = b"".join(one + b"\n" for one in lines)
        (self.folder / f"{name}.jsonl").write_bytes(data)

    def reading(self) -> Reading:
        """Of what there is."""
        there = DirectoryJournalReader(self.folder)
        journals = RecordedJournals(there, Unread(), lambda: self.deleted)
        return Reading(journals, self.trail)

    def sweep(self) -> Sweep:
        """Long after all of it."""
        return Sweep(self.reading(), self.store, START_NS + 1000 * NS)


def beats(sweep: Sweep, begin: int, end: int) -> list[int]:
    span = START_NS + begin * NS, START_NS + end * NS
    found = sweep.beats(W0, span)
    return [(one.time_ns - START_NS) // NS for one in found]


def test_a_line_that_a_journal_still_has_is_proved(tmp_path: Path) -> None:
    """And cited; one that was edited is named, not told."""
    site = Site(tmp_path, deleted=False)
    reading = site.reading()
    assert reading.record(RecordPlace(CONTROL, 0)).source == CONTROL
    assert reading.log_index(RecordPlace(CONTROL, 1)) == 1
    assert beats(site.sweep(), 0, 100) == [10, 20, 30, 40]
    lines = [one.line for one in site.books.journals[CONTROL].records]
    site.write(CONTROL, [lines[0].replace(b'"limit":1', b'"limit":9'), *lines[1:]])
    with pytest.raises(RecordError, match="0 is not the one of which the trail has"):
        site.reading().record(RecordPlace(CONTROL, 0))
    assert site.reading().log_index(RecordPlace(CONTROL, 0)) is None


def test_what_nobody_has_any_more_is_not_told(tmp_path: Path) -> None:
    """A worker lived since the store says so; its beats are those that are left."""
    site = Site(tmp_path)
    sweep = site.sweep()
    (life,) = sweep.lives((START_NS, START_NS + 100 * NS))
    assert (life.begin_ns, life.is_pruned, life.is_borne_out) == (START_NS, True, True)
    assert beats(sweep, 0, 100) == [30, 40]
    assert sweep.pruned == {W0: "it was pruned"}
    assert sweep.faults == []
    assert beats(site.sweep(), 28, 100) == [30, 40]


def test_rows_at_places_that_were_pruned_prove_nothing(tmp_path: Path) -> None:
    """Whoever may write the store can say anything of them."""
    site = Site(tmp_path)
    (row, *_) = [one for one in site.store._beats if one.place.source == W0]
    late = BeatRow(RecordPlace(W0, 2), START_NS + 60 * NS, row.state)
    site.store._beats = [one for one in site.store._beats if one.place != late.place]
    site.store._beats.insert(1, late)
    sweep = site.sweep()
    assert beats(sweep, 0, 100) == [30, 40]
    assert W0 in sweep.pruned
    forged = BeatRow(RecordPlace(W0, 99), START_NS + 50 * NS, row.state)
    site.store._beats.append(forged)
    sweep = site.sweep()
    assert beats(sweep, 0, 100) == [30, 40]
    assert [one.piece.verdict for one in sweep.faults] == ["missing"]


def test_a_row_that_was_taken_out_of_what_is_left_is_found(tmp_path: Path) -> None:
    """By going through the entries that there are."""
    site = Site(tmp_path)
    place = RecordPlace(W0, 4)
    site.store._beats = [one for one in site.store._beats if one.place != place]
    sweep = site.sweep()
    assert beats(sweep, 0, 100) == [30, 40]
    assert [one.piece.verdict for one in sweep.faults] == ["contradicts"]
