"""All that was ever recorded: the journals, and in the trail those that are deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.ports import JournalPosition, JournalReader, JournalRecord


class RecordedStreams(Protocol):
    """The journals' records, as the published trail has them."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset of a journal on; none: it has none there.

        Returns:
            As many records as fit into bytes_max, but at least one if there is one.

        Raises:
            JournalUnavailableError: the trail cannot be read there.
        """

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there in its journal.

        Raises:
            LookupError: the trail has none.
        """


class RecordedJournals:
    """The JournalReader port on all journals, deleted ones too.

    A journal is asked first. Where it is not there any more, the trail is.

    Args:
        journals: those that there are.
        trail: what has the records of the others.
        deleted: which those are; asked for when a journal is not there.
    """

    def __init__(
        self,
        journals: JournalReader,
        trail: RecordedStreams,
        deleted: Callable[[], Sequence[DeletedJournal]],
    ) -> None:
        self._journals = journals
        self._trail = trail
        self._deleted = deleted

    def sources(self) -> Sequence[str]:
        """Every source that has a journal or had one, oldest first.

        Raises:
            StoreUnavailableError: it is not known what was deleted.
        """
        found = {one.source for one in self._deleted()}
        found.update(self._journals.sources())
        return sorted(found, key=lambda one: (one.rsplit("/", 1)[-1], one))

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The complete records from an offset on.

        Raises:
            JournalUnavailableError: the journal is not there, and was not deleted;
                or it, or the trail, cannot be read.
            StoreUnavailableError: it is not known whether it was deleted.
        """
        try:
            return self._journals.read(source, offset, bytes_max)
        except JournalUnavailableError:
            size = self._size_of_deleted(source)
            if size is None:
                raise
        left = min(bytes_max, size - offset)
        return self._trail.read(source, offset, left) if left > 0 else []

    def size(self, source: str) -> int:
        """Bytes in the source's stream; of a deleted one, of its whole records.

        Raises:
            JournalUnavailableError: the journal is not there, and was not deleted.
            StoreUnavailableError: it is not known whether it was deleted.
        """
        try:
            return self._journals.size(source)
        except JournalUnavailableError:
            size = self._size_of_deleted(source)
            if size is None:
                raise
            return size

    def is_dead(self, source: str) -> bool:
        """True when its process is gone for sure, as that of a deleted one is.

        Raises:
            JournalUnavailableError: the journal is not there, and was not deleted.
            StoreUnavailableError: it is not known whether it was deleted.
        """
        try:
            return self._journals.is_dead(source)
        except JournalUnavailableError:
            if self._size_of_deleted(source) is None:
                raise
            return True

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there.

        Raises:
            LookupError: no record begins there, nor did one.
        """
        try:
            return self._journals.record_at(position)
        except LookupError as missing:
            try:
                return self._trail.record_at(position)
            except LookupError as error:
                raise LookupError(f"{missing}; {error}") from error

    def _size_of_deleted(self, source: str) -> int | None:
        """Bytes of a deleted journal's whole records; None: it was not deleted."""
        sizes = (one.bytes for one in self._deleted() if one.source == source)
        return next(sizes, None)
