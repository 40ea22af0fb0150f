"""Ports of the deletion of journals: their files, and what of them stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """Which file a segment is, and that nobody has written to it since."""

    name: str
    offset: int
    """In the journal's stream, of its first byte."""
    device: int
    inode: int
    size: int
    written_ns: int


class JournalFiles(Protocol):
    """The files of the journals."""

    def segments(self, source: str) -> Sequence[SegmentMark]:
        """The files of a journal that there are, in order of their offsets.

        Raises:
            JournalUnavailableError: they cannot be looked at.
        """

    def left(self, sources: Collection[str]) -> Sequence[str]:
        """Those of these journals of which there still is a file.

        Raises:
            JournalUnavailableError: they cannot be looked at.
        """

    def remove(self, marks: Sequence[SegmentMark]) -> None:
        """Removes files for good, each only if it is still the one that is marked.

        The first goes first: without it, no reader takes the rest for a journal.

        Raises:
            JournalUnavailableError: a file is another one, or the disk refuses; some
                may be removed.
        """


class Coverage(NamedTuple):
    """What the trail has, as far as a verified checkpoint covers it."""

    size: int
    """Of that checkpoint."""
    ended: Mapping[str, int]
    """Journals that have ended in it, and how many bytes of each are in it."""
    witnesses: Sequence[str]
    """Who signed that checkpoint or a larger one."""


class TrailCovers(Protocol):
    """Where it is found out what the trail has."""

    def coverage(self) -> Coverage | str:
        """What is covered now; a text: why nothing is.

        Raises:
            TrailDamagedError: the trail is not what was signed.
            TrailUnavailableError: it cannot be read.
        """
