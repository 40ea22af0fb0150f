"""Reading many records of a log at one size, each compared with its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.places import Run
from comptroller.adapters.tlog.placing import head_of
from comptroller.adapters.tlog.proven import ProvenTree
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.engine.trail_ports import Published

RUNS_AHEAD: Final = 32
"""Of a journal's index, looked at before a record is looked for anew."""


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
        self._proven: ProvenTree | None = None
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

    def _tree(self) -> ProvenTree | None:
        if self._proven is None:
            self._proven = super()._tree()
        return self._proven

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
            tree = TreeReader(self._folder, size)
            self._found = frozenset(map(_source, tree.records(tree.minimum())))
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


class HashedEntries(TrailEntries):
    """The same, of a pruned log: what the index does not know may be among the hashes.

    Satisfies `engine.pruned_audit.HashedTrail`.
    """

    def _has(self, source: str, size: int) -> bool:
        tree = self._tree()
        is_pruned = tree is not None and tree.minimum() > 0
        return is_pruned or super()._has(source, size)


def _source(line: bytes) -> str:
    """Whose a record is; empty: it is no record."""
    head = head_of(line)
    return "" if head is None else head.source
