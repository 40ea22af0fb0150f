"""Journals read out of the trail are the same as from their own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.streams import TrailStreams
from comptroller.adapters.tlog.tiles import bundle_path
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.testing.system import FakeClock, SequentialIds

KEY = TrailKey("trail.example/streams", bytes(32))
SOURCE = "/host/w0/01A"
OTHER = "/host/w1/01B"


def record(sequence: int, source: str = SOURCE) -> bytes:
    """A record of a journal."""
    return (
        b'{"specversion":"1.0","id":"%d-x","source":"%b","type":"x.v1",'
        b'"time":"2026-11-22T10:00:00.000000Z","subject":"x","sequence":"%d","data":{}}'
    ) % (sequence, source.encode(), sequence)


class Desk:
    """Journals that are written, and the trail of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[str, SyncJournal] = {}
        self.reader = DirectoryJournalReader(folder / "j")
        self.places = PlaceIndex(folder / "places")
        self.writer = TrailWriter(folder / "trail", KEY)
        clock = FakeClock()
        self.sequencer = Sequencer(self.reader, self.writer, self.places, clock)

    def write(self, source: str, lines: list[bytes]) -> None:
        """Appends lines to a journal; makes it first."""
        name = journal_name(*source.strip("/").split("/"))
        if source not in self.open:
            self.open[source] = SyncJournal(
                self.folder / "j", name, FakeClock(), SequentialIds()
            )
        with (self.folder / "j" / name.file(0)).open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def sequence(self) -> None:
        """Brings all into the trail."""
        sequence_all(self.sequencer, self.writer)

    def there(self, source: str = SOURCE) -> list[JournalRecord]:
        """A journal as it stands in its file."""
        return list(self.reader.read(source, 0, 10**9))

    def streams(self) -> TrailStreams:
        """The trail, read anew."""
        return TrailStreams(self.folder / "trail", self.folder / "places")

    def index(self, source: str = SOURCE) -> Path:
        """The file that says where a journal's records are."""
        return self.folder / "places" / source.strip("/").replace("/", ".")

    def close(self) -> None:
        """Closes all."""
        for journal in self.open.values():
            journal.failed = True
            journal.close()
        for one in (self.reader, self.places, self.writer):
            one.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def drop_all(file: Path) -> None:
    """The index is lost."""
    file.unlink()


def drop_last(file: Path) -> None:
    """A kill came before the last half of it."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def drop_first(file: Path) -> None:
    """What was noted first is not known."""
    data = file.read_bytes()
    file.write_bytes(data[len(data) // 36 // 2 * 36 :])


def drop_none(file: Path) -> None:
    """It is as it was written."""
    assert file.stat().st_size % 36 == 0


@pytest.mark.parametrize("loses", [drop_none, drop_last, drop_first, drop_all])
@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"garbage",
        b"x" * 65_536,
        record(0, OTHER),
        record(0),
        record(77),
    ],
    ids=["empty", "garbage", "too long", "another's", "again", "missing"],
)
def test_a_record_is_where_its_journal_had_it(
    desk: Desk, wrong: bytes, loses: Callable[[Path], None]
) -> None:
    """At every offset, with an index, with a part of one and with none."""
    lines = [*(record(one) for one in range(1, 40)), wrong]
    lines += [record(one) for one in range(40, 80)]
    for begin in range(0, len(lines), 15):  # they take turns
        desk.write(OTHER, [record(begin + one + 1, OTHER) for one in range(15)])
        desk.write(SOURCE, lines[begin : begin + 15])
        desk.sequence()
    desk.close()
    loses(desk.index())
    streams = desk.streams()
    whole = [one for one in desk.there() if 0 < len(one.line) < 65_536]
    for one in whole:
        assert streams.record_at(JournalPosition(*one[:2])) == one.line
        assert streams.read(SOURCE, one.offset, 1) == [one]
    assert streams.read(SOURCE, 0, 10**9) == whole
    end = whole[-1].offset + len(whole[-1].line) + 1
    half = whole[40]
    assert streams.read(SOURCE, half.offset, end - half.offset) == whole[40:]
    for offset in (whole[3].offset + 1, end):
        with pytest.raises(LookupError):
            streams.record_at(JournalPosition(SOURCE, offset))


def test_only_what_a_checkpoint_has_is_read(desk: Desk) -> None:
    """A record that was appended and not signed for is not there."""
    desk.write(SOURCE, [record(1)])
    desk.sequence()
    desk.write(SOURCE, [record(2), record(3)])
    desk.sequencer.step()
    there = desk.there()
    assert desk.streams().read(SOURCE, 0, 10**9) == there[:2]
    with pytest.raises(LookupError):
        desk.streams().record_at(JournalPosition(*there[2][:2]))
    desk.writer.publish()
    assert desk.streams().read(SOURCE, 0, 10**9) == there
    desk.close()
    none = TrailStreams(desk.folder / "none", desk.folder / "places")
    assert none.read(SOURCE, 0, 10**9) == []


def test_an_entry_that_was_changed_is_not_believed(desk: Desk) -> None:
    """Its bytes are held against the hash that the log has of them."""
    desk.write(SOURCE, [record(1), record(2)])
    desk.sequence()
    there = desk.there()
    path = desk.folder / "trail" / bundle_path(0, desk.writer.size)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"sequence":"2"', b'"sequence":"7"'))
    desk.close()
    with pytest.raises(LookupError, match="not the one that its tile has"):
        desk.streams().record_at(JournalPosition(*there[2][:2]))


def test_an_index_of_another_log_costs_only_time(desk: Desk) -> None:
    """No other record is given for the one that was asked for."""
    desk.write(SOURCE, [record(1), record(2)])
    desk.write(OTHER, [record(1, OTHER)])
    desk.sequence()
    desk.write(SOURCE, [record(3)])
    desk.sequence()
    desk.close()
    own, other = desk.index().read_bytes(), desk.index(OTHER).read_bytes()
    for wrong in (other, own[:36] + other, other + own[36:]):
        desk.index().write_bytes(wrong)
        assert desk.streams().read(SOURCE, 0, 10**9) == desk.there()
        for one in desk.there():
            assert desk.streams().record_at(JournalPosition(*one[:2])) == one.line
