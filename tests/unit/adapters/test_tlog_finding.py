"""Tests of finding a record in the log, with an index and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex, Run, Stretch
from comptroller.adapters.tlog.writer import TrailWriter

KEY = TrailKey("log.example/t", bytes(32))
RECORDS = [b"record %d" % number for number in range(700)]
SOURCE = "/n/w0/1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    writer = TrailWriter(tmp_path / "trail", KEY)
    writer.append(RECORDS, {})
    writer.publish()
    writer.append([b"later"], {})
    yield tmp_path
    writer.close()


def finder(folder: Path) -> TrailFinder:
    return TrailFinder(folder / "trail", folder / "places")


def test_runs_say_where_a_record_is(tmp_path: Path) -> None:
    """One entry where its run is known; else what is between its neighbours."""
    places = PlaceIndex(tmp_path)
    places.note(SOURCE, 0, 10, 5, 0)
    places.note(SOURCE, 5, 30, 5, 50)
    places.note(SOURCE, 20, 90, 1, 200)
    assert places.find(SOURCE, 0) == Stretch(10, 11)
    assert places.find(SOURCE, 4) == Stretch(14, 15)
    assert places.find(SOURCE, 7) == Stretch(32, 33)
    assert places.find(SOURCE, 12) == Stretch(35, 90)
    assert places.find(SOURCE, 20) == Stretch(90, 91)
    assert places.find(SOURCE, 21) == Stretch(91, None)
    assert places.find("/n/w1/1", 3) == Stretch(0, None)
    runs = [Run(0, 10, 5, 0), Run(5, 30, 5, 50), Run(20, 90, 1, 200)]
    assert list(places.runs(SOURCE, 0)) == runs
    assert list(places.runs(SOURCE, 49)) == runs
    assert list(places.runs(SOURCE, 50)) == runs[1:]
    assert list(places.runs(SOURCE, 10**9)) == runs[2:]
    assert list(places.runs("/n/w1/1", 0)) == []
    places.close()


def test_a_run_that_was_cut_by_a_kill_is_forgotten(tmp_path: Path) -> None:
    """What follows it is found all the same."""
    places = PlaceIndex(tmp_path)
    places.note(SOURCE, 0, 10, 5, 0)
    places.close()
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b"\x00\x01\x02")
    again = PlaceIndex(tmp_path)
    assert again.find(SOURCE, 9) == Stretch(15, None)
    again.note(SOURCE, 7, 40, 2, 70)
    assert again.find(SOURCE, 8) == Stretch(41, 42)
    again.close()


def test_a_run_that_is_not_what_was_written_is_none(tmp_path: Path) -> None:
    """What a loss of power leaves of a file is not taken for places in the log."""
    places = PlaceIndex(tmp_path)
    places.note(SOURCE, 0, 10, 5, 0)
    places.note(SOURCE, 5, 30, 5, 50)
    places.close()
    file = next(tmp_path.iterdir())
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    again = PlaceIndex(tmp_path)
    assert again.find(SOURCE, 7) == Stretch(0, None)
    assert again.find(SOURCE, 2) == Stretch(0, None)
    assert list(again.runs(SOURCE, 60)) == []


def test_a_record_is_found_with_and_without_an_index(folder: Path) -> None:
    """The index saves time; only the entry itself is believed."""
    assert finder(folder).index_of(SOURCE, 9, RECORDS[600]) == 600
    places = PlaceIndex(folder / "places")
    places.note(SOURCE, 9, 600, 1, 90)
    places.note(SOURCE, 10, 12, 1, 100)
    places.close()
    assert finder(folder).index_of(SOURCE, 9, RECORDS[600]) == 600
    assert finder(folder).index_of(SOURCE, 10, RECORDS[600]) is None


def test_what_no_checkpoint_has_is_not_found(folder: Path, tmp_path: Path) -> None:
    """A record counts once it is signed for; without a log nothing is."""
    assert finder(folder).index_of(SOURCE, 9, b"later") is None
    published = finder(folder).published()
    assert published is not None
    assert (published.origin, published.size) == ("log.example/t", 700)
    assert published.witnesses == []
    nothing = TrailFinder(tmp_path / "none", tmp_path / "none")
    assert nothing.published() is None
    assert nothing.index_of(SOURCE, 9, RECORDS[0]) is None


def test_the_entry_at_a_journals_place_is_read(tmp_path: Path) -> None:
    """The record with that source and sequence, as the tree has it; None: not in it."""
    lines = [
        json.dumps(
            {
                "id": str(number),
                "source": SOURCE,
                "type": "t",
                "time": "2026-11-21T14:05:00.000000Z",
                "subject": "s",
                "sequence": str(number),
                "data": {},
            },
            separators=(",", ":"),
        ).encode()
        for number in range(3)
    ]
    writer = TrailWriter(tmp_path / "trail", KEY)
    writer.append(lines, {})
    assert finder(tmp_path).entry_at(SOURCE, 1) is None
    writer.publish()
    writer.close()
    assert finder(tmp_path).entry_at(SOURCE, 1) == lines[1]
    assert finder(tmp_path).index_at(SOURCE, 1) == 1
    assert finder(tmp_path).entry_at(SOURCE, 3) is None
