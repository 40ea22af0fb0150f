"""Tests of reading many records of a log, each compared up to the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from comptroller.adapters.tlog.entries import TrailEntries
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.merkle import TreeHead

KEY = TrailKey("log.example/t", bytes(32))
SOURCE = "/n/w0/1"


def line(number: int) -> bytes:
    record = {
        "id": str(number),
        "source": SOURCE,
        "type": "t",
        "time": "2026-11-21T14:05:00.000000Z",
        "subject": "s",
        "sequence": str(number),
        "data": {},
    }
    return json.dumps(record, separators=(",", ":")).encode()


def written(folder: Path, count: int) -> TreeHead:
    """A log of so many records, and its index."""
    writer = TrailWriter(folder / "trail", KEY)
    writer.append([line(number) for number in range(count)], {})
    writer.publish()
    writer.close()
    places = PlaceIndex(folder / "places")
    places.note(SOURCE, 0, 0, count, 0)
    places.close()
    return TreeReader(folder / "trail", count).head()


def test_it_stays_as_it_was_when_it_was_first_asked(tmp_path: Path) -> None:
    """One answer is from one tree, though the log grows meanwhile."""
    nothing = TrailEntries(tmp_path / "no", tmp_path / "no")
    assert (nothing.entry_at(SOURCE, 0), nothing.sources()) == (None, [])
    written(tmp_path, 300)
    asked = TrailEntries(tmp_path / "trail", tmp_path / "places")
    assert asked.entry_at(SOURCE, 299) == line(299)
    writer = TrailWriter(tmp_path / "trail", KEY)
    writer.append([line(300)], {})
    writer.publish()
    writer.close()
    assert asked.entry_at(SOURCE, 300) is None
    assert asked.index_at(SOURCE, 7) == 7
    assert asked.sources() == [SOURCE]
    later = TrailEntries(tmp_path / "trail", tmp_path / "places")
    assert later.entry_at(SOURCE, 300) == line(300)
    assert later.index_of(SOURCE, 300, line(300)) == 300
    assert later.index_of(SOURCE, 300, line(299)) is None


def test_records_are_found_in_any_order_of_their_runs(tmp_path: Path) -> None:
    """Ahead, far ahead, back, and what the index does not know."""
    written(tmp_path, 2000)
    (index,) = (tmp_path / "places").iterdir()
    index.unlink()
    places = PlaceIndex(tmp_path / "places")
    for begin in range(0, 2000, 4):
        if begin != 1600:
            places.note(SOURCE, begin, begin, 4, begin * 100)
    places.close()
    asked = TrailEntries(tmp_path / "trail", tmp_path / "places")
    for number in (0, 1, 3, 4, 9, 40, 1900, 1901, 7, 1602, 1605, 1999, 2):
        assert asked.entry_at(SOURCE, number) == line(number)
    assert asked.entry_at(SOURCE, 2000) is None
    assert asked.entry_at("/n/w9/1", 3) is None


def test_a_journal_that_the_index_does_not_know(tmp_path: Path) -> None:
    """It is looked for in all of the log: somebody may have removed its index."""
    written(tmp_path, 300)
    (index,) = (tmp_path / "places").iterdir()
    index.rename(index.with_name("n.w9.1"))
    asked = TrailEntries(tmp_path / "trail", tmp_path / "places")
    assert asked.entry_at(SOURCE, 299) == line(299)
    assert asked.entry_at(SOURCE, 0) == line(0)
    assert asked.entry_at("/n/w9/1", 3) is None
    assert asked.entry_at("/n/w8/1", 3) is None
