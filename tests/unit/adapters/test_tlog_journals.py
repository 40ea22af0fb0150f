"""Journals read out of the trail, where something was wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.tlog.journals import TrailJournals
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.errors import JournalUnavailableError, TrailDamagedError
from comptroller.core.merkle import TreeHead
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.testing.system import FakeClock, SequentialIds

KEY = TrailKey("trail.example/journals", bytes(32))
SOURCE = "/host/w0/01A"


def record(sequence: int, source: str = SOURCE) -> bytes:
    """A record of a journal."""
    return (
        b'{"specversion":"1.0","id":"%d-x","source":"%b","type":"x.v1",'
        b'"time":"2026-11-22T10:00:00.000000Z","subject":"x","sequence":"%d","data":{}}'
    ) % (sequence, source.encode(), sequence)


def journals(
    folder: Path, lines: list[bytes], torn: bytes = b""
) -> tuple[TrailJournals, list[JournalRecord]]:
    """A journal with these lines after its first, out of the trail; and itself."""
    name = journal_name("host", "w0", "01A")
    journal = SyncJournal(folder / "j", name, FakeClock(), SequentialIds())
    journal.failed = True
    journal.close()
    with (folder / "j" / name.file(0)).open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines) + torn)
    reader = DirectoryJournalReader(folder / "j")
    places = PlaceIndex(folder / "places")
    writer = TrailWriter(folder / "trail", KEY)
    sequence_all(Sequencer(reader, writer, places, FakeClock()), writer)
    tree = TreeReader(folder / "trail", writer.size)
    found = TrailJournals(tree, writer.head), list(reader.read(SOURCE, 0, 10**9))
    for one in (places, writer, reader):
        one.close()
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        b"garbage",
        b"[" * 3000,
        b'{"half":',
        record(0, "/host/w9/01Z"),
        record(0, "/trail"),
        record(0),
        record(77),
    ],
    ids=["garbage", "deep", "half", "another's", "the trail's", "again", "missing"],
)
@pytest.mark.parametrize("before", [2, 253, 254])
def test_what_is_wrong_in_a_journal_is_where_it_was(
    wrong: bytes, before: int, tmp_path: Path
) -> None:
    """All of its lines at their offsets, also where a bundle ends between them."""
    lines = [*(record(one) for one in range(1, before)), wrong]
    lines += [record(one) for one in range(before, before + 5)]
    trail, there = journals(tmp_path, lines, torn=b'{"torn')
    assert trail.sources() == [SOURCE]
    assert trail.incomplete == {}
    assert list(trail.read(SOURCE, 0, 10**9)) == there
    for one in there:
        assert trail.record_at(JournalPosition(*one[:2])) == one.line
        assert trail.read(SOURCE, one.offset, 1)[0] == one
    last = there[-1]
    assert trail.size(SOURCE) == last.offset + len(last.line) + 1


@pytest.mark.parametrize("wrong", [b"", b"x" * 65_536], ids=["none", "too long"])
def test_a_journal_ends_where_the_trail_lacks_a_line(
    wrong: bytes, tmp_path: Path
) -> None:
    """What is no entry cannot be read out of the trail; that is said."""
    trail, there = journals(tmp_path, [record(1), wrong, record(2)])
    assert list(trail.read(SOURCE, 0, 10**9)) == there[:2]
    assert trail.read(SOURCE, there[2].offset, 10**9) == []
    assert trail.size(SOURCE) == there[2].offset
    assert f"at byte {there[2].offset}" in trail.incomplete[SOURCE]


def test_what_is_not_in_the_trail_is_not_there(tmp_path: Path) -> None:
    """Another source, or an entry that is no record and that no gap tells of."""
    trail, _ = journals(tmp_path, [record(1)])
    with pytest.raises(JournalUnavailableError):
        trail.read("/host/w7/01A", 0, 10)
    with pytest.raises(JournalUnavailableError):
        trail.is_dead("/host/w7/01A")
    other = TrailWriter(tmp_path / "other", KEY)
    other.append([b"no record"], {})
    other.close()
    with pytest.raises(TrailDamagedError, match="no gap says so"):
        TrailJournals(TreeReader(tmp_path / "other", 1), other.head)
    with pytest.raises(TrailDamagedError, match="not those of its checkpoint"):
        TrailJournals(
            TreeReader(tmp_path / "trail", trail.size_of_log),
            TreeHead(trail.size_of_log, bytes(32)),
        )
