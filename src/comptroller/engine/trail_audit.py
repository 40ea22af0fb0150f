"""Audit of the trail against what it was made from: journals, and the store.

That the log is as it was signed is verified by `comptroller.verify`, which knows
nothing of journals. This compares both ends: every entry with the line that it was,
and every decision of the store with the entry that records it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine import records
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.ports import JournalReader
from comptroller.engine.trail_records import (
    BROKEN,
    TORN,
    TRAIL_GAP,
    TRAIL_PRUNED,
    TRAIL_SOURCE,
    TrailGap,
)

CHUNK_BYTES: Final = 256 * 1024
SHOWN_MAX: Final = 20


class _Head(msgspec.Struct, frozen=True):
    source: str
    type: str
    subject: str


_read_head: Final = msgspec.json.Decoder(_Head).decode
_DECIDED: Final = b'"' + records.DECIDED.encode() + b'"'
_DELETED: Final = b'"' + JOURNAL_DELETED.encode() + b'"'


class Findings(msgspec.Struct):
    """What an audit counted, and what contradicts what."""

    entries: int = 0
    decisions: int = 0
    """Entries that record a decision."""
    waiting: int = 0
    """Records of journals that no checkpoint has yet."""
    waiting_decisions: int = 0
    in_store: int = 0
    """Decisions in the store."""
    deleted: int = 0
    """Journals that only the trail has, because they were deleted."""
    gaps: int = 0
    """Entries that tell of something wrong with a journal."""
    wrong: int = 0
    first_wrong: list[str] = []
    """The first of them, in words."""

    def add(self, text: str) -> None:
        """Notes a contradiction."""
        self.wrong += 1
        if len(self.first_wrong) < SHOWN_MAX:
            self.first_wrong.append(text)


def audit(
    entries: Iterable[bytes], journals: JournalReader, in_store: Iterable[str]
) -> Findings:
    """Compares a log with the journals and with the store's decisions.

    Args:
        entries: all of one checkpoint, in order.
        journals: read after that checkpoint was.
        in_store: ids of the decisions in a store that has, at least, everything
            that was recorded when the checkpoint was read.

    Raises:
        TrailDamagedError: an entry cannot be read.
    """
    found = Findings()
    lines, deletions = _Lines(journals), _Deletions()
    decided: set[str] = set()
    foreign = ""
    for index, entry in enumerate(entries):
        found.entries += 1
        head = _head(entry)
        if not foreign and head is not None and head.source == TRAIL_SOURCE:
            gap = _gap(entry) if head.type == TRAIL_GAP else None
            foreign = _broken_source(gap)
            found.gaps += head.type == TRAIL_GAP
            if gap is not None and gap.reason != TORN:
                found.add(f"record {index} of the trail: {_told(gap)}")
            continue
        source = foreign or (head.source if head is not None else "")
        problem = lines.differs(source, entry, index)
        if problem:
            found.add(f"record {index} of the trail: {problem}")
        foreign = ""
        if head is not None and head.type == records.DECIDED:
            found.decisions += 1
            decided.add(head.subject.rpartition("/")[2])
        elif head is not None:
            deletions.heed(head.type, entry)
    waiting: set[str] = set()
    for line in lines.rest():
        found.waiting += 1
        if _DECIDED in line[:300]:
            waiting.add(_subject(line))
        elif _DELETED in line[:300]:
            deletions.heed(JOURNAL_DELETED, line)
    found.waiting_decisions = len(waiting)
    _compare_gone(found, lines.gone, deletions)
    _compare_store(found, decided, waiting, in_store)
    return found


def _compare_gone(
    found: Findings, gone: Mapping[str, _Gone], deletions: _Deletions
) -> None:
    """A journal may be gone if a record says so, and the trail has all of it."""
    for source, one in gone.items():
        deleted = deletions.found.get(source)
        if deleted is None:
            found.add(f"record {one.index} of the trail: {one.why}")
            continue
        found.deleted += 1
        counts = (one.records, one.bytes)
        expected = (deleted.records, deleted.bytes)
        is_less = counts < expected and deletions.is_pruned
        if counts != expected and not is_less:
            found.add(
                f"the journal {source} was deleted with {deleted.records} records in"
                f" {deleted.bytes} bytes, and the trail has {one.records} in"
                f" {one.bytes}"
            )


def _compare_store(
    found: Findings, decided: set[str], waiting: set[str], in_store: Iterable[str]
) -> None:
    for request_id in in_store:
        found.in_store += 1
        if request_id in decided:
            decided.discard(request_id)
        elif request_id not in waiting:
            found.add(f"the store has the decision {request_id}, the trail has not")
    for request_id in sorted(decided)[:SHOWN_MAX]:
        found.add(f"the trail has the decision {request_id}, the store has not")
    found.wrong += max(0, len(decided) - SHOWN_MAX)


def _head(entry: bytes) -> _Head | None:
    try:
        return _read_head(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _subject(line: bytes) -> str:
    head = _head(line)
    return head.subject.rpartition("/")[2] if head is not None else ""


def _gap(entry: bytes) -> TrailGap | None:
    """What a gap record says; None: it cannot be understood."""
    try:
        return msgspec.json.decode(entry, type=_GapEntry).data
    except msgspec.DecodeError:
        return None


def _told(gap: TrailGap) -> str:
    """A gap in words. A torn one is none: its process died before it had decided."""
    return (
        f"{gap.reason}: the journal {gap.source} had {gap.found} where its record"
        f" {gap.expected} was due"
    )


def _broken_source(gap: TrailGap | None) -> str:
    """The journal of the broken line that is the next entry; "": none is."""
    if gap is None or gap.reason != BROKEN:
        return ""
    size = str(gap.found).partition(" bytes")[0]
    is_entry = size.isdecimal() and 0 < int(size) <= records.RECORD_BYTES_MAX
    return gap.source if is_entry else ""


class _GapEntry(msgspec.Struct, frozen=True):
    data: TrailGap


class _Deleted(msgspec.Struct, frozen=True):
    data: JournalDeleted


class _Deletions:
    """What records say of journals that are not there any more."""

    def __init__(self) -> None:
        self.found: dict[str, JournalDeleted] = {}
        self.is_pruned = False
        """Whether entries are gone, too."""

    def heed(self, kind: str, line: bytes) -> None:
        """Heeds a record of some type."""
        if kind == TRAIL_PRUNED:
            self.is_pruned = True
        elif kind == JOURNAL_DELETED:
            with contextlib.suppress(msgspec.DecodeError):
                deleted = msgspec.json.decode(line, type=_Deleted).data
                self.found[deleted.source] = deleted


@dataclass(slots=True)
class _Gone:
    """A journal that is not there, and what the trail has of it."""

    index: int
    """Of the first entry whose line was not found."""
    why: str
    records: int
    bytes: int


class _Lines:
    """The journals' lines, each journal in its order."""

    def __init__(self, journals: JournalReader) -> None:
        self._journals = journals
        self._open: dict[str, Iterator[bytes]] = {}
        self._lost: set[str] = set()
        self._seen: dict[str, _Gone] = {}
        self.gone: dict[str, _Gone] = {}
        """Journals that are not there, or not any more."""

    def differs(self, source: str, entry: bytes, index: int) -> str:
        """What the next line of a journal has against being an entry; "": nothing."""
        seen = self._seen.setdefault(source, _Gone(index, "", 0, 0))
        seen.records += 1
        seen.bytes += len(entry) + 1
        if source in self._lost:
            return ""  # told once
        lines = self._open.get(source)
        if lines is None:
            lines = self._open[source] = self._lines(source)
        try:
            line = next(lines, None)
        except (JournalUnavailableError, ValueError) as error:
            self._lost.add(source)
            why = f"its journal cannot be read: {error}"
            if source in self._journals.sources():
                return why
            seen.index, seen.why = index, why
            self.gone[source] = seen
            return ""
        if line == entry:
            return ""
        self._lost.add(source)
        if line is None:
            return f"the journal {source} ends before it"
        return f"the journal {source} has another record in its place"

    def rest(self) -> Iterator[bytes]:
        """The lines after the last one of each journal that was asked for."""
        for source in self._journals.sources():
            if source not in self._lost:
                yield from self._open.get(source) or self._lines(source)

    def _lines(self, source: str) -> Iterator[bytes]:
        offset = 0
        while run := self._journals.read(source, offset, CHUNK_BYTES):
            for record in run:
                if 0 < len(record.line) <= records.RECORD_BYTES_MAX:
                    yield record.line
            offset = run[-1].offset + len(run[-1].line) + 1


def summary(found: Findings) -> dict[str, Any]:
    """The findings as JSON has them."""
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told
