from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.adapters.tlog.reader import read_file
from comptroller.adapters.tlog.tiles import (
    bundle_path,
    decode_bundle,
    decode_tile,
    encode_bundle,
    level_count,
    tile_path,
    tile_width,
)
from comptroller.core.errors import TrailDamagedError, TrailUnavailableError


@pytest.mark.parametrize(
    ("index", "written"),
    [
        (0, "000"),
        (999, "999"),
        (1000, "x001/000"),
        (1234067, "x001/x234/067"),
        (12345678901, "x012/x345/x678/901"),
    ],
)
def test_numbers_are_written_as_the_format_has_them(index: int, written: str) -> None:
    """The specification's example, and the edges around it."""
    assert tile_path(3, index) == f"tile/3/{written}"
    assert bundle_path(index) == f"tile/entries/{written}"
    assert tile_path(0, index, 7) == f"tile/0/{written}.p/7"
    assert bundle_path(index, 255) == f"tile/entries/{written}.p/255"


def tiles_of(size: int) -> list[tuple[int, int, int]]:
    """Per level: full tiles, and the width of the partial one."""
    found = []
    for level in range(level_count(size)):
        full = (size >> 8 * level) // 256
        found.append((level, full, tile_width(size, level, full)))
    return found


def test_a_tree_has_the_tiles_of_the_specification() -> None:
    """Its example of 70,000 records, and sizes around full tiles."""
    assert tiles_of(70_000) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert tiles_of(256) == [(0, 1, 0), (1, 0, 1)]
    assert tiles_of(255) == [(0, 0, 255)]
    assert tiles_of(0) == []
    assert tile_width(256, 0, 0) == 256
    assert tile_width(255, 0, 3) == 0


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_bundles_come_back_and_cut_ones_do_not(
    records: list[bytes], draw: st.DataObject
) -> None:
    """What was put in comes out; a bundle that was cut anywhere is found."""
    data = encode_bundle(records)

    assert decode_bundle(data, len(records), "x") == records
    if records:
        cut = draw.draw(st.integers(0, len(data) - 1))
        with pytest.raises(TrailDamagedError, match="x ends within"):
            decode_bundle(data[:cut], len(records), "x")


def test_the_longest_record_fits_and_no_longer_one() -> None:
    """65,535 bytes are a record; one more are an error, not a wrong length."""
    longest = bytes(65_535)

    assert decode_bundle(encode_bundle([longest]), 1, "x") == [longest]
    with pytest.raises(ValueError, match="65536"):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("size", [0, 31, 33, 32, 257 * 32])
def test_a_tile_of_another_length_is_found(size: int) -> None:
    """Half a hash, too few hashes, more than a tile."""
    with pytest.raises(TrailDamagedError, match=r"^t has"):
        decode_tile(bytes(size), 2, "t")
    assert decode_tile(bytes(96), 2, "t") == [bytes(32)] * 2


@pytest.mark.parametrize("what", ["pipe", "endless", "folder"])
def test_what_is_no_file_is_not_read(tmp_path: Path, what: str) -> None:
    """No pipe is waited for, and no device fills the memory."""
    path = tmp_path / "tile"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises((TrailDamagedError, TrailUnavailableError), match="tile"):
        read_file(path, 8192)
