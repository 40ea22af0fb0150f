"""Finding a record in the log: by the index beside it, else by looking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from comptroller.adapters.tlog.cosigned import (
    continued,
    cosigned_notes,
    kept_notes,
    kept_witnesses,
)
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.placing import is_record
from comptroller.adapters.tlog.proven import ProvenTree
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.adapters.tlog.tiles import TILE_WIDTH
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import TrailPrunedError, TrailUnavailableError
from comptroller.core.merkle import TreeHead, leaf_hash
from comptroller.engine.trail_ports import KeptRecords, Published

NOWHERE: Final = 2**62


class TrailFinder:
    """A log in a folder, and the index beside it.

    Satisfies `engine.trail_ports.TrailLookup` and `engine.control_answers.TrailIndex`.
    """

    def __init__(
        self, folder: Path, places: Path, witnessed: Path | None = None
    ) -> None:
        """Takes the folders.

        Args:
            folder: the log's.
            places: of the index.
            witnessed: of what witnesses have signed; None: it is not looked at.
        """
        self._folder = folder
        self._places = PlaceIndex(places)
        self._witnessed = witnessed

    def published(self) -> Published | None:
        """The last checkpoint; None: none is published yet.

        Raises:
            NoteError: it is damaged.
            TrailDamagedError: it is too large to be one, or contradicts what a
                witness has signed.
            TrailUnavailableError: it cannot be read.
        """
        kept = self._witnessed
        if kept is None:
            return self._last()
        # What is signed is read before the checkpoint, which may grow meanwhile.
        found = cosigned_notes(kept_notes(self._folder, kept), kept_witnesses(kept))
        last = self._last()
        if last is None:
            return None
        seen = continued(found, last.origin, self._folder, last.size)
        return last._replace(cosigned=seen)

    def _last(self) -> Published | None:
        data = read_checkpoint(self._folder)
        if data is None:
            return None
        note = parse_note(data)
        origin, head = parse_checkpoint(note.body)
        try:
            time_ns = (self._folder / "checkpoint").stat().st_mtime_ns
        except OSError as error:
            raise TrailUnavailableError(f"the checkpoint: {error.strerror}") from error
        witnesses = [one.name for one in note.signatures if one.name != origin]
        return Published(origin, head.size, head.root, time_ns, witnesses)

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where a record is, in the tree of that checkpoint; None: not in it.

        Proved up to the checkpoint's root, whether its entry was pruned or not.

        Raises:
            NoteError: the checkpoint is damaged.
            TrailDamagedError: a file is missing, or not what was signed.
            TrailUnavailableError: a file cannot be read.
        """
        tree, wanted = self._tree(), leaf_hash(line)
        if tree is None:
            return None
        # Looked for by its hash: the hash of a record that was pruned is still there.
        begin, end = self._stretch(source, sequence, tree.size)
        for index in range(begin, end):
            if tree.tile(0, index // TILE_WIDTH)[index % TILE_WIDTH] == wanted:
                return index
        return None

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where a journal's record is, in the tree of that checkpoint; None: not in it.

        Raises:
            NoteError: the checkpoint is damaged.
            TrailDamagedError: a file is missing, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
        found = self._entry(source, sequence)
        return None if found is None else found[0]

    def entry_at(self, source: str, sequence: int) -> bytes | None:
        """A journal's record, as the tree of that checkpoint has it; None: not in it.

        Raises:
            NoteError: the checkpoint is damaged.
            TrailDamagedError: a file is missing, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
        found = self._entry(source, sequence)
        return None if found is None else found[1]

    def kept(self, source: str) -> KeptRecords | None:
        """Which of a journal's records are kept; None: the index knows none.

        Raises:
            NoteError: the checkpoint is damaged.
            TrailDamagedError: it is too large to be one.
            TrailUnavailableError: the index, or the log, cannot be read.
        """
        tree = self._tree()
        ends = [] if tree is None else list(self._places.around(source, NOWHERE))
        if tree is None or not ends:
            return None
        minimum = tree.minimum()
        last = ends[-1].sequence + ends[-1].length - 1
        first, offset = last + 1, NOWHERE
        for run in self._places.around(source, minimum):
            if run.entry >= minimum:
                first, offset = min(first, run.sequence), run.offset
                break
            if run.entry + run.length > minimum:
                first = run.sequence + minimum - run.entry
        return KeptRecords(first, last, offset)

    def _tree(self) -> ProvenTree | None:
        """The log as that checkpoint has it; None: none is published yet."""
        last = self._last()
        if last is None:
            return None
        return ProvenTree(self._folder, TreeHead(last.size, last.root))

    def _entry(self, source: str, sequence: int) -> tuple[int, bytes] | None:
        """A journal's record with this sequence, and where it is."""
        tree = self._tree()
        if tree is None:
            return None
        is_it = partial(is_record, source=source, sequence=sequence)
        begin, end = self._stretch(source, sequence, tree.size)
        try:
            return _search(tree, begin, end, is_it)
        except TrailPrunedError:
            # The index may say little; what is left may still have it.
            minimum = tree.minimum()
            found = _search(tree, minimum, end, is_it) if minimum < end else None
            if found is None:
                raise
            return found

    def _stretch(self, source: str, sequence: int, size: int) -> tuple[int, int]:
        """From which index on, and before which, a record has to be looked for."""
        begin, end = self._places.find(source, sequence)
        return begin, size if end is None else min(end, size)


def _search(
    reader: TreeReader, begin: int, end: int, is_it: Callable[[bytes], bool]
) -> tuple[int, bytes] | None:
    records = islice(reader.records(begin), max(0, end - begin))
    found = (one for one in enumerate(records, begin) if is_it(one[1]))
    return next(found, None)
