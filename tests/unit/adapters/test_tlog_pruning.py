"""Pruning a log on disk: full bundles of entries go, hashes stay, and no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.proof import prove, verify_proof
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.state import TrailState, encode_state
from comptroller.adapters.tlog.writer import BUNDLES_AT_ONCE, TrailWriter
from comptroller.core.errors import TrailDamagedError, TrailPrunedError
from comptroller.engine.trail_ports import Pruning

KEY = TrailKey("trail.example/pruned", bytes(32))


def records(begin: int, end: int) -> list[bytes]:
    return [b'{"record":%d}' % number for number in range(begin, end)]


def bundles(folder: Path) -> list[str]:
    """The full bundles that are there."""
    entries = folder / "tile/entries"
    return sorted(
        str(one.relative_to(entries))
        for one in entries.rglob("*")
        if one.is_file() and ".p" not in str(one)
    )


def begun(folder: Path, size: int, *prunings: Pruning) -> TrailWriter:
    writer = TrailWriter(folder, KEY)
    writer.append(records(0, size), {"s": size}, prunings)
    return writer


def test_full_bundles_below_the_minimum_go_and_hashes_stay(tmp_path: Path) -> None:
    """Every proof is made as before, and the log goes on."""
    writer = begun(tmp_path, 1000, Pruning(999, 512))
    writer.publish()
    head, path = writer.head, TreeReader(tmp_path, 1000).inclusion(3)

    assert writer.prune(1000) is False
    assert (writer.minimum, bundles(tmp_path)) == (512, ["002"])
    reader = TreeReader(tmp_path, 1000)
    assert (reader.head(), reader.inclusion(3)) == (head, path)
    writer.append(records(1000, 1100), {})
    writer.publish()
    writer.close()
    again = TrailWriter(tmp_path, KEY)
    assert (again.minimum, again.size) == (512, 1100)
    assert again.prune(1100) is False
    again.close()


def test_nothing_goes_before_the_record_is_published(tmp_path: Path) -> None:
    """Nor before a witness has signed, which `covered` says."""
    writer = begun(tmp_path, 1000, Pruning(999, 512))
    writer.prune(1000)
    assert writer.minimum == 0
    writer.publish()
    writer.prune(999)
    assert (writer.minimum, len(bundles(tmp_path))) == (0, 3)
    writer.prune(1001)
    assert writer.minimum == 512
    writer.close()


def test_a_pruning_is_remembered_by_the_next_writer(tmp_path: Path) -> None:
    """It is as durable as the record that says it."""
    writer = begun(tmp_path, 1000, Pruning(999, 512))
    writer.close()
    writer = TrailWriter(tmp_path, KEY)
    writer.publish()
    writer.prune(1000)
    assert bundles(tmp_path) == ["002"]
    writer.close()


def test_the_minimum_never_goes_back(tmp_path: Path) -> None:
    """A later record that says less changes nothing."""
    writer = begun(tmp_path, 1000, Pruning(998, 768), Pruning(999, 256))
    writer.publish()
    writer.prune(1000)
    assert writer.minimum == 768
    writer.append([b"more"], {}, [Pruning(1000, 512)])
    writer.publish()
    writer.prune(1001)
    assert (writer.minimum, bundles(tmp_path)) == (768, [])
    writer.close()


def test_bundles_that_are_gone_already_are_no_trouble(tmp_path: Path) -> None:
    """What a kill removed before it could say so, or a whole folder."""
    writer = begun(tmp_path, 256 * 1002, Pruning(256 * 1001, 256 * 1001))
    writer.publish()
    (tmp_path / "tile/entries/007").unlink()
    shutil.rmtree(tmp_path / "tile/entries/x001")
    rounds = 1
    while writer.prune(256 * 1002):
        rounds += 1
    assert (rounds, bundles(tmp_path)) == (1001 // BUNDLES_AT_ONCE + 1, [])
    writer.close()


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """1,000 records of a journal, of which the first 512 are pruned."""
    lines = [line(number) for number in range(1000)]
    writer = TrailWriter(tmp_path / "trail", KEY)
    writer.append(lines, {}, [Pruning(999, 512)])
    writer.publish()
    shutil.copytree(tmp_path / "trail", tmp_path / "copy")
    writer.prune(1000)
    writer.close()
    return tmp_path / "trail"


def line(number: int) -> bytes:
    return (
        b'{"specversion":"1.0","id":"%d","source":"/n/w0/1","type":"x.v1",'
        b'"time":"2026-11-22T10:00:00Z","subject":"x","sequence":"%d","data":{}}'
    ) % (number, number)


def test_what_is_pruned_is_named_as_such(pruned: Path) -> None:
    """Not as damage; a bundle that is missing behind it is damage."""
    tree = TreeReader(pruned, 1000)
    assert tree.minimum() == 512
    assert list(tree.records(512)) == [line(number) for number in range(512, 1000)]
    for index in (0, 255, 511):
        with pytest.raises(TrailPrunedError, match="the records from 512 on"):
            tree.record(index)
    (pruned / "tile/entries/003.p/232").unlink()
    with pytest.raises(TrailDamagedError, match=r"003\.p/232 is missing") as damaged:
        tree.record(999)
    assert not isinstance(damaged.value, TrailPrunedError)


def test_a_copy_gives_what_is_missing_and_nothing_else(pruned: Path) -> None:
    """It is compared with the hashes that stayed."""
    copy = pruned.with_name("copy")
    tree = TreeReader(pruned, 1000, copy)
    assert list(tree.records()) == [line(number) for number in range(1000)]
    bundle = copy / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"x.v1"', b'"y.v1"', 1))
    (copy / "tile/entries/002").write_bytes(b"anything")
    with pytest.raises(TrailDamagedError, match="record 256 is not the one"):
        tree.record(256)
    assert tree.record(512) == line(512)


def test_a_pruned_record_is_found_and_proved_by_its_line(pruned: Path) -> None:
    """By its hash; any other line proves nothing."""
    finder = TrailFinder(pruned, pruned.with_name("places"))
    assert finder.index_of("/n/w0/1", 17, line(17)) == 17
    assert finder.index_of("/n/w0/1", 17, line(17) + b" ") is None
    record, content = prove(pruned, 17, line=line(17))
    proven = verify_proof(content, record, KEY.key.name, [KEY])
    assert (record, proven.index) == (line(17), 17)
    with pytest.raises(TrailPrunedError):
        prove(pruned, 17)
    with pytest.raises(TrailDamagedError):
        prove(pruned, 17, line=line(18))


def test_what_is_left_is_found_without_an_index(pruned: Path) -> None:
    """By looking at what is left; what is not there may have been pruned."""
    finder = TrailFinder(pruned, pruned.with_name("places"))
    assert finder.entry_at("/n/w0/1", 700) == line(700)
    with pytest.raises(TrailPrunedError):
        finder.entry_at("/n/w0/1", 17)


def test_a_state_that_keeps_nothing_is_damaged(tmp_path: Path) -> None:
    """A minimum beyond the log was not written by its writer."""
    (tmp_path / "state.json").write_bytes(
        encode_state(TrailState(origin=KEY.key.name, minimum=256))
    )
    with pytest.raises(TrailDamagedError, match="keeps records"):
        TrailWriter(tmp_path, KEY)
