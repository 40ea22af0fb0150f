"""Ports of the deletion of journals: their files, and what of them stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class DeletedJournal(NamedTuple):
    """A journal that was deleted; see `deletion_records.JournalDeleted`."""

    source: str
    bytes: int
    records: int
    size: int
    witnesses: Sequence[str]
    time_ns: int


class DeletionReports(Protocol):
    """What a store knows of journals that were deleted."""

    def deleted_journals(self) -> Sequence[DeletedJournal]:
        """Every one, in the order in which they were deleted."""


class SegmentMark(NamedTuple):
    """Which file a segment is, and as what it was found."""

    name: str
    offset: int
    """In the journal's stream, of its first byte."""
    size: int
    written_ns: int
    device: int
    inode: int


class SegmentPart(NamedTuple):
    """Whole lines of a segment."""

    lines: Sequence[bytes]
    """Without their line feeds."""
    is_last: bool
    """Whether there are no more; what follows has no end."""


class JournalFiles(Protocol):
    """The files of the journals; may be used in any thread."""

    def list(self) -> Mapping[str, Sequence[SegmentMark]]:
        """The files that there are, by source, in order of their offsets.

        Raises:
            JournalUnavailableError: they cannot be looked at.
        """

    def read(self, mark: SegmentMark, offset: int, bytes_max: int) -> SegmentPart:
        """Lines of a file that still is as it was marked.

        Args:
            mark: the file.
            offset: in the file.
            bytes_max: more is not read; no record is longer.

        Raises:
            JournalUnavailableError: it is another one by now, or cannot be read.
        """

    def remove(self, marks: Sequence[SegmentMark]) -> None:
        """Removes files for good, durably, each only if it is as it was marked.

        The first goes first: without it, no reader takes the rest for a journal.

        Raises:
            JournalUnavailableError: one is another by now, or the disk refuses; some
                may be removed.
        """
