"""Names and contents of the files of a log (C2SP tlog-tiles)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import HASH_BYTES

TILE_WIDTH: Final = 256
TILE_BITS: Final = 8
ENTRY_BYTES_MAX: Final = 65_535
BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)


def _number(index: int) -> str:
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile_path(level: int, index: int, width: int = 0) -> str:
    """Where a tile of hashes stands; with a width, the partial one."""
    return f"tile/{level}/{_number(index)}" + (f".p/{width}" if width else "")


def bundle_path(index: int, width: int = 0) -> str:
    """Where a bundle of entries stands; with a width, the partial one."""
    return f"tile/entries/{_number(index)}" + (f".p/{width}" if width else "")


def level_count(size: int) -> int:
    """How many levels of tiles a tree has."""
    return (size.bit_length() + TILE_BITS - 1) // TILE_BITS


def tile_width(size: int, level: int, index: int) -> int:
    """How many hashes of a tile a tree has: none, all, or some of the last one."""
    here = (size >> TILE_BITS * level) - index * TILE_WIDTH
    return max(0, min(TILE_WIDTH, here))


def encode_entry(record: bytes) -> bytes:
    """One entry of a bundle.

    Raises:
        ValueError: a bundle cannot hold so long a record.
    """
    if len(record) > ENTRY_BYTES_MAX:
        raise ValueError(
            f"a record has {len(record)} bytes; the trail holds {ENTRY_BYTES_MAX}"
        )
    return len(record).to_bytes(2) + record


def encoded_parts(records: Sequence[bytes]) -> list[bytes]:
    """What entries of a bundle are joined of, uncopied: each length and record.

    Raises:
        OverflowError: a bundle cannot hold so long a record.
    """
    return [part for one in records for part in (len(one).to_bytes(2), one)]


def encode_bundle(records: Iterable[bytes]) -> bytes:
    """A bundle of records.

    Raises:
        ValueError: a bundle cannot hold so long a record.
    """
    return b"".join(map(encode_entry, records))


def decode_bundle(data: bytes, width: int, name: str) -> list[bytes]:
    """The first records of a bundle; what follows them is not looked at.

    Raises:
        TrailDamagedError: they are not all there.
    """
    records = []
    place = 0
    for number in range(width):
        begin = place + 2
        place = begin + int.from_bytes(data[place:begin])
        if place > len(data) or begin > len(data):
            raise TrailDamagedError(f"{name} ends within entry {number} of {width}")
        records.append(data[begin:place])
    return records


def decode_tile(data: bytes, width: int, name: str) -> list[bytes]:
    """The first hashes of a tile.

    Raises:
        TrailDamagedError: they are not all there.
    """
    if len(data) % HASH_BYTES or not width <= len(data) // HASH_BYTES <= TILE_WIDTH:
        raise TrailDamagedError(f"{name} has {len(data)} bytes for {width} hashes")
    end = width * HASH_BYTES
    return [data[place : place + HASH_BYTES] for place in range(0, end, HASH_BYTES)]
