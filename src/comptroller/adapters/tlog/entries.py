"""Reading many records of a log at one size, each compared with its checkpoint."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.places import Run
from comptroller.adapters.tlog.reader import (
    TreeReader,
    first_kept,
    missing_bundle,
    read_file,
)
from comptroller.adapters.tlog.tiles import (
    BUNDLE_BYTES_MAX,
    TILE_WIDTH,
    bundle_path,
    decode_bundle,
    tile_width,
)
from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import TreeHead, leaf_hash, subtree_root
from comptroller.engine.trail_ports import Published

BUNDLES_KEPT: Final = 16
RUNS_AHEAD: Final = 32
"""Of a journal's index, looked at before a record is looked for anew."""
TILES_KNOWN: Final = 4096
"""That were compared with the root; the one that was longest ago is done again."""


class _Head(msgspec.Struct, frozen=True):
    source: str


_head: Final = msgspec.json.Decoder(_Head).decode


class CheckedEntries:
    """The records of a log whose checkpoint is known, each proved when it is read.

    A record is compared with its tile, the tile with the one above it, and so on up
    to the root: what was compared once is not compared again.
    """

    def __init__(self, folder: Path, head: TreeHead) -> None:
        self._folder = folder
        self._head = head
        self._tree = TreeReader(folder, head.size)
        self._bundles: OrderedDict[int, Sequence[bytes]] = OrderedDict()
        self._checked: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._is_head_checked = False
        self.size = head.size

    def record(self, index: int) -> bytes:
        """A record's exact bytes.

        Args:
            index: below the size of the tree.

        Raises:
            TrailDamagedError: a file is not there, or not what was signed.
            TrailUnavailableError: a file cannot be read.
        """
        number, place = divmod(index, TILE_WIDTH)
        record = self._bundle(number)[place]
        if leaf_hash(record) != self._tile(0, number)[place]:
            raise TrailDamagedError(
                f"{bundle_path(number)}: record {index} is not the one that its tile"
                " has"
            )
        return record

    def _bundle(self, number: int) -> Sequence[bytes]:
        found = self._bundles.get(number)
        if found is not None:
            self._bundles.move_to_end(number)
            return found
        width = tile_width(self._head.size, 0, number)
        for name in (bundle_path(number, width % TILE_WIDTH), bundle_path(number)):
            data = read_file(self._folder / name, BUNDLE_BYTES_MAX)
            if data is not None:
                break
        else:
            raise missing_bundle(self._folder, self._head.size, number)
        found = self._bundles[number] = decode_bundle(data, width, name)
        if len(self._bundles) > BUNDLES_KEPT:
            self._bundles.popitem(last=False)
        return found

    def _tile(self, level: int, number: int) -> Sequence[bytes]:
        """A tile that fits the root."""
        hashes = self._tree.tile(level, number)
        if (level, number) in self._checked:
            self._checked.move_to_end((level, number))
            return hashes
        if len(hashes) == TILE_WIDTH:
            above, place = divmod(number, TILE_WIDTH)
            if self._tile(level + 1, above)[place] != subtree_root(hashes):
                raise TrailDamagedError(
                    f"tile {number} of level {level} does not fit the one above it"
                )
        elif not self._is_head_checked:
            # The root is made of those tiles that are not full.
            if self._tree.head() != self._head:
                raise TrailDamagedError("the tiles do not fit the checkpoint's root")
            self._is_head_checked = True
        self._checked[level, number] = None
        if len(self._checked) > TILES_KNOWN:
            self._checked.popitem(last=False)
        return hashes


class TrailEntries(TrailFinder):
    """The log as the checkpoint has it that stands there when it is first asked.

    For one answer that reads much of it. Satisfies
    `engine.control_answers.TrailIndex`.
    """

    def __init__(
        self, folder: Path, places: Path, witnessed: Path | None = None
    ) -> None:
        """Takes the folders, as `TrailFinder` does."""
        super().__init__(folder, places, witnessed)
        self._entries: CheckedEntries | None = None
        self._published: Published | None = None
        self._seen: Published | None = None
        self._indexed: frozenset[str] | None = None
        self._found: frozenset[str] | None = None
        self._cursor: tuple[str, Run | None, Iterator[Run]] | None = None

    def published(self) -> Published | None:
        """That checkpoint; None: none was published when it was first asked.

        Raises:
            NoteError: it is damaged.
            TrailDamagedError: it is too large to be one, or contradicts what a
                witness has signed.
            TrailUnavailableError: it cannot be read.
        """
        if self._published is None:
            self._published = super().published()
        return self._published

    def sources(self) -> Sequence[str]:
        """The journals that it has records of, as far as the index tells.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        return self._places.sources()

    def _last(self) -> Published | None:
        # Of the last checkpoint only the first that is seen counts.
        if self._seen is None:
            self._seen = super()._last()
        return self._seen

    def _first(
        self, source: str, sequence: int, is_it: Callable[[bytes], bool]
    ) -> tuple[int, bytes] | None:
        if self._entries is None:
            last = self._last()
            if last is None:
                return None
            head = TreeHead(last.size, last.root)
            self._entries = CheckedEntries(self._folder, head)
        size = self._entries.size
        begin, end = self._stretch(source, sequence, size)
        for index in range(begin, end):
            record = self._entries.record(index)
            if is_it(record):
                return index, record
        return None

    def _stretch(self, source: str, sequence: int, size: int) -> tuple[int, int]:
        if not self._has(source, size):
            return 0, 0
        # Most records are asked for in the order of their journal.
        found = self._ahead(source, sequence)
        if found is None:
            following = self._places.following(source, sequence)
            self._cursor = source, next(following, None), following
            found = self._ahead(source, sequence)
        if found is None:
            return super()._stretch(source, sequence, size)
        return found, min(found + 1, size)

    def _has(self, source: str, size: int) -> bool:
        """Whether the log has any record of a journal.

        One that the index does not know is looked for in all of the log, once.
        """
        if self._indexed is None:
            self._indexed = frozenset(self.sources())
        if source in self._indexed:
            return True
        if self._found is None:
            records = TreeReader(self._folder, size).records(
                first_kept(self._folder, size)
            )
            self._found = frozenset(map(_source, records))
        return source in self._found

    def _ahead(self, source: str, sequence: int) -> int | None:
        """The index of the entry, where its run is among the next ones."""
        if self._cursor is None or self._cursor[0] != source:
            return None
        _, run, following = self._cursor
        for _ in range(RUNS_AHEAD):
            if run is None or sequence < run.sequence:
                return None
            if sequence < run.sequence + run.length:
                return run.entry + sequence - run.sequence
            run = next(following, None)
            self._cursor = source, run, following
        return None


def _source(line: bytes) -> str:
    """Whose a record is; empty: it is no record."""
    try:
        return _head(line).source
    except ValueError:  # msgspec's errors are ValueErrors, too
        return ""
