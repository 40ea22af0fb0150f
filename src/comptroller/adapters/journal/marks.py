"""The records that a journal writes about itself: its begin, its seals, its end.

A seal holds the SHA-256 of every line since the one before, which it includes, so
that each covers all before it. The hash is of what this process wrote, when it
wrote it: whoever changes the file later does not change what the seal says.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final, TypeAlias

from comptroller.adapters.journal.naming import JournalName
from comptroller.core.timestamps import rfc3339
from comptroller.engine import records
from comptroller.engine.control_records import (
    JournalClosed,
    JournalSealed,
    JournalStarted,
)
from comptroller.engine.ports import Clock, Ids

SEAL_EVERY_S: Final = 1.0
"""What was written is sealed within this time, and no two seals are closer."""

_Data: TypeAlias = JournalStarted | JournalSealed | JournalClosed


class Marks:
    """Makes them, each with its newline; the caller writes them as they are."""

    def __init__(self, name: JournalName, clock: Clock, ids: Ids) -> None:
        self._name = name
        self._clock = clock
        self._ids = ids
        self._hash = hashlib.sha256()
        self._begin = 0
        """Sequence of the first record that the next seal covers."""

    def started(self) -> bytes:
        """The first record."""
        data = JournalStarted(process=os.getpid())
        return self.cover(self._line(records.JOURNAL_STARTED, 0, data))

    def cover(self, lines: bytes) -> bytes:
        """Takes what is written into the next seal; gives it back."""
        self._hash.update(lines)
        return lines

    def sealed(self, sequence: int) -> bytes:
        """A seal of all that was covered."""
        data = JournalSealed(begin=self._begin, sha256=self._hash.hexdigest())
        line = self._line(records.JOURNAL_SEALED, sequence, data)
        self._hash = hashlib.sha256()
        self._begin = sequence
        return self.cover(line)

    def closed(self, sequence: int) -> bytes:
        """The last record, a seal, too."""
        data = JournalClosed(begin=self._begin, sha256=self._hash.hexdigest())
        return self._line(records.JOURNAL_CLOSED, sequence, data)

    def _line(self, kind: str, sequence: int, data: _Data) -> bytes:
        record = {
            "specversion": "1.0",
            "id": self._ids.new(),
            "source": self._name.source,
            "type": kind,
            "time": rfc3339(self._clock.now_ns()),
            "subject": f"journal{self._name.source}",
            "sequence": str(sequence),
            "data": data,
        }
        return records.encode(record) + b"\n"
