"""Finding a record in the log: by the index beside it, else by looking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from comptroller.adapters.tlog.cosigned import (
    CHECKPOINT,
    CosignedNote,
    compared,
    cosigned_notes,
    kept_witnesses,
    newest_of_each,
    read_notes,
)
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.adapters.tlog.tiles import TILE_WIDTH
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import (
    TrailDamagedError,
    TrailPrunedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import leaf_hash
from comptroller.engine.records import Envelope
from comptroller.engine.trail_ports import Published


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
        # What is signed is read before the checkpoint, which may grow meanwhile.
        found = [] if self._witnessed is None else self._kept(self._witnessed)
        last = self._last()
        if last is None or not found:
            return last
        notes = [one for one in found if one.checkpoint.origin == last.origin]
        fitting, wrong = compared(notes, self._folder, last.size)
        if wrong:
            raise TrailDamagedError("; ".join(wrong))
        return last._replace(cosigned=newest_of_each(fitting))

    def _kept(self, folder: Path) -> list[CosignedNote]:
        paths = [self._folder / CHECKPOINT, *sorted(folder.glob(f"*/{CHECKPOINT}"))]
        found = cosigned_notes(read_notes(paths), kept_witnesses(folder))
        return [one for one in found if one.by]

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

        Raises:
            NoteError: the checkpoint is damaged.
            TrailDamagedError: a file is missing, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
        published = self._last()
        if published is None:
            return None
        # Looked for by its hash: the hash of a record that was pruned is still there.
        tree, wanted = TreeReader(self._folder, published.size), leaf_hash(line)
        begin, end = self._stretch(source, sequence, published.size)
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

    def _entry(self, source: str, sequence: int) -> tuple[int, bytes] | None:
        """A journal's record with this sequence, and where it is."""
        is_it = partial(_is_record, source, sequence)
        return self._first(source, sequence, is_it)

    def _first(
        self, source: str, sequence: int, is_it: Callable[[bytes], bool]
    ) -> tuple[int, bytes] | None:
        """The first such record where the index says that this one may be."""
        published = self._last()
        if published is None:
            return None
        reader = TreeReader(self._folder, published.size)
        begin, end = self._stretch(source, sequence, published.size)
        try:
            return _search(reader, begin, end, is_it)
        except TrailPrunedError:
            # The index may say little; what is left may still have it.
            minimum = reader.minimum()
            found = _search(reader, minimum, end, is_it) if minimum < end else None
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


def _is_record(source: str, sequence: int, line: bytes) -> bool:
    """Whether a line is a journal's record with this sequence."""
    if f'"sequence":"{sequence}"'.encode() not in line or source.encode() not in line:
        return False
    try:
        envelope = msgspec.json.decode(line, type=Envelope)
    except msgspec.DecodeError:
        return False
    return envelope.source == source and envelope.sequence == str(sequence)
