"""Batches: records that become durable together, with one wait for the disk."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from comptroller.core.timestamps import rfc3339
from comptroller.engine import records
from comptroller.engine.ports import Clock, DurableJournal, Ids


class Batch:
    """Records of one moment for the journal of the process that administers.

    Args:
        journal: opens the journal; called only when there is something to write.
        clock: for the records' time.
        ids: for the records' ids.
    """

    def __init__(
        self, journal: Callable[[], DurableJournal], clock: Clock, ids: Ids
    ) -> None:
        self._journal = journal
        self._ids = ids
        self._time = rfc3339(clock.now_ns())
        self._pending: list[tuple[str, str, msgspec.Struct]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, kind: str, subject: str, data: msgspec.Struct) -> None:
        """Adds a record, after those already in it."""
        self._pending.append((kind, subject, data))

    def commit(self) -> str:
        """Writes them.

        Returns:
            The journal's source.

        Raises:
            JournalUnavailableError: not all are durable; the journal has failed.
        """
        journal = self._journal()
        first = journal.sequence
        lines = [
            records.encode(
                {
                    "specversion": "1.0",
                    "id": self._ids.new(),
                    "source": journal.source,
                    "type": kind,
                    "time": self._time,
                    "subject": subject,
                    "sequence": str(first + number),
                    "data": data,
                }
            )
            for number, (kind, subject, data) in enumerate(self._pending)
        ]
        journal.append_all(lines)
        return journal.source
