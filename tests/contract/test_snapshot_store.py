"""Every SnapshotStore: a whole snapshot or the one before, and told once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.engine.ports import SnapshotStore
from comptroller.testing.snapshot import InMemorySnapshots

Opener = Callable[[], SnapshotStore]


@pytest.fixture(params=["file", "memory"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "file":
        return lambda: FileSnapshotStore(tmp_path / "snapshot.json")
    return InMemorySnapshots().reader


def test_nothing_published_reads_as_unchanged(opener: Opener) -> None:
    """Before the first snapshot there is nothing to read, and no error."""
    assert opener().read_if_changed() is None


def test_a_change_is_told_once_to_each_reader(opener: Opener) -> None:
    """Each reader gets a new snapshot once, whoever wrote it."""
    writer, one, two = opener(), opener(), opener()
    writer.publish(b"1")
    assert [one.read_if_changed(), one.read_if_changed()] == [b"1", None]
    writer.publish(b"2")
    assert [one.read_if_changed(), two.read_if_changed()] == [b"2", b"2"]
    assert two.read_if_changed() is None


def test_quick_changes_of_one_size_are_all_seen(opener: Opener) -> None:
    """Two snapshots of one size within one tick of the file system's clock differ."""
    writer, reader = opener(), opener()
    for number in range(50):
        writer.publish(b"%03d" % number)
        assert reader.read_if_changed() == b"%03d" % number
        writer.publish(b"abc")
        writer.publish(b"%03d" % number)
        assert reader.read_if_changed() == b"%03d" % number
