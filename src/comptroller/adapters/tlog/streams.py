"""Journals' records read out of the log, each where its journal had it.

For journals that are deleted. What is read is compared with the log's hashes; where
it is, the index beside the log says, and what the index lacks is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from comptroller.adapters.tlog.places import PlaceIndex, Run
from comptroller.adapters.tlog.placing import (
    follows,
    found_bytes,
    gap_of,
    is_record,
    placed,
)
from comptroller.adapters.tlog.proven import ProvenTree
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import ComptrollerError, JournalUnavailableError
from comptroller.core.merkle import TreeHead
from comptroller.engine import trail_records
from comptroller.engine.ports import JournalPosition, JournalRecord


class TrailStreams:
    """The journals, as the published log has them.

    Satisfies `engine.recorded.RecordedStreams`.

    Args:
        folder: of the log.
        places: the folder of the index beside it.
        head: of the checkpoint to read under; None: of the last one each time.
    """

    def __init__(
        self, folder: Path, places: Path, head: TreeHead | None = None
    ) -> None:
        self._folder = folder
        self._places = PlaceIndex(places)
        self._head = head
        self._tree: ProvenTree | None = None

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset on; at least one, if there is one.

        Raises:
            JournalUnavailableError: the log cannot be read there.
        """
        found: list[JournalRecord] = []
        left = bytes_max
        for record in self._records(source, offset):
            left -= len(record.line) + 1
            if found and left < 0:
                break
            found.append(record)
            if left <= 0:
                break  # else all that follows in the log would be looked at
        return found

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there.

        Raises:
            LookupError: there is none in the log.
        """
        source, offset = position
        try:
            record = next(self._records(source, offset), None)
        except JournalUnavailableError as error:
            raise LookupError(error.message) from error
        if record is None or record.offset != offset:
            raise LookupError(f"the trail has no record of {source} at byte {offset}")
        return record.line

    def _records(self, source: str, offset: int) -> Iterator[JournalRecord]:
        try:
            tree = self._published()
            if tree is not None:
                for record in _walk(tree, self._places, source, offset):
                    if record.offset >= offset:
                        yield record
        except ComptrollerError as error:
            raise JournalUnavailableError(
                f"{source} in the trail: {error.message}"
            ) from error

    def _published(self) -> TreeReader | None:
        """The log as the last checkpoint has it; None: none is published yet."""
        head = self._head
        if head is None:
            note = read_checkpoint(self._folder)
            if note is None:
                return None
            head = parse_checkpoint(parse_note(note).body).head
        if self._tree is None or self._tree.expected != head:
            self._tree = ProvenTree(self._folder, head)
        return self._tree


def _walk(
    tree: TreeReader, places: PlaceIndex, source: str, offset: int
) -> Iterator[JournalRecord]:
    """A journal's records, from somewhere at or before an offset."""
    reached = 0
    try:
        for record in _along(tree, places, source, offset):
            reached = record.offset + 1
            yield record
    except _OtherLogError:
        whole = _Walk(tree, source).look(tree.size)
        yield from (one for one in whole if one.offset >= reached)


def _along(
    tree: TreeReader, places: PlaceIndex, source: str, offset: int
) -> Iterator[JournalRecord]:
    """The same along an index, as far as it is one of this log."""
    walk = _Walk(tree, source)
    is_first = True
    for run in places.runs(source, offset):
        is_known = is_first and run.offset <= offset
        if not is_known and run.offset != walk.offset:
            yield from walk.look(run.entry)
        yield from walk.follow(run)
        is_first = False
    yield from walk.look(tree.size)


class _OtherLogError(Exception):
    """An index says of an entry what it is not."""


class _Walk:
    """A way through the log, along the records of one journal."""

    def __init__(self, tree: TreeReader, source: str) -> None:
        self._tree = tree
        self._source = source
        self._index = 0
        self.offset = 0
        """Of what comes next, in the journal's stream."""

    def follow(self, run: Run) -> Iterator[JournalRecord]:
        """The records of a run.

        Raises:
            _OtherLogError: the index is not that of this log.
        """
        self.offset = run.offset
        self._index = run.entry + run.length
        lines = islice(self._tree.records(run.entry), run.length)
        for sequence, line in enumerate(lines, run.sequence):
            if not is_record(line, self._source, sequence):
                raise _OtherLogError
            yield self._record(line)

    def look(self, end: int) -> Iterator[JournalRecord]:
        """The records among the entries up to an index: all are looked at.

        Raises:
            TrailDamagedError: an entry is not what was written.
        """
        owner: str | None = None
        lines = islice(self._tree.records(self._index), max(0, end - self._index))
        self._index = end
        for line in lines:
            place, owner = placed(line, owner)
            if place.source == self._source:
                yield self._record(line)
            elif place.source == trail_records.TRAIL_SOURCE:
                self._heed(line)

    def _record(self, line: bytes) -> JournalRecord:
        record = JournalRecord(self._source, self.offset, line)
        self.offset += len(line) + 1
        return record

    def _heed(self, line: bytes) -> None:
        """A gap says where in its journal the next record is."""
        gap = gap_of(line)
        if gap is None or gap.source != self._source:
            return
        self.offset = gap.at
        if gap.reason == trail_records.BROKEN and not follows(gap):
            self.offset += found_bytes(gap) + 1
