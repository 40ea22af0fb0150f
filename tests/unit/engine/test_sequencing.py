"""Tests of sequencing: each record once, and what is wrong is an entry, too."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.journal.naming import from_source, journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.core.errors import TrailDamagedError, TrailUnavailableError
from comptroller.engine import sequencing
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock, SequentialIds
from comptroller.testing.trail import InMemoryPlaces, InMemoryTrail, record_line

SOURCE = "/n/w0/1"


def line(sequence: int, source: str = SOURCE, name: str | None = None) -> bytes:
    return record_line(source, sequence, name=name)


class Desk:
    """A sequencer over journals in memory, as often begun anew as a test likes."""

    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.trail = InMemoryTrail()
        self.places = InMemoryPlaces()
        self.clock = FakeClock()
        self.sequencer = self.anew()

    def anew(self) -> Sequencer:
        """Another process that goes on with the same log."""
        self.sequencer = Sequencer(self.journals, self.trail, self.places, self.clock)
        return self.sequencer

    def all(self) -> list[dict[str, Any]]:
        """Sequences all; every entry, decoded."""
        sequence_all(self.sequencer, self.trail)
        return self.entries()

    def entries(self) -> list[dict[str, Any]]:
        """Every entry, decoded."""
        return [msgspec.json.decode(entry) for entry in self.trail.records]

    def gaps(self) -> list[tuple[str, int, Any, int]]:
        """Every gap that is told."""
        return gaps_of(self.trail)


def gaps_of(trail: InMemoryTrail) -> list[tuple[str, int, Any, int]]:
    found = []
    for entry in trail.records:
        if b"comptroller.trail.gap.v1" in entry:
            data = msgspec.json.decode(entry)["data"]
            found.append((data["reason"], data["expected"], data["found"], data["at"]))
    return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_entry_is_the_exact_bytes_of_a_line(desk: Desk) -> None:
    """Nothing is decoded and written anew; spaces and order stay."""
    odd = line(0).replace(b'"specversion":"1.0",', b'"specversion" :  "1.0",')
    desk.journals.open(SOURCE).append(odd)
    desk.all()
    assert desk.trail.records[1] == odd


def test_every_journal_is_merged_and_each_keeps_its_order(desk: Desk) -> None:
    """Whatever the turns are, a source's sequence only goes up."""
    sources = [f"/n/w{number}/1" for number in range(3)]
    for source in sources:
        journal = desk.journals.open(source)
        for sequence in range(50):
            journal.append(line(sequence, source))
    by_source: dict[str, list[int]] = {}
    for entry in desk.all():
        by_source.setdefault(entry["source"], []).append(int(entry["sequence"]))
    assert by_source == {"/trail": [0]} | {source: [*range(50)] for source in sources}


def test_a_process_that_goes_on_takes_nothing_twice(desk: Desk) -> None:
    """How far each journal is comes from the log, whoever sequences."""
    journal = desk.journals.open(SOURCE)
    for sequence in range(20):
        journal.append(line(sequence))
        desk.anew().step()
    taken = [entry for entry in desk.entries() if entry["source"] == SOURCE]
    assert [int(entry["sequence"]) for entry in taken] == [*range(20)]
    own = [entry for entry in desk.entries() if entry["source"] == "/trail"]
    assert [int(entry["sequence"]) for entry in own] == [*range(20)]
    assert {entry["type"] for entry in own} == {"comptroller.trail.started.v1"}
    assert desk.anew().step() == 0


def test_a_failed_append_leaves_all_for_the_next(desk: Desk) -> None:
    """Nothing is skipped where the log refuses."""
    desk.journals.open(SOURCE).append(line(0))
    desk.trail.failing = True
    with pytest.raises(TrailUnavailableError):
        desk.sequencer.step()
    desk.trail.failing = False
    desk.anew()
    assert [entry["source"] for entry in desk.all()] == ["/trail", SOURCE]


def test_records_that_are_missing_become_a_gap(desk: Desk) -> None:
    """The gap stands before the record that came instead, and the journal goes on."""
    journal = desk.journals.open(SOURCE)
    journal.append(line(0))
    at = journal.offset
    journal.append(line(3))
    journal.append(line(4))
    kinds = [entry["type"] for entry in desk.all()]
    assert kinds == [
        "comptroller.trail.started.v1",
        "t",
        "comptroller.trail.gap.v1",
        "t",
        "t",
    ]
    assert desk.gaps() == [("sequence", 1, 3, at)]


def test_a_record_that_comes_again_is_told_and_not_expected_twice(desk: Desk) -> None:
    """Its sequence lies behind: a gap record says so; the next one is right."""
    journal = desk.journals.open(SOURCE)
    for sequence in (0, 1, 0, 2):
        journal.append(line(sequence))
    desk.all()
    assert [gap[:3] for gap in desk.gaps()] == [("sequence", 2, 0)]


def test_an_id_that_comes_again_is_a_duplicate(desk: Desk) -> None:
    """CloudEvents wants source and id together unique."""
    journal = desk.journals.open(SOURCE)
    journal.append(line(0, name="same"))
    journal.append(line(1, name="same"))
    journal.append(line(2))
    desk.all()
    assert [gap[:3] for gap in desk.gaps()] == [("duplicate", 1, "same")]


@pytest.mark.parametrize(
    ("broken", "taken"),
    [
        (b'{"id":"x', True),
        (b"", False),
        (b"\xff\xfe", True),
        (b"[" * 5000, True),
        (line(1, "/n/w9/1"), True),
        (line(1).replace(b'"sequence":"1"', b'"sequence":"one"'), True),
    ],
    ids=["cut", "empty", "bytes", "deep", "foreign", "word"],
)
def test_a_broken_line_is_kept_and_told(desk: Desk, broken: bytes, taken: bool) -> None:
    """It is evidence; the records after it are taken, and the gap is told, too."""
    journal = desk.journals.open(SOURCE)
    journal.append(line(0))
    journal.append(broken)
    journal.append(line(2))
    sequence_all(desk.sequencer, desk.trail)
    assert (broken in desk.trail.records) == taken
    assert desk.trail.records[-1] == line(2)
    assert [gap[0] for gap in desk.gaps()] == ["broken", "sequence"]


@pytest.mark.parametrize("number", ["9" * 19, "9" * 4000, "+1", "01", " 1", "\u0661"])
def test_a_sequence_in_no_form_of_ours_is_none(desk: Desk, number: str) -> None:
    """Python would make a number of it that no file of the trail can hold."""
    odd = line(1).replace(b'"sequence":"1"', f'"sequence":"{number}"'.encode())
    journal = desk.journals.open(SOURCE)
    for one in (line(0), odd, line(1)):
        journal.append(one)
    sequence_all(desk.sequencer, desk.trail)
    assert desk.trail.records[-2:] == [odd, line(1)]
    assert [gap[0] for gap in desk.gaps()] == ["broken"]


def test_no_batch_is_larger_than_its_bound(desk: Desk) -> None:
    """A step appends at most a batch; what is left is taken by the next."""
    journal = desk.journals.open(SOURCE)
    for sequence in range(45_000):
        journal.append(line(sequence))
    counts = []
    while count := desk.sequencer.step():
        counts.append(count)
        if count == sequencing.BATCH_RECORDS:
            assert desk.sequencer.is_behind
    assert sum(counts) == 45_001
    assert max(counts) <= sequencing.BATCH_RECORDS
    assert len(counts) > 2
    assert not desk.sequencer.is_behind


def test_a_batch_has_many_shares_of_each_journal(desk: Desk) -> None:
    """What came in since the last one is durable together, and in order."""
    names = ("/n/w0/1", "/n/w1/1")
    for name in names:
        journal = desk.journals.open(name)
        for sequence in range(1500):
            journal.append(line(sequence, name, "x" * 4000 + str(sequence)))
    assert desk.sequencer.step() == 3001
    assert not desk.sequencer.is_behind
    for name in names:
        mine = [one for one in desk.entries() if one["source"] == name]
        assert [int(one["sequence"]) for one in mine] == list(range(1500))
    assert desk.sequencer.step() == 0


def test_a_busy_journal_leaves_the_others_their_turn(desk: Desk) -> None:
    """One step takes of every journal, however much one of them has."""
    busy = desk.journals.open("/n/w0/1")
    for sequence in range(4000):
        busy.append(line(sequence, "/n/w0/1", "x" * 1000 + str(sequence)))
    desk.journals.open("/n/w1/1").append(line(0, "/n/w1/1"))
    desk.sequencer.step()
    sources = Counter(entry["source"] for entry in desk.entries())
    assert sources["/n/w1/1"] == 1


def test_the_index_has_the_place_of_every_record(desk: Desk) -> None:
    """Gaps and duplicates in between do not move it."""
    journal = desk.journals.open(SOURCE)
    for sequence in (0, 1, 5, 6, 2, 7):
        journal.append(line(sequence))
    desk.all()
    for (source, sequence), index in desk.places.found.items():
        assert desk.trail.records[index] == line(sequence, source)
    assert {sequence for _, sequence in desk.places.found} == {0, 1, 5, 6, 7}


def test_positions_that_are_no_positions_stop_everything(desk: Desk) -> None:
    """Where they cannot be understood, nothing is taken from the beginning again."""
    desk.trail.append([], {SOURCE: "all of it"})
    with pytest.raises(TrailDamagedError):
        desk.anew()


# -- journals in files ---------------------------------------------------------


class Files:
    """A sequencer over real journals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ids = SequentialIds()
        self.reader = DirectoryJournalReader(folder)
        self.trail = InMemoryTrail()

    def journal(self, worker: str) -> SyncJournal:
        """Starts a process's journal."""
        name = journal_name("n", worker, self.ids.new())
        return SyncJournal(self.folder, name, FakeClock(), self.ids)

    def path(self, source: str) -> Path:
        """Its first segment."""
        return self.folder / from_source(source).file(0)

    def sequence(self) -> None:
        """Sequences all, as a new process does."""
        places = InMemoryPlaces()
        sequencer = Sequencer(self.reader, self.trail, places, FakeClock())
        sequence_all(sequencer, self.trail)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_torn_tail_of_the_dead_is_a_gap_once(files: Files) -> None:
    """A living process may be within a record; a dead one never ends it."""
    journal = files.journal("w0")
    with files.path(journal.source).open("ab") as file:
        file.write(b'{"torn')
    files.sequence()
    assert gaps_of(files.trail) == []
    journal._segments.close()  # as a kill does: no closing record
    for _ in range(2):
        files.sequence()
    size = files.path(journal.source).stat().st_size
    assert gaps_of(files.trail) == [("torn", 1, "6 bytes without an end", size - 6)]
    assert files.trail.positions[journal.source] == [size, 1, "ended"]


def test_a_journal_cut_after_it_was_sequenced_is_a_gap(files: Files) -> None:
    """What is in the trail stays there; that the journal lost it is told once."""
    journal = files.journal("w0")
    journal.append(line(1, journal.source))
    journal.close()
    source = journal.source
    state = files.trail
    sequencer = Sequencer(files.reader, state, InMemoryPlaces(), FakeClock())
    sequencer.step()  # the journal's end is not looked at yet
    size = files.path(source).stat().st_size
    os.truncate(files.path(source), 10)
    for _ in range(2):
        files.sequence()
    assert gaps_of(state) == [("shrunk", 3, f"10 bytes of {size}", size)]


def test_a_journal_that_is_gone_is_a_gap_unless_it_had_ended(files: Files) -> None:
    """One that is wholly in the trail may be removed one day."""
    ended, living = files.journal("w0"), files.journal("w1")
    ended.close()
    files.sequence()
    files.path(ended.source).unlink()
    files.path(living.source).unlink()
    for _ in range(2):
        files.sequence()
    assert [gap[0] for gap in gaps_of(files.trail)] == ["missing"]
    assert files.trail.positions[living.source][2] == "lost"
    living._segments.close()


def test_an_edited_journal_is_found_where_it_can_be(files: Files) -> None:
    """A line that is removed before it was sequenced leaves a gap in the sequence."""
    journal = files.journal("w0")
    for sequence in range(1, 4):
        journal.append(line(sequence, journal.source))
    journal.close()
    path = files.path(journal.source)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    files.sequence()
    assert [gap[:3] for gap in gaps_of(files.trail)] == [("sequence", 2, 3)]
