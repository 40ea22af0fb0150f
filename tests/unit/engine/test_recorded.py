"""All that was recorded: journals that are there, and deleted ones out of the trail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.recorded import RecordedJournals
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock, SequentialIds

OLD, NEW, UNKNOWN = "/n/w0/01A", "/n/w0/01B", "/n/w0/01C"


class Streams:
    """A trail that has one journal. Satisfies `engine.recorded.RecordedStreams`."""

    def __init__(self, records: Sequence[JournalRecord]) -> None:
        self._records = records
        self.asked: list[int] = []
        """The most bytes that were asked for."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """Its records."""
        self.asked.append(bytes_max)
        return [one for one in self._records if one[0] == source and one[1] >= offset]

    def record_at(self, position: JournalPosition) -> bytes:
        """One of them.

        Raises:
            LookupError: there is none.
        """
        for one in self._records:
            if one[:2] == position:
                return one.line
        raise LookupError(f"the trail has no record at {position}")


class Place:
    """Two journals of which the older one was deleted."""

    def __init__(self, folder: Path) -> None:
        gone = InMemoryJournals().open(OLD)
        name = journal_name("n", "w0", "01B")
        kept = SyncJournal(folder, name, FakeClock(), SequentialIds())
        for number in range(3):
            gone.append(b'{"n":%d}' % number)
            kept.append(b'{"m":%d}' % number)
        kept.close()
        self.reader = DirectoryJournalReader(folder)
        self.kept = list(self.reader.read(NEW, 0, 10**6))
        self.gone = list(gone.records)
        self.streams = Streams(self.gone)
        row = DeletedJournal(OLD, gone.offset, 3, 9, [], 0)
        self.recorded = RecordedJournals(self.reader, self.streams, lambda: [row])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.reader.close()


def test_a_deleted_journal_reads_as_if_it_were_there(place: Place) -> None:
    """Oldest first, dead, as long as it was, every record at its place."""
    recorded, last = place.recorded, place.gone[-1]
    end = last.offset + len(last.line) + 1
    assert recorded.sources() == [OLD, NEW]
    assert recorded.is_dead(OLD)
    assert recorded.size(OLD) == end
    assert recorded.read(OLD, 0, 10**6) == place.gone
    assert recorded.read(OLD, end, 10**6) == []
    assert place.streams.asked == [end]  # what follows in the trail is not looked at
    for one in place.gone:
        assert recorded.record_at(JournalPosition(*one[:2])) == one.line


def test_a_journal_that_is_there_is_read_itself(place: Place) -> None:
    """The trail is not asked for it."""
    recorded = place.recorded
    assert recorded.read(NEW, 0, 10**6) == place.kept
    assert recorded.size(NEW) == place.reader.size(NEW)
    assert recorded.is_dead(NEW)
    assert recorded.record_at(JournalPosition(*place.kept[1][:2])) == place.kept[1].line
    assert place.streams.asked == []


def test_a_journal_that_nobody_deleted_is_an_error(place: Place) -> None:
    """It is not taken for an empty one; nor is a place where no record begins."""
    recorded = place.recorded
    with pytest.raises(JournalUnavailableError):
        recorded.read(UNKNOWN, 0, 10)
    with pytest.raises(JournalUnavailableError):
        recorded.size(UNKNOWN)
    with pytest.raises(JournalUnavailableError):
        recorded.is_dead(UNKNOWN)
    for position in (JournalPosition(OLD, 1), JournalPosition(NEW, 1)):
        with pytest.raises(LookupError, match="the trail has no record"):
            recorded.record_at(position)
