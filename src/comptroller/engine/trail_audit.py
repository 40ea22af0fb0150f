"""Audit of the trail against what it was made from: journals, and the store.

That the log is as it was signed is verified by `comptroller.verify`, which knows
nothing of journals. This compares both ends: every entry with the line that it was,
and every decision of the store with the entry that records it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine import projection, records
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.ports import JournalReader, JournalRecord
from comptroller.engine.pruned_audit import HashedJournals, HashedTrail
from comptroller.engine.pruning import is_administrative, pruning_of
from comptroller.engine.seals import SealCheck
from comptroller.engine.trail_ports import Pruning
from comptroller.engine.trail_records import (
    BROKEN,
    DUPLICATE,
    TORN,
    TRAIL_GAP,
    TRAIL_PRUNED,
    TRAIL_SOURCE,
    TrailGap,
)

CHUNK_BYTES: Final = 256 * 1024
SHOWN_MAX: Final = 20
SEQUENCE_DIGITS: Final = 20
"""A sequence has fewer."""


class _Head(msgspec.Struct, frozen=True):
    id: str
    source: str
    type: str
    subject: str
    sequence: str


_read_head: Final = msgspec.json.Decoder(_Head).decode


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
    pruned: int = 0
    """Records whose entries are not kept any more: the first ones."""
    pruned_by: int | None = None
    """Index of the record that says so; None: none does."""
    by_hash: int = 0
    """Lines of journals that administer which are as the hashes of pruned entries."""
    pruned_decisions: int = 0
    """Decisions in the store whose entries are not kept any more."""
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


class StoredDecision(NamedTuple):
    """A decision in the store, and where its record is."""

    request_id: str
    source: str
    offset: int


class Kept(NamedTuple):
    """What a log has left after it was pruned."""

    begin: int = 0
    """The first index whose entry is there."""
    taken: Mapping[str, int] = {}
    """How many bytes of each journal are in the log, pruned or not, as its writer
    says."""
    trail: HashedTrail | None = None
    """The log; needed where entries are pruned, for their hashes."""
    ended: frozenset[str] = frozenset()
    """Journals that its writer is done with, as it says: all of them is in the log."""


WHOLE: Final = Kept()


def audit(
    entries: Iterable[bytes],
    journals: JournalReader,
    in_store: Iterable[StoredDecision],
    kept: Kept = WHOLE,
) -> Findings:
    """Compares a log with the journals and with the store's decisions.

    Args:
        entries: all that are left of one checkpoint, in order.
        journals: read after that checkpoint was.
        in_store: the decisions in a store that has, at least, everything that was
            recorded when the checkpoint was read.
        kept: which entries are left; what was pruned is not compared.

    Raises:
        TrailDamagedError: an entry cannot be read.
    """
    comparison = _Comparison(journals, kept)
    for index, entry in enumerate(entries, kept.begin):
        comparison.take(index, entry)
    return comparison.result(in_store)


class _Comparison:
    """One audit, as far as it is."""

    def __init__(self, journals: JournalReader, kept: Kept) -> None:
        self._kept = kept
        self._found = Findings()
        self._lines = _Lines(journals, kept)
        self._deletions = _Deletions()
        self._seals = SealCheck()
        self._ids: set[int] = set()
        self._decided: set[str] = set()
        self._below = 0
        self._foreign = ""
        self._told: TrailGap | None = None
        """What the entry before told of."""

    def take(self, index: int, entry: bytes) -> None:
        """Takes the next entry of the log."""
        self._found.entries += 1
        head = _head(entry)
        if not self._foreign and head is not None and head.source == TRAIL_SOURCE:
            self._take_own(index, entry, head)
            return
        source = self._foreign or (head.source if head is not None else "")
        problem = self._lines.differs(source, entry, index)
        self._add(index, problem)
        if head is not None and not self._foreign:
            self._heed(index, entry, head)
            is_told = problem or self._told is not None
            self._add(index, "" if is_told else self._twice(head))
            self._ids.add(hash((head.source, head.id)))
        self._foreign, self._told = "", None

    def _take_own(self, index: int, entry: bytes, head: _Head) -> None:
        """Takes a record of the trail itself."""
        gap = self._told = _gap(entry) if head.type == TRAIL_GAP else None
        self._foreign = _broken_source(gap)
        self._found.gaps += head.type == TRAIL_GAP
        if gap is not None and gap.reason != TORN:
            self._add(index, _told(gap))
        if gap is not None and gap.reason != DUPLICATE:
            self._seals.forget(gap.source)

    def _heed(self, index: int, entry: bytes, head: _Head) -> None:
        """Takes what an entry of a journal says."""
        self._add(index, self._sealed(head, entry))
        if head.type == records.DECIDED:
            self._found.decisions += 1
            self._decided.add(head.subject.rpartition("/")[2])
        elif head.type == TRAIL_PRUNED and is_administrative(head.source):
            pruning = pruning_of(entry, index)
            if isinstance(pruning, Pruning) and pruning.below > self._below:
                self._below, self._found.pruned_by = pruning.below, index
        self._deletions.heed(head.type, entry)

    def _sealed(self, head: _Head, line: bytes) -> str:
        # Python makes no number of more than 4,300 digits.
        is_number = head.sequence.isdecimal() and len(head.sequence) < SEQUENCE_DIGITS
        number = int(head.sequence) if is_number else -1
        return self._seals.take(head.source, number, head.type, line)

    def _twice(self, head: _Head) -> str:
        if hash((head.source, head.id)) not in self._ids:
            return ""
        return f"{head.source} has its id a second time: {head.id[:100]}"

    def _add(self, index: int, problem: str) -> None:
        if problem:
            self._found.add(f"record {index} of the trail: {problem}")

    def result(self, in_store: Iterable[StoredDecision]) -> Findings:
        """Takes what is not in the log yet, and the store."""
        found, waiting = self._found, set[str]()
        for line in self._lines.rest():
            found.waiting += 1
            head = _head(line)
            if head is None:
                continue
            problem = self._sealed(head, line)
            if problem:
                found.add(f"a record that waits for the trail: {problem}")
            if head.type == records.DECIDED:
                waiting.add(head.subject.rpartition("/")[2])
            self._deletions.heed(head.type, line)
        found.waiting_decisions = len(waiting)
        for source in sorted(self._lines.left & self._kept.ended):
            found.add(
                f"the journal {source} is not all in the trail, and state.json says"
                " that it is: nobody will take the rest"
            )
        self._compare_pruned()
        found.pruned = self._kept.begin
        if self._below < self._kept.begin:
            found.pruned_by = None
            found.add(
                f"the entries before {self._kept.begin} are missing, and no record"
                " prunes them"
            )
        _compare_gone(found, self._lines.gone, self._deletions)
        self._compare_store(waiting, in_store)
        return found

    def _compare_pruned(self) -> None:
        """The journals that stay when their entries go, by the hashes."""
        found, trail = self._found, self._kept.trail
        if trail is None or not self._kept.begin:
            return
        hashed = HashedJournals(self._lines.journals, trail)
        for line in hashed.lines(self._lines.pruned_ends()):
            found.by_hash += 1
            head = _head(line)
            if head is not None:
                self._deletions.heed(head.type, line)
        for one in hashed.wrong:
            found.add(one)
        for source in hashed.gone:
            # One that older releases have deleted; where entries are left of it, what
            # is wrong is told of these.
            known = source in self._deletions.found or source in self._lines.gone
            if not known:
                found.add(
                    f"the journal {source} is not there, and no record says that it"
                    " was deleted"
                )

    def _compare_store(
        self, waiting: set[str], in_store: Iterable[StoredDecision]
    ) -> None:
        found, decided = self._found, self._decided
        for one in in_store:
            found.in_store += 1
            if one.request_id in decided:
                decided.discard(one.request_id)
            elif self._lines.is_pruned(one.source, one.offset):
                found.pruned_decisions += 1
            elif one.request_id not in waiting:
                found.add(
                    f"the store has the decision {one.request_id}, the trail has not"
                )
        for request_id in sorted(decided)[:SHOWN_MAX]:
            found.add(f"the trail has the decision {request_id}, the store has not")
        found.wrong += max(0, len(decided) - SHOWN_MAX)


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


def _head(entry: bytes) -> _Head | None:
    try:
        return _read_head(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


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

    def __init__(self, journals: JournalReader, kept: Kept) -> None:
        self.journals = journals
        self._kept = kept
        self._open: dict[str, Iterator[JournalRecord]] = {}
        self._first: dict[str, int] = {}
        """Offset of the first line of each journal that is an entry still."""
        self._lost: set[str] = set()
        self._seen: dict[str, _Gone] = {}
        self.gone: dict[str, _Gone] = {}
        """Journals that are not there, or not any more."""
        self.left: set[str] = set()
        """Journals that have lines after the last one that was asked for."""

    def differs(self, source: str, entry: bytes, index: int) -> str:
        """What the next line of a journal has against being an entry; "": nothing."""
        seen = self._seen.setdefault(source, _Gone(index, "", 0, 0))
        seen.records += 1
        seen.bytes += len(entry) + 1
        if source in self._lost:
            return ""  # told once
        try:
            line = self._next(source, entry)
        except (JournalUnavailableError, ValueError) as error:
            self._lost.add(source)
            why = f"its journal cannot be read: {error}"
            if source in self.journals.sources():
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

    def _next(self, source: str, entry: bytes) -> bytes | None:
        """The next line; of a pruned log's journal the first one that is an entry."""
        lines = self._open.get(source)
        if lines is not None:
            record = next(lines, None)
            return None if record is None else record.line
        lines = self._open[source] = self._lines(source, 0)
        for record in lines:
            if record.line == entry or not self._kept.begin:
                self._first[source] = record.offset
                return record.line
        return None

    def is_pruned(self, source: str, offset: int) -> bool:
        """Whether the entry of a line is not kept; asked when all entries were."""
        if not self._kept.begin:
            return False
        first = self._first.get(source)
        if first is None:
            # Nothing of it is left, or its journal is gone, too.
            return source in self.gone or offset < self._kept.taken.get(source, 0)
        return offset < first

    def pruned_ends(self) -> dict[str, int]:
        """Up to where the entries of each journal that administers were pruned."""
        return {
            source: self._first.get(source, taken)
            for source, taken in self._kept.taken.items()
            if projection.is_administrative(source) and source != TRAIL_SOURCE
        }

    def rest(self) -> Iterator[bytes]:
        """The lines after the last one of each journal that was asked for."""
        for source in self.journals.sources():
            if source in self._lost:
                continue
            begin = self._kept.taken.get(source, 0) if self._kept.begin else 0
            lines = self._open.get(source) or self._lines(source, begin)
            try:
                for record in lines:
                    self.left.add(source)
                    yield record.line
            except JournalUnavailableError as error:
                if source in self.journals.sources():
                    raise
                # It was deleted a moment ago; what records that is read after it.
                seen = self._seen.setdefault(source, _Gone(0, "", 0, 0))
                seen.why = f"its journal cannot be read: {error}"
                self.gone[source] = seen

    def _lines(self, source: str, offset: int) -> Iterator[JournalRecord]:
        while run := self.journals.read(source, offset, CHUNK_BYTES):
            for record in run:
                if 0 < len(record.line) <= records.RECORD_BYTES_MAX:
                    yield record
            offset = run[-1].offset + len(run[-1].line) + 1


def summary(found: Findings) -> dict[str, Any]:
    """The findings as JSON has them."""
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told
