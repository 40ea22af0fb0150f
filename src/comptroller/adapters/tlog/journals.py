"""The journals, read out of the log: each source's records, where they were.

What an entry's offset was in its journal follows from the entries before it: they
are the journal's lines in their order. So a store can be projected from the log by
what reads journals otherwise, and says the same.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from comptroller.adapters.tlog.placing import Placed, follows, gap_of, placed
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.tiles import TILE_BITS, TILE_WIDTH
from comptroller.core.errors import (
    JournalUnavailableError,
    TrailDamagedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import CompactRange, TreeHead, subtree_root
from comptroller.engine import trail_records
from comptroller.engine.ports import JournalPosition, JournalRecord

READ_BYTES: Final = 1024 * 1024
"""More is not read at once: sources take turns, and what is read for one of them
holds what the others will ask for."""
KEPT_BYTES: Final = 64 * 1024 * 1024
"""Of bundles read last; a worker's part of them is at most READ_BYTES."""


class _Source:
    """Where the entries of a journal are: by bundle, so that runs cost nothing."""

    def __init__(self) -> None:
        self.bundles = array("Q")
        self.offsets = array("Q")
        """Of the first entry in each bundle."""
        self.size = 0
        self.stopped: str | None = None


class TrailJournals:
    """The JournalReader port on a log of one size.

    Every process counts as gone, for the log of one size does not grow.
    """

    def __init__(self, tree: TreeReader, head: TreeHead) -> None:
        """Reads the whole log once: verifies it, and notes whose entries are where.

        Args:
            tree: the log.
            head: what a checkpoint says of it.

        Raises:
            TrailDamagedError: the log is not what the checkpoint says, or a file of
                it is not there.
            TrailUnavailableError: it cannot be read.
        """
        self._tree = tree
        self._sources: dict[str, _Source] = {}
        self._owners: dict[int, str] = {}
        """By bundle: whose its first entry is, where only a gap record says so."""
        self._kept: OrderedDict[int, list[Placed]] = OrderedDict()
        self._kept_bytes = 0
        self.size_of_log = head.size
        self._scan(head)

    def sources(self) -> Sequence[str]:
        """Every source of which there is an entry, oldest first."""
        return sorted(self._sources, key=lambda one: (one.rsplit("/", 1)[-1], one))

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset on; at least one, if there is one.

        Raises:
            JournalUnavailableError: there is none of that source, or the log cannot
                be read any more.
        """
        found: list[JournalRecord] = []
        left = min(bytes_max, READ_BYTES)
        for record in self._from(source, offset):
            left -= len(record.line) + 1
            if found and left < 0:
                break
            found.append(record)
        return found

    def size(self, source: str) -> int:
        """Bytes of the source's stream that are in the log.

        Raises:
            JournalUnavailableError: there is none of that source.
        """
        return self._known(source).size

    def is_dead(self, source: str) -> bool:
        """True: nothing will come after what is here.

        Raises:
            JournalUnavailableError: there is none of that source.
        """
        self._known(source)
        return True

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there.

        Raises:
            LookupError: no record begins there.
        """
        source, offset = position
        try:
            record = next(self._from(source, offset), None)
        except JournalUnavailableError as error:
            raise LookupError(error.message) from error
        if record is None or record.offset != offset:
            raise LookupError(f"no record begins at byte {offset} of {source}")
        return record.line

    @property
    def incomplete(self) -> dict[str, str]:
        """Journals of which the log lacks bytes, and what it says of them."""
        return {
            name: one.stopped
            for name, one in self._sources.items()
            if one.stopped is not None
        }

    # -- the first reading -----------------------------------------------------

    def _scan(self, head: TreeHead) -> None:
        tree = CompactRange()
        owner: str | None = None
        for number in range((head.size + TILE_WIDTH - 1) // TILE_WIDTH):
            lines = self._tree.bundle(number)  # compared with its tile
            hashes = self._tree.tile(0, number)
            if len(hashes) == TILE_WIDTH:
                tree.append(subtree_root(hashes), TILE_BITS)
            else:
                for one in hashes:
                    tree.append(one)
            if owner is not None:
                self._owners[number] = owner
            owner = self._note(number, lines, owner)
        if tree.head() != head:
            raise TrailDamagedError(
                f"the log's {head.size} records are not those of its checkpoint"
            )

    def _note(self, number: int, lines: list[bytes], owner: str | None) -> str | None:
        """Notes whose the entries of a bundle are.

        Returns:
            Whose the next bundle's first entry is, where that is said here.
        """
        for line in lines:
            place, owner = placed(line, owner)
            if place.source == trail_records.TRAIL_SOURCE:
                self._note_gap(line)
                continue
            known = self._sources.setdefault(place.source, _Source())
            if known.stopped is not None:
                continue
            if not known.bundles or known.bundles[-1] != number:
                known.bundles.append(number)
                known.offsets.append(known.size)
            known.size += len(line) + 1
        return owner

    def _note_gap(self, line: bytes) -> None:
        """What was no record at all is not in the log: its journal ends before it."""
        gap = gap_of(line)
        if gap is not None and gap.reason == trail_records.BROKEN and not follows(gap):
            known = self._sources.setdefault(gap.source, _Source())
            known.stopped = f"{gap.found} at byte {gap.at} are not in the log"

    # -- reading again ---------------------------------------------------------

    def _known(self, source: str) -> _Source:
        try:
            return self._sources[source]
        except KeyError:
            raise JournalUnavailableError(
                f"there is no record of {source} in the trail"
            ) from None

    def _from(self, source: str, offset: int) -> Iterator[JournalRecord]:
        known = self._known(source)
        for turn in range(
            max(0, bisect_right(known.offsets, offset) - 1), len(known.bundles)
        ):
            here = known.offsets[turn]
            for one in self._bundle(known.bundles[turn]):
                if one.source != source:
                    continue
                if here >= known.size:
                    return
                if here >= offset:
                    yield JournalRecord(source, here, one.line)
                here += len(one.line) + 1

    def _bundle(self, number: int) -> list[Placed]:
        found = self._kept.get(number)
        if found is not None:
            self._kept.move_to_end(number)
            return found
        try:
            lines = self._tree.bundle(number)
        except (TrailDamagedError, TrailUnavailableError) as error:
            raise JournalUnavailableError(error.message) from error
        found = []
        owner = self._owners.get(number)
        for line in lines:
            place, owner = placed(line, owner)
            found.append(place)
        self._kept[number] = found
        self._kept_bytes += sum(map(len, lines))
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            gone = self._kept.popitem(last=False)[1]
            self._kept_bytes -= sum(len(one.line) for one in gone)
        return found
