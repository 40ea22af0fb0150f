"""Fakes of the deletion of journals, and of what a store knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comptroller.core.errors import RecordError
from comptroller.engine.deletion_ports import (
    DeletedJournal,
    SegmentMark,
    SegmentPart,
)
from comptroller.engine.deletion_records import JournalDeleted


class InMemoryDeletions:
    """Satisfies `engine.deletion_ports.DeletionReports`."""

    def __init__(self) -> None:
        super().__init__()
        self._deleted: dict[str, DeletedJournal] = {}

    def deleted_journals(self) -> Sequence[DeletedJournal]:
        """Every one, in the order in which they were deleted."""
        rows = self._deleted.values()
        return sorted(rows, key=lambda one: (one.time_ns, one.source))

    def _delete(self, data: JournalDeleted, position: int, time_ns: int) -> None:
        """Notes a journal.

        Raises:
            RecordError: not all of it is projected, or it was deleted before.
        """
        if position < data.bytes:
            raise RecordError(f"{data.source} was deleted, and is not projected")
        if data.source in self._deleted:
            raise RecordError(f"{data.source} was deleted before")
        counts = (data.bytes, data.records, data.size)
        names = list(data.witnesses)
        self._deleted[data.source] = DeletedJournal(
            data.source, *counts, names, time_ns
        )


class NoJournalFiles:
    """Journals without a file: there is nothing to delete.

    Satisfies `engine.deletion_ports.JournalFiles`.
    """

    def list(self) -> Mapping[str, Sequence[SegmentMark]]:
        """None."""
        return {}

    def read(self, mark: SegmentMark, offset: int, bytes_max: int) -> SegmentPart:
        """Raises FileNotFoundError."""
        raise FileNotFoundError(mark.name, offset, bytes_max)

    def remove(self, marks: Sequence[SegmentMark]) -> None:
        """Raises FileNotFoundError."""
        raise FileNotFoundError(*(one.name for one in marks))


class NoTrailCover:
    """No trail. Satisfies `engine.deleting.TrailCovers`."""

    def coverage(self) -> str:
        """Why nothing is covered."""
        return "there is no trail"
