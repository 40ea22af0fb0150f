"""Comparing a journal, line by line, with the entries of one tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comptroller.adapters.tlog.places import PlaceIndex, Run
from comptroller.adapters.tlog.placing import head_of
from comptroller.adapters.tlog.proven import ProvenTree
from comptroller.adapters.tlog.streams import TrailStreams
from comptroller.adapters.tlog.tiles import TILE_WIDTH
from comptroller.core.merkle import TreeHead, leaf_hash


class Covered:
    """What a log has of the journals, proved to be in one tree.

    Satisfies `engine.deleting.CoveredLines`. An entry that is pruned has its hash
    left, and that is what its line is compared with.

    Args:
        folder: of the log.
        places: the folder of the index beside it.
        head: of the tree.
        minimum: the first index of which the entry is kept.
    """

    def __init__(
        self, folder: Path, places: Path, head: TreeHead, minimum: int
    ) -> None:
        self._tree = ProvenTree(folder, head)
        self._places = PlaceIndex(places)
        self._streams = TrailStreams(folder, places, head)
        self._minimum = minimum
        self._runs: tuple[str, Run] | None = None
        """The run in which the last line was found."""

    def has(self, source: str, offset: int, lines: Sequence[bytes]) -> bool:
        """Whether lines of a journal are entries, found by where they stand in it.

        Raises:
            TrailDamagedError: a file is not there, or not what was signed.
            TrailUnavailableError: a file cannot be read.
            JournalUnavailableError: as these, where the index does not help.
        """
        last = -1
        for number, line in enumerate(lines):
            index = self._index(source, offset, line)
            if index is None or index <= last:
                return self._is_found(source, offset, lines[number:])
            if not self._is_entry(index, line):
                return False
            last = index
            offset += len(line) + 1
        return True

    def _index(self, source: str, offset: int, line: bytes) -> int | None:
        """Where a line is an entry, as the index has it; None: it does not say."""
        head = head_of(line)
        if head is None or not head.sequence.isdecimal():
            return None
        sequence = int(head.sequence)
        if (
            self._runs is None
            or self._runs[0] != source
            or not _has(self._runs[1], sequence)
        ):
            run = next(self._places.runs(source, offset), None)
            if run is None or not _has(run, sequence):
                return None
            if sequence == run.sequence and offset != run.offset:
                return None  # by that, nobody would find it again
            self._runs = source, run
        run = self._runs[1]
        return run.entry + sequence - run.sequence

    def _is_entry(self, index: int, line: bytes) -> bool:
        if index >= self._tree.size:
            return False
        tile, place = divmod(index, TILE_WIDTH)
        if (tile + 1) * TILE_WIDTH <= self._minimum:
            return self._tree.tile(0, tile)[place] == leaf_hash(line)
        return self._tree.record(index) == line

    def _is_found(self, source: str, offset: int, lines: Sequence[bytes]) -> bool:
        """The same, of lines that are looked for in the log."""
        size = sum(map(len, lines)) + len(lines)
        found = self._streams.read(source, offset, size)
        return [one.line for one in found] == list(lines) and found[0].offset == offset


def _has(run: Run, sequence: int) -> bool:
    return run.sequence <= sequence < run.sequence + run.length
