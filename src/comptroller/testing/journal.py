"""Fakes of the journal ports: all journals of a node, in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import JournalPosition, JournalRecord


class InMemoryJournal:
    """The Journal port: durable at once; fails when a test says so.

    Satisfies `engine.ports.Journal`.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.sequence = 0
        """Of the next record; each append counts it on."""
        self.records: list[JournalRecord] = []
        self.offset = 0
        """Bytes of the stream, a newline after each record."""
        self.failed = False
        self.closed = False
        self._held: list[Callable[[bool], None]] | None = None

    def append(
        self, record: bytes, on_durable: Callable[[bool], None] | None = None
    ) -> None:
        """Appends a record; durable at once unless `hold` was called.

        Raises:
            JournalUnavailableError: it has failed or is closed.
        """
        if self.failed or self.closed:
            raise JournalUnavailableError
        if b"\n" in record or len(record) > 65_535:
            raise JournalUnavailableError("a record is one line of at most 65,535 B")
        self.records.append(JournalRecord(self.source, self.offset, record))
        self.offset += len(record) + 1
        self.sequence += 1
        if on_durable is None:
            return
        if self._held is None:
            on_durable(True)  # noqa: FBT003  the port's signature
        else:
            self._held.append(on_durable)

    def append_all(self, batch: Sequence[bytes]) -> None:
        """Appends records in order, durable at once.

        Raises:
            JournalUnavailableError: it has failed or is closed.
        """
        for record in batch:
            self.append(record)

    def hold(self) -> None:
        """From now on the disk is slow: nobody is told until `release`."""
        self._held = []

    def release(self, *, is_durable: bool = True) -> None:
        """Tells all who wait; with False the journal has failed for good."""
        held, self._held = self._held or [], None
        self.failed = self.failed or not is_durable
        for callback in held:
            callback(is_durable)

    def close(self) -> None:
        """Makes all durable and lets go of the lock."""
        self.closed = True
        if self._held is not None:
            self.release(is_durable=not self.failed)


class InMemoryJournals:
    """The JournalReader port over journals that the test opens.

    Satisfies `engine.ports.JournalReader`.
    """

    def __init__(self) -> None:
        self._journals: dict[str, InMemoryJournal] = {}

    def open(self, source: str) -> InMemoryJournal:
        """A new journal, found by this reader from now on."""
        journal = self._journals[source] = InMemoryJournal(source)
        return journal

    def sources(self) -> Sequence[str]:
        """Every source that has a journal, in the order of opening."""
        return list(self._journals)

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset on: as many as fit, but at least one.

        Raises:
            JournalUnavailableError: there is no such journal.
        """
        if source not in self._journals:
            raise JournalUnavailableError(f"there is no journal of {source}")
        taken: list[JournalRecord] = []
        records = self._journals[source].records
        begin = bisect_left(records, offset, key=lambda record: record.offset)
        for record in records[begin:]:
            end = record.offset + len(record.line) + 1
            if taken and end - offset > bytes_max:
                break
            taken.append(record)
        return taken

    def size(self, source: str) -> int:
        """Bytes in the source's stream."""
        return self._journals[source].offset

    def is_dead(self, source: str) -> bool:
        """True when it was closed: in memory that is how a process ends."""
        return self._journals[source].closed

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there.

        Raises:
            LookupError: no record begins there.
        """
        journal = self._journals.get(position.source)
        for record in journal.records if journal else ():
            if record.offset == position.offset:
                return record.line
        raise LookupError(position)
