"""What every trail promises the sequencer, files and memory alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptroller.adapters.tlog.keys import open_key
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import parse_checkpoint
from comptroller.core.merkle import CompactRange, leaf_hash
from comptroller.engine.trail_ports import SourcePosition, TrailLog
from comptroller.testing.trail import InMemoryTrail


@contextmanager
def file_trail(folder: Path) -> Iterator[TrailLog]:
    writer = TrailWriter(folder / "trail", open_key(folder / "key", "log.example/t"))
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def memory_trail(_folder: Path) -> Iterator[TrailLog]:
    yield InMemoryTrail("log.example/t")


@pytest.fixture(params=[file_trail, memory_trail], ids=["files", "memory"])
def trail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrailLog]:
    with request.param(tmp_path) as opened:
        yield opened


def test_a_new_trail_is_empty_and_has_its_name(trail: TrailLog) -> None:
    """Nothing is in it, and nothing was taken from anywhere."""
    assert trail.origin == "log.example/t"
    assert trail.size == 0
    assert trail.positions == {}


def test_records_get_the_next_indices(trail: TrailLog) -> None:
    """An append tells where its first record is; the size counts them all."""
    assert trail.append([b"a", b"b"], {}) == 0
    assert trail.append([b"c"], {}) == 2
    assert trail.size == 3


def test_positions_are_those_of_the_last_append(trail: TrailLog) -> None:
    """They come with the records, as a whole, and without any, too."""
    trail.append([b"a"], {"/n/w0/1": SourcePosition(2, 1)})
    trail.append([], {"/n/w1/1": SourcePosition(5, 3, "ended")})
    (position,) = trail.positions.values()
    assert list(trail.positions) == ["/n/w1/1"]
    assert list(position) == [5, 3, "ended"]


def test_a_record_that_is_too_long_appends_nothing(trail: TrailLog) -> None:
    """An entry of the format has at most 65,535 bytes; the trail goes on."""
    with pytest.raises(ValueError, match=r"too long|65535"):
        trail.append([b"a", b"x" * 65_536], {"/n/w0/1": SourcePosition(2, 1)})
    assert trail.size == 0
    assert trail.positions == {}
    assert trail.append([b"x" * 65_535], {}) == 0


def test_what_is_taken_in_comes_with_the_next_append(trail: TrailLog) -> None:
    """Before that the log is as it was; then it is in order, and in its place."""
    trail.append([b"a"], {"/n/w0/1": SourcePosition(2, 1)})
    taken = [b"%d" % number for number in range(700)]
    trail.extend(taken[:300])
    trail.extend(taken[300:])
    assert trail.size == 1
    assert list(trail.positions["/n/w0/1"])[:2] == [2, 1]
    assert trail.append([b"b", b"c"], {"/n/w0/1": SourcePosition(9, 703)}) == 701
    tree = CompactRange()
    for record in [b"a", *taken, b"b", b"c"]:
        tree.append(leaf_hash(record))
    checkpoint = parse_checkpoint(trail.publish().partition(b"\n\n")[0] + b"\n")
    assert checkpoint.head == tree.head()


def test_a_record_that_is_too_long_is_not_taken_in(trail: TrailLog) -> None:
    """Nor is what came with it."""
    with pytest.raises(ValueError, match=r"too long|65535"):
        trail.extend([b"a", b"x" * 65_536])
    assert trail.append([b"b"], {}) == 0
    assert trail.size == 1


def test_a_checkpoint_is_of_all_records(trail: TrailLog) -> None:
    """It has the origin, the size, and the root of RFC 6962."""
    records = [b"%d" % number for number in range(300)]
    trail.append(records, {})
    tree = CompactRange()
    for record in records:
        tree.append(leaf_hash(record))
    for _ in range(2):  # of the same size, once more
        checkpoint = parse_checkpoint(trail.publish().partition(b"\n\n")[0] + b"\n")
        assert checkpoint.origin == "log.example/t"
        assert checkpoint.head == tree.head()
