"""Tests of reading a log, all of it compared up to the root of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.proven import ProvenTree
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import TreeHead, leaf_hash

KEY = TrailKey("log.example/t", bytes(32))


def line(number: int) -> bytes:
    return b'{"type":"t","sequence":"%d"}' % number


def written(folder: Path, count: int) -> TreeHead:
    """A log of so many records."""
    writer = TrailWriter(folder / "trail", KEY)
    writer.append([line(number) for number in range(count)], {})
    writer.close()
    return TreeReader(folder / "trail", count).head()


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700, 65_536 + 300])
def test_every_record_of_a_log_of_any_size(tmp_path: Path, count: int) -> None:
    """First, last and those at the edges of bundles, in any order."""
    head = written(tmp_path, count)
    tree = ProvenTree(tmp_path / "trail", head)
    for number in {0, count - 1, count // 2, min(255, count - 1), min(256, count - 1)}:
        assert tree.record(number) == line(number)


def tile(folder: Path, level: int, number: int) -> Path:
    found = folder / "trail" / "tile" / str(level) / f"{number:03d}"
    return found if found.exists() else next(found.with_suffix(".p").iterdir())


@pytest.mark.parametrize(
    ("count", "number"), [(300, 5), (300, 290), (65_536 + 300, 70), (256, 0)]
)
def test_a_record_and_its_tile_that_were_changed(
    tmp_path: Path, count: int, number: int
) -> None:
    """Who changes both has to change the root, too, which a checkpoint has."""
    head = written(tmp_path, count)
    entries = tile(tmp_path, 0, number // 256), number % 256
    bundles = tmp_path / "trail" / "tile" / "entries" / f"{number // 256:03d}"
    bundle = bundles if bundles.exists() else next(bundles.with_suffix(".p").iterdir())
    other = line(number).replace(b'"t"', b'"u"')
    data = bundle.read_bytes()
    bundle.chmod(0o600)
    bundle.write_bytes(data.replace(line(number), other))
    with pytest.raises(TrailDamagedError, match="is not the one that its tile has"):
        ProvenTree(tmp_path / "trail", head).record(number)
    path, place = entries
    hashes = bytearray(path.read_bytes())
    hashes[32 * place : 32 * place + 32] = leaf_hash(other)
    path.chmod(0o600)
    path.write_bytes(hashes)
    with pytest.raises(TrailDamagedError, match=r"do(es)? not fit the"):
        ProvenTree(tmp_path / "trail", head).record(number)
