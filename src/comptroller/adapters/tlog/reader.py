"""Reading a log: records, hashes, and the proofs made of them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Final

from comptroller.adapters.tlog.tiles import (
    BUNDLE_BYTES_MAX,
    TILE_BITS,
    TILE_WIDTH,
    bundle_path,
    decode_bundle,
    decode_tile,
    tile_path,
    tile_width,
)
from comptroller.core.checkpoint import NOTE_BYTES_MAX
from comptroller.core.errors import (
    ProofError,
    TrailDamagedError,
    TrailPrunedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import (
    TreeHead,
    consistency_path,
    inclusion_path,
    leaf_hash,
    subtree_root,
    tree_root,
)

TILES_KEPT: Final = 64


def _open_at_once(path: str, flags: int) -> int:
    # A pipe's writer would be waited for; of a file nothing changes.
    return os.open(path, flags | os.O_NONBLOCK)


def read_file(path: Path, bytes_max: int) -> bytes | None:
    """A file's content; None: there is none.

    Raises:
        TrailDamagedError: it is larger than any of its kind, or a pipe or a device,
            which may never end.
        TrailUnavailableError: it cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TrailDamagedError(f"{path} is no file")
            data = file.read(bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TrailUnavailableError(
            f"{path} cannot be read: {error.strerror}"
        ) from error
    if len(data) > bytes_max:
        raise TrailDamagedError(f"{path} has more than {bytes_max} bytes")
    return data


def read_checkpoint(folder: Path) -> bytes | None:
    """The signed note of a log, not verified; None: nothing is published yet.

    Raises:
        TrailDamagedError: it is too large to be one.
        TrailUnavailableError: it cannot be read.
    """
    return read_file(folder / "checkpoint", NOTE_BYTES_MAX)


def first_kept(folder: Path, size: int) -> int:
    """The first index of a log of which the record is there: its minimum index.

    What is missing before it was pruned, or removed by somebody: only a record of
    the log itself tells which.

    Raises:
        TrailUnavailableError: the folder cannot be read.
    """
    try:
        for number in range(size // TILE_WIDTH):
            if (folder / bundle_path(number)).exists():
                return number * TILE_WIDTH
    except OSError as error:
        raise TrailUnavailableError(
            f"{folder} cannot be read: {error.strerror}"
        ) from error
    return size // TILE_WIDTH * TILE_WIDTH


def missing_bundle(folder: Path, size: int, index: int) -> TrailDamagedError:
    """Why a bundle is not there: it was pruned, or is lost."""
    minimum = first_kept(folder, size)
    if index * TILE_WIDTH < minimum:
        return pruned_bundle(index, minimum)
    name = bundle_path(index, tile_width(size, 0, index) % TILE_WIDTH)
    return TrailDamagedError(f"{name} is missing in {folder}")


def pruned_bundle(index: int, minimum: int) -> TrailPrunedError:
    """That a bundle was pruned.

    Args:
        index: of the bundle.
        minimum: the first index of which the record is there.
    """
    begin = index * TILE_WIDTH
    error = TrailPrunedError(
        f"the records {begin} to {begin + TILE_WIDTH - 1} of the trail were pruned:"
        f" it has the records from {minimum} on, and of those before it the hashes"
    )
    error.index = begin
    return error


def changed_record(size: int, index: int) -> TrailDamagedError:
    """That a record of a tree is not what its tile says."""
    number = index // TILE_WIDTH
    name = bundle_path(number, tile_width(size, 0, number) % TILE_WIDTH)
    return TrailDamagedError(f"{name}: record {index} is not the one that its tile has")


class TreeReader:
    """A log as it was at one size.

    What it reads may be anybody's: only `head`, compared with a signed one, tells
    whether the hashes are true.

    Args:
        folder: the log's.
        size: of the tree.
        entries: a log's folder in which bundles are looked for that are not here any
            more; whatever is found there is compared with the hashes that are here.
    """

    def __init__(self, folder: Path, size: int, entries: Path | None = None) -> None:
        self._folder = folder
        self._entries = entries
        self._tiles: OrderedDict[tuple[int, int], Sequence[bytes]] = OrderedDict()
        self.size = size

    def hash(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree: a getter for `core.merkle`.

        Raises:
            TrailDamagedError: the tile is not there, or cut.
            TrailUnavailableError: it cannot be read.
        """
        tile_level, below = divmod(level, TILE_BITS)
        begin = index << below
        hashes = self.tile(tile_level, begin // TILE_WIDTH)
        begin %= TILE_WIDTH
        return subtree_root(hashes[begin : begin + (1 << below)])

    def tile(self, level: int, index: int) -> Sequence[bytes]:
        """The hashes of a tile that the tree has at this size.

        Raises:
            TrailDamagedError: the tile is not there, or cut.
            TrailUnavailableError: it cannot be read.
        """
        key = (level, index)
        found = self._tiles.get(key)
        if found is None:
            found = self._tiles[key] = self._read_tile(level, index)
            if len(self._tiles) > TILES_KEPT:
                self._tiles.popitem(last=False)
        else:
            self._tiles.move_to_end(key)
        return found

    def bundle(self, index: int) -> list[bytes]:
        """The records of a bundle that the tree has at this size, verified.

        Raises:
            TrailPrunedError: the bundle is not kept any more.
            TrailDamagedError: the bundle is not there, cut, or does not fit its tile.
            TrailUnavailableError: it cannot be read.
        """
        records = self._read_bundle(index)
        hashes = self.tile(0, index)
        for place, record in enumerate(records):
            if leaf_hash(record) != hashes[place]:
                raise changed_record(self.size, index * TILE_WIDTH + place)
        return records

    def record(self, index: int) -> bytes:
        """A record's exact bytes, as its tile has them.

        Raises:
            ProofError: there is no such record.
            TrailPrunedError: it is not kept any more.
            TrailDamagedError: a file is not there, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
        if not 0 <= index < self.size:
            raise ProofError(f"a tree of {self.size} records has no record {index}")
        number, place = divmod(index, TILE_WIDTH)
        return self.bundle(number)[place]

    def records(self, begin: int = 0) -> Iterator[bytes]:
        """All records from an index on.

        Raises:
            TrailPrunedError: the first of them are not kept any more.
            TrailDamagedError: a file is not there, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
        while begin < self.size:
            number, place = divmod(begin, TILE_WIDTH)
            found = self.bundle(number)[place:]
            yield from found
            begin += len(found)

    def head(self) -> TreeHead:
        """Size and root, computed from the tiles.

        Raises:
            TrailDamagedError: a tile is not there, or cut.
            TrailUnavailableError: a tile cannot be read.
        """
        return TreeHead(self.size, tree_root(self.size, self.hash))

    def minimum(self) -> int:
        """The first index whose record is there: those before it were pruned.

        Raises:
            TrailUnavailableError: the folder cannot be read.
        """
        return first_kept(self._folder, self.size)

    def inclusion(self, index: int) -> list[bytes]:
        """The proof that a record is in the tree.

        Raises:
            ProofError: there is no such record.
            TrailDamagedError: a tile is not there, or cut.
            TrailUnavailableError: a tile cannot be read.
        """
        return inclusion_path(index, self.size, self.hash)

    def consistency(self, old: int) -> list[bytes]:
        """The proof that the tree begins with that of an older size.

        Raises:
            ProofError: the older is the larger.
            TrailDamagedError: a tile is not there, or cut.
            TrailUnavailableError: a tile cannot be read.
        """
        return consistency_path(old, self.size, self.hash)

    def _read_bundle(self, index: int) -> list[bytes]:
        width = tile_width(self.size, 0, index)
        names = (bundle_path(index, width % TILE_WIDTH), bundle_path(index))
        name, data = self._found(self._folder, names, BUNDLE_BYTES_MAX)
        if data is None and self._entries is not None:
            name, data = self._found(self._entries, names, BUNDLE_BYTES_MAX)
        if data is None:
            raise missing_bundle(self._folder, self.size, index)
        return decode_bundle(data, width, name)

    def _read_tile(self, level: int, index: int) -> Sequence[bytes]:
        width = tile_width(self.size, level, index)
        names = (tile_path(level, index, width % TILE_WIDTH), tile_path(level, index))
        name, data = self._found(self._folder, names, 8192)
        if data is None:
            raise TrailDamagedError(f"{names[0]} is missing in {self._folder}")
        return decode_tile(data, width, name)

    @staticmethod
    def _found(
        folder: Path, names: Sequence[str], bytes_max: int
    ) -> tuple[str, bytes | None]:
        """The partial file, or the full one that has taken its place."""
        for name in names:
            data = read_file(folder / name, bytes_max)
            if data is not None:
                return name, data
        return names[0], None
