"""Disks: journals whose records are in memory, written, or durable.

What is only in a process's memory dies with it; what is written outlives the process
and dies with the machine; what is durable stays. See adapters/journal/writer.py, of
which this is the model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.testing.simulation.draw import Draw
from comptroller.testing.simulation.process import Process

STARTED: Final = (
    b'{"id":"started","source":"%b","type":"comptroller.journal.started.v1",'
    b'"time":"2026-01-01T00:00:00.000000Z","subject":"journal","sequence":"0","data":{}}'
)
SYNC_S: Final = 0.002
"""How long a sync takes, on the average."""
SYNC_WITHIN_S: Final = 1.0
"""A record that nobody waits for is durable within this time."""


class SimulatedJournal:
    """One process's journal.

    Satisfies `engine.ports.Journal`, and `DurableJournal` for a process that waits.

    Args:
        source: of its records.
        process: whose it is.
        draw: how long the disk takes.
        to_disk: whether callers wait until a record is durable, or only written.
    """

    def __init__(
        self, source: str, process: Process, draw: Draw, *, to_disk: bool
    ) -> None:
        self.source = source
        self.failed = False
        self.records: list[JournalRecord] = []
        """Written; durable or not."""
        self.durable = 0
        """So many of the records survive a power loss."""
        self.offset = 0
        """Where the next record will be written."""
        self.torn = 0
        """Bytes of a record that was being written when the process died."""
        self.is_lost = False
        """Whether the disk that it was on is gone."""
        self.process = process
        self._draw = draw
        self._to_disk = to_disk
        self._lines: list[tuple[bytes, Callable[[bool], None] | None]] = []
        self._waiting: list[Callable[[bool], None]] = []
        self._is_flushing = False
        self._is_syncing = False
        self._is_lazy = False
        self._write(STARTED % source.encode())
        self.sequence = 1
        """Of the next record; each append counts it on."""
        self.durable = 1

    def append(
        self, record: bytes, on_durable: Callable[[bool], None] | None = None
    ) -> None:
        """Writes a record at the end of this pass of the event loop.

        Raises:
            JournalUnavailableError: it has failed.
        """
        self.process.step("appends")
        if self.failed:
            raise JournalUnavailableError
        self._lines.append((record, on_durable))
        self.sequence += 1
        if not self._is_flushing:
            self._is_flushing = True
            self.process.call_later(0, self._flush)

    def append_all(self, batch: Sequence[bytes]) -> None:
        """Appends records in order, durable when it returns.

        Raises:
            JournalUnavailableError: it has failed.
        """
        self.process.step("is to record a batch")
        if self.failed:
            raise JournalUnavailableError
        for record in batch:
            self._write(record)
            self.sequence += 1
            self.process.step("records a batch")
        self.durable = len(self.records)

    def fail(self) -> None:
        """The disk takes no more: nothing can be recorded from now on."""
        self.failed = True
        waiting = self._waiting + [call for _, call in self._lines if call]
        self._waiting, self._lines = [], []
        for call in waiting:
            call(False)  # noqa: FBT003  the port's signature

    def close(self) -> None:
        """Makes all durable; the lock goes with the process."""
        self.make_durable(len(self.records))

    def make_durable(self, count: int) -> None:
        """The first so many records survive a power loss from now on."""
        self.durable = max(self.durable, count)

    def lose_power(self) -> None:
        """What was not durable may be gone, from some record on."""
        kept = self._draw.whole(self.durable, len(self.records))
        if kept < len(self.records):
            lost = self.records[kept]
            self.torn = self._draw.whole(0, len(lost.line))
            self.offset = lost.offset
            del self.records[kept:]
        self.durable = kept

    def _flush(self) -> None:
        """Writes what one pass of the event loop appended."""
        self._is_flushing = False
        lines, self._lines = self._lines, []
        callbacks = []
        for line, on_durable in lines:
            self._write(line)
            if on_durable is not None:
                callbacks.append(on_durable)
        self.process.step("wrote records")
        if not self._to_disk:
            for call in callbacks:
                call(True)  # noqa: FBT003
            return
        self._waiting += callbacks
        if self._waiting:
            self._sync_soon()
        elif not self._is_syncing and not self._is_lazy:
            self._is_lazy = True
            self.process.call_later(SYNC_WITHIN_S, self._sync_soon)

    def _sync_soon(self) -> None:
        self._is_lazy = False
        if self._is_syncing:
            return
        self._is_syncing = True
        covered, waiting = len(self.records), self._waiting
        self._waiting = []
        delay_s = self._draw.about(SYNC_S)
        self.process.call_later(delay_s, lambda: self._synced(covered, waiting))

    def _synced(self, covered: int, waiting: list[Callable[[bool], None]]) -> None:
        self._is_syncing = False
        if not self.failed:
            self.make_durable(covered)
            if self._waiting:
                self._sync_soon()
        for call in waiting:
            call(not self.failed)

    def _write(self, line: bytes) -> None:
        self.records.append(JournalRecord(self.source, self.offset, line))
        self.offset += len(line) + 1


class Disk:
    """All journals of a machine (port: JournalReader)."""

    def __init__(self) -> None:
        self.journals: dict[str, SimulatedJournal] = {}

    def keep(self, journal: SimulatedJournal) -> None:
        """A new journal is found from now on."""
        self.journals[journal.source] = journal

    def sources(self) -> Sequence[str]:
        """Every source that has a journal, oldest first."""
        return [name for name, one in self.journals.items() if not one.is_lost]

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset on, durable from now on; a torn one is not."""
        journal = self._found(source)
        records = journal.records
        begin = bisect_left(records, offset, key=_offset)
        end = begin
        while end < len(records):
            size = records[end].offset + len(records[end].line) + 1 - offset
            if end > begin and size > bytes_max:
                break
            end += 1
        # As the real reader does: what a store projects is never lost afterwards.
        journal.make_durable(end)
        return records[begin:end]

    def size(self, source: str) -> int:
        """Bytes in the source's stream, a torn tail included."""
        journal = self._found(source)
        return journal.offset + journal.torn

    def is_dead(self, source: str) -> bool:
        """True when its process is gone for sure."""
        return not self._found(source).process.is_alive

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there."""
        for record in self._found(position.source).records:
            if record.offset == position.offset:
                return record.line
        raise LookupError(position)

    def _found(self, source: str) -> SimulatedJournal:
        journal = self.journals.get(source)
        if journal is None or journal.is_lost:
            raise JournalUnavailableError(f"there is no journal of {source}")
        return journal


def _offset(record: JournalRecord) -> int:
    return record.offset
