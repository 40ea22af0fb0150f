"""The right edge of a growing log: what becomes of records, without any file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from comptroller.adapters.tlog.tiles import (
    TILE_BITS,
    TILE_WIDTH,
    bundle_path,
    encoded_parts,
    tile_path,
)
from comptroller.core.merkle import CompactRange, leaf_hashes, subtree_root

File: TypeAlias = tuple[str, bytes]
"""Its name in the log's folder, and its content."""


class Growth:
    """Takes records in; says which files they fill.

    Args:
        edge: at each level, the hashes of the tile that is not full.
        records: those in the bundle that is not full.
        size: how many records there are.
    """

    def __init__(
        self, edge: Sequence[Sequence[bytes]], records: Sequence[bytes], size: int
    ) -> None:
        self.size = size
        """With all that were taken in."""
        self._edge = [list(hashes) for hashes in edge] or [[]]
        self._bundle = encoded_parts(records)
        """Of the bundle that is not full, in parts."""
        self._tiles: list[File] = []
        """Those that were filled since `tiles` was asked for."""

    def take(self, records: Sequence[bytes]) -> list[File]:
        """Takes records in; the bundles that are full now."""
        bundles: list[File] = []
        leaves = self._edge[0]
        place = 0
        while place < len(records):
            part = records[place : place + TILE_WIDTH - len(leaves)]
            place += len(part)
            self.size += len(part)
            self._bundle += encoded_parts(part)
            leaves += leaf_hashes(part)
            if len(leaves) == TILE_WIDTH:
                name = bundle_path(self.size // TILE_WIDTH - 1)
                bundles.append((name, b"".join(self._bundle)))
                self._bundle.clear()
                self._carry()
        return bundles

    def part_of_bundle(self, since: int) -> list[File]:
        """The bundle that is not full, if it has records that a size had not."""
        width = self.size % TILE_WIDTH
        if not width or self.size == since:
            return []
        name = bundle_path(self.size // TILE_WIDTH, width)
        return [(name, b"".join(self._bundle))]

    def tiles(self, since: int) -> list[File]:
        """The tiles filled since this was asked last, and those that are not full.

        Args:
            since: of these, the ones with hashes that this size had not.
        """
        found, self._tiles = self._tiles, []
        for level, hashes in enumerate(self._edge):
            count = self.size >> TILE_BITS * level
            if hashes and count != since >> TILE_BITS * level:
                name = tile_path(level, count // TILE_WIDTH, len(hashes))
                found.append((name, b"".join(hashes)))
        return found

    def tree(self) -> CompactRange:
        """The tree over all records."""
        tree = CompactRange()
        for level in range(len(self._edge) - 1, -1, -1):
            for one in self._edge[level]:
                tree.append(one, TILE_BITS * level)
        assert tree.size == self.size  # noqa: S101  an invariant, never input
        return tree

    def _carry(self) -> None:
        """Completes the tile of leaves, and each above that it completes."""
        level = 0
        while len(self._edge[level]) == TILE_WIDTH:
            hashes = self._edge[level]
            number = (self.size >> TILE_BITS * (level + 1)) - 1
            self._tiles.append((tile_path(level, number), b"".join(hashes)))
            level += 1
            if level == len(self._edge):
                self._edge.append([])
            self._edge[level].append(subtree_root(hashes))
            hashes.clear()
