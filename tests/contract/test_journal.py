"""What every journal and every reader promises, files and memory alike."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import (
    DurableJournal,
    Journal,
    JournalPosition,
    JournalReader,
    JournalRecord,
)
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock, SequentialIds


class BothJournals(Journal, DurableJournal, Protocol):
    """What a process that may wait writes to."""


class Node(Protocol):
    """A place where processes write journals and somebody reads them."""

    @property
    def reader(self) -> JournalReader:
        """Reads all of them."""

    def open(self, boot: str) -> BothJournals:
        """Starts a process's journal."""


class FileNode:
    """Real files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.reader = DirectoryJournalReader(directory)

    def open(self, boot: str) -> SyncJournal:
        """Starts a process's journal."""
        name = journal_name("node", "w0", boot)
        return SyncJournal(self._directory, name, FakeClock(), SequentialIds())


class MemoryNode:
    """The fake."""

    def __init__(self) -> None:
        self.reader = InMemoryJournals()

    def open(self, boot: str) -> BothJournals:
        """Starts a process's journal, with a first record as files have."""
        journal = self.reader.open(f"/node/w0/{boot}")
        journal.append(b'{"type":"comptroller.journal.started.v1"}')
        return journal


@pytest.fixture(params=["file", "memory"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return FileNode(tmp_path) if request.param == "file" else MemoryNode()


def whole(reader: JournalReader, source: str) -> list[JournalRecord]:
    """Everything, as a projector reads it: part by part."""
    found: list[JournalRecord] = []
    offset = 0
    while part := reader.read(source, offset, 1):
        found += part
        offset = part[-1].offset + len(part[-1].line) + 1
    return found


def test_what_is_appended_is_read_in_order_with_its_place(node: Node) -> None:
    """Offsets count the bytes before a record, newlines included."""
    journal = node.open("01A")
    bodies = [b'{"n":%d}' % number for number in range(50)]
    answers: list[bool] = []
    for body in bodies[:25]:
        journal.append(body, answers.append)
    journal.append_all(bodies[25:])
    assert answers == [True] * 25
    records = whole(node.reader, journal.source)[1:]
    assert [record.line for record in records] == bodies
    for before, after in pairwise(records):
        assert after.offset == before.offset + len(before.line) + 1
    assert node.reader.size(journal.source) == records[-1].offset + len(bodies[-1]) + 1


def test_a_record_is_found_again_at_its_place(node: Node) -> None:
    """record_at gives the exact bytes; where none begins it says so."""
    journal = node.open("01A")
    journal.append(b'{"a":1}')
    journal.append(b'{"b":2}')
    for record in whole(node.reader, journal.source):
        position = JournalPosition(record.source, record.offset)
        assert node.reader.record_at(position) == record.line
    for wrong in (1, 10**6):
        with pytest.raises(LookupError):
            node.reader.record_at(JournalPosition(journal.source, wrong))
    with pytest.raises(LookupError):
        node.reader.record_at(JournalPosition("/node/w0/none", 0))


def test_reading_goes_on_where_it_stopped(node: Node) -> None:
    """At the end there is nothing; after the next append there is that."""
    journal = node.open("01A")
    end = node.reader.size(journal.source)
    assert node.reader.read(journal.source, end, 1000) == []
    journal.append(b"new")
    found = node.reader.read(journal.source, end, 1000)
    assert found == [JournalRecord(journal.source, end, b"new")]


def test_sources_are_listed_oldest_first(node: Node) -> None:
    """The boot, which grows with time, decides the order."""
    assert node.reader.sources() == []
    opened = [node.open(boot).source for boot in ("01A", "01B", "01C")]
    assert node.reader.sources() == opened


def test_a_journal_is_alive_until_it_is_closed(node: Node) -> None:
    """Death is noticed, and asking twice does not kill."""
    journal = node.open("01A")
    assert not node.reader.is_dead(journal.source)
    assert not node.reader.is_dead(journal.source)
    journal.close()
    assert node.reader.is_dead(journal.source)
    assert node.reader.is_dead(journal.source)


def test_a_closed_journal_takes_nothing(node: Node) -> None:
    """After close every append raises, and nothing more is in the journal."""
    journal = node.open("01A")
    journal.close()
    size = node.reader.size(journal.source)
    with pytest.raises(JournalUnavailableError):
        journal.append(b"late")
    with pytest.raises(JournalUnavailableError):
        journal.append_all([b"late"])
    assert node.reader.size(journal.source) == size


def test_what_is_not_one_line_is_refused(node: Node) -> None:
    """A line break, or more than 65,535 bytes, is refused; the journal lives on."""
    journal = node.open("01A")
    for wrong in (b"two\nlines", b"x" * 65_536):
        with pytest.raises(JournalUnavailableError):
            journal.append(wrong)
    journal.append(b"x" * 65_535)
    assert len(whole(node.reader, journal.source)) == 2
