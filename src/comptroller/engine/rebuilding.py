"""Rebuilding: a store worked out from the trail, and compared with the one in use.

The store is projected by what projects journals, out of a reader that has the trail
behind it, so that nothing is said twice of what records mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from comptroller.core.errors import RecordError
from comptroller.engine.ports import (
    JournalPosition,
    JournalReader,
    JournalRecord,
    Store,
)
from comptroller.engine.projection import Projector

STEP_BYTES: Final = 16 * 1024 * 1024


class Difference(NamedTuple):
    """A row that two stores do not agree on."""

    table: str
    row: str
    """Its key, in words."""
    said: str
    """What each store says, in words."""


@dataclass(slots=True)
class Compared:
    """What came out of comparing two stores."""

    tables: int
    rows: int = 0
    count: int = 0
    """Of all differences that nothing explains."""
    differences: list[Difference] = field(default_factory=list)
    """The first of each table."""
    explained: dict[tuple[str, str], int] = field(default_factory=dict)
    """Differences between stores that are both right: table and reason, and how
    many rows."""


class Projected(NamedTuple):
    """What was projected."""

    records: int
    stopped: str | None
    """Why a journal stands still; None: none does."""


def project_all(
    reader: JournalReader, store: Store, tell: Callable[[int], None]
) -> Projected:
    """Projects all that a reader has.

    Args:
        reader: of journals that do not grow.
        store: the caller alone writes it.
        tell: is told how many records are projected, now and then.

    Raises:
        StoreUnavailableError: the store cannot be written.
        JournalUnavailableError: a journal cannot be read.
    """
    projector = Projector(reader, store)
    done = 0
    while True:
        try:
            count = projector.step(STEP_BYTES)
        except RecordError as error:
            return Projected(done, error.message)
        if not count:
            return Projected(done, None)
        done += count
        tell(done)


class Until:
    """The JournalReader port on the first part of each journal of another one.

    Args:
        reader: the other one.
        ends: the offset where each source's part ends; there are no others here.
    """

    def __init__(self, reader: JournalReader, ends: Mapping[str, int]) -> None:
        self._reader = reader
        self._ends = ends

    def sources(self) -> Sequence[str]:
        """The sources that have a part, oldest first."""
        return [one for one in self._reader.sources() if one in self._ends]

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The records from an offset on that are in the part."""
        if offset >= self._ends[source]:
            return []
        return [
            record
            for record in self._reader.read(source, offset, bytes_max)
            if record.offset < self._ends[source]
        ]

    def size(self, source: str) -> int:
        """Bytes in the part."""
        return self._ends[source]

    def is_dead(self, source: str) -> bool:
        """True: a part does not grow."""
        return source in self._ends

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there."""
        return self._reader.record_at(position)
