"""Audit of what was pruned: journals that stay, against the hashes that stay.

Journals of who administers are never deleted, and the trail keeps the hash of every
entry. So whoever edits such a journal after its entries were pruned is found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

import msgspec

from comptroller.core.errors import JournalUnavailableError, TrailPrunedError
from comptroller.engine import records
from comptroller.engine.ports import JournalReader, JournalRecord

CHUNK_BYTES: Final = 256 * 1024


class HashedTrail(Protocol):
    """A trail of which entries were pruned; their hashes are there."""

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where a record is, by its hash, in the last checkpoint's tree.

        Raises:
            ComptrollerError: the trail is damaged, or cannot be read.
        """

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where whatever stands for a journal's record is; None: nothing does yet.

        Raises:
            TrailPrunedError: its entry was pruned.
            ComptrollerError: the trail is damaged, or cannot be read.
        """


class _Head(msgspec.Struct, frozen=True):
    source: str
    sequence: str


_read_head: Final = msgspec.json.Decoder(_Head).decode


class HashedJournals:
    """The journals whose entries were pruned, one after another.

    Args:
        journals: those that there are.
        trail: what has the hashes.
    """

    def __init__(self, journals: JournalReader, trail: HashedTrail) -> None:
        self._journals = journals
        self._trail = trail
        self.gone: list[str] = []
        """Those that are not there."""
        self.wrong: list[str] = []
        """What is not as the hashes say, in words; of each journal the first."""

    def lines(self, ends: Mapping[str, int]) -> Iterator[bytes]:
        """The lines that are as the hashes say.

        Args:
            ends: up to which byte of its stream each journal is looked at.
        """
        there = set(self._journals.sources())
        for source, end in sorted(ends.items()):
            if source not in there:
                self.gone.append(source)
                continue
            try:
                yield from self._lines(source, end)
            except JournalUnavailableError as error:
                self._tell(source, f"it cannot be read: {error.message}")

    def _lines(self, source: str, end: int) -> Iterator[bytes]:
        expected = 0
        for line in _read(self._journals, source, end):
            sequence = _sequence(line, source)
            if sequence not in (None, expected):
                self._tell(source, f"its record {expected} is not there")
                return
            if self._trail.index_of(source, expected, line) is None:
                if self._is_in_trail(source, expected):
                    self._tell(
                        source,
                        f"its record {expected} is not the one of which the trail has"
                        " the hash",
                    )
                return
            expected += 1
            yield line
        if self._journals.size(source) < end:
            self._tell(source, f"it ends before its record {expected}")

    def _is_in_trail(self, source: str, sequence: int) -> bool:
        try:
            return self._trail.index_at(source, sequence) is not None
        except TrailPrunedError:
            return True

    def _tell(self, source: str, what: str) -> None:
        self.wrong.append(f"the journal {source}, whose entries were pruned: {what}")


def _read(journals: JournalReader, source: str, end: int) -> Iterator[bytes]:
    """The lines that begin before a byte, and were entries."""
    offset = 0
    run: list[JournalRecord] = []
    while offset < end:
        run = list(journals.read(source, offset, min(CHUNK_BYTES, end - offset)))
        if not run:
            return
        for one in run:
            if one.offset < end and 0 < len(one.line) <= records.RECORD_BYTES_MAX:
                yield one.line
        offset = run[-1].offset + len(run[-1].line) + 1


def _sequence(line: bytes, source: str) -> int | None:
    """Of a journal's record; None: it is none, and stands for the one that was due."""
    try:
        head = _read_head(line)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        return None
    is_own = head.source == source and head.sequence.isdecimal()
    return int(head.sequence) if is_own else None
