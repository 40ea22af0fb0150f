"""Reading a log of which everything that is read is proved to be in one tree."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from comptroller.adapters.tlog.reader import (
    TreeReader,
    changed_record,
    pruned_bundle,
)
from comptroller.adapters.tlog.tiles import TILE_WIDTH, tile_width
from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import TreeHead, leaf_hash, subtree_root

BUNDLES_KEPT: Final = 16
"""Journals take turns in the log: what was read for one record has more of them."""


class ProvenTree(TreeReader):
    """A log as one checkpoint has it.

    A record is compared with its tile, a tile with the one above it when it is read,
    and so on up to the root: whatever does not fit raises TrailDamagedError.

    Args:
        folder: the log's.
        head: what the checkpoint says of it.
    """

    def __init__(self, folder: Path, head: TreeHead) -> None:
        super().__init__(folder, head.size)
        self.expected = head
        self._edge = TreeReader(folder, head.size)
        """Reads the tiles that are not full: the root is made of these."""
        self._is_edge_proven = False
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()
        self._minimum: int | None = None

    def record(self, index: int) -> bytes:
        """A record's exact bytes; the others of its bundle are not compared.

        Args:
            index: below the size of the tree.

        Raises:
            TrailPrunedError: it is not kept any more.
            TrailDamagedError: a file is not there, or not what was signed.
            TrailUnavailableError: a file cannot be read.
        """
        number, place = divmod(index, TILE_WIDTH)
        record = self._read_bundle(number)[place]
        if leaf_hash(record) != self.tile(0, number)[place]:
            raise changed_record(self.size, index)
        return record

    def records(self, begin: int = 0) -> Iterator[bytes]:
        """All records from an index on; see `record`."""
        return map(self.record, range(begin, self.size))

    def minimum(self) -> int:
        """The first index whose record is there, as it was when this was first asked.

        What is pruned later is found out when it is read.

        Raises:
            TrailUnavailableError: the folder cannot be read.
        """
        if self._minimum is None:
            self._minimum = super().minimum()
        return self._minimum

    def _read_bundle(self, index: int) -> list[bytes]:
        found = self._bundles.get(index)
        if found is not None:
            self._bundles.move_to_end(index)
            return found
        if self._minimum is not None and index * TILE_WIDTH < self._minimum:
            raise pruned_bundle(index, self._minimum)
        found = self._bundles[index] = super()._read_bundle(index)
        if len(self._bundles) > BUNDLES_KEPT:
            self._bundles.popitem(last=False)
        return found

    def _read_tile(self, level: int, index: int) -> Sequence[bytes]:
        if tile_width(self.size, level, index) < TILE_WIDTH:
            if not self._is_edge_proven:
                if self._edge.head() != self.expected:
                    raise TrailDamagedError(
                        "the tiles do not fit the checkpoint's root"
                    )
                self._is_edge_proven = True
            return self._edge.tile(level, index)
        hashes = super()._read_tile(level, index)
        above, place = divmod(index, TILE_WIDTH)
        if self.tile(level + 1, above)[place] != subtree_root(hashes):
            raise TrailDamagedError(
                f"tile {index} of level {level} does not fit the one above it"
            )
        return hashes
