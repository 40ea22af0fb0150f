"""Deletion of workers' journals whose records the trail has, one after another.

They hold the requests, and are the bulk. Journals of processes that administer stay:
what was declared and activated is asked about for as long as anything is, and the
entries of the trail that say it may be pruned; then such a journal is the one place
where the record is, and the trail's hashes prove it.

A worker's journal goes only when its process is dead, all of it is projected, it has
ended in the trail, each of its lines is byte for byte an entry under a signed
checkpoint, which a witness has signed too where one is asked, and no legal hold is in
force. A record says so, durably, before the first file goes; what a kill interrupts
then, the next pass finishes, and compares before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from comptroller.core.errors import (
    ComptrollerError,
    JournalUnavailableError,
    LegalHoldError,
)
from comptroller.engine.batch import Batch
from comptroller.engine.deletion_ports import JournalFiles, SegmentMark
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.legal_holds import check_no_legal_hold
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Ids,
    JournalReader,
    Store,
)
from comptroller.engine.projection import is_administrative

EVERY_S: Final = 60.0
CHUNK_BYTES: Final = 256 * 1024
REST_S: Final = 0.01
"""After each chunk: a comparison takes a quarter of a core at most."""
CANDIDATES_MAX: Final = 16
"""Looked at in one pass, oldest first; one of them is deleted."""
_S: Final = 10**9


class CoveredLines(Protocol):
    """What a log has of the journals, proved to be in one tree."""

    def has(self, source: str, offset: int, lines: Sequence[bytes]) -> bool:
        """Whether lines of a journal are entries, found by where they stand in it.

        To be asked from the first line of a journal to its last one.

        Raises:
            ComptrollerError: the log cannot be read there, or is not what was signed.
        """


class Coverage(NamedTuple):
    """What the trail has, as far as a signed checkpoint covers it."""

    size: int
    """Of that checkpoint."""
    ended: Mapping[str, int]
    """Journals that have ended in it, and how many bytes of each it stands for."""
    witnesses: Sequence[str]
    """Who signed that checkpoint or a larger one."""
    lines: CoveredLines
    """What it has of them."""


class TrailCovers(Protocol):
    """Where it is found out what the trail has; may be used in any thread."""

    def coverage(self) -> Coverage | str:
        """What is covered now; a text: why nothing is.

        Raises:
            ComptrollerError: the trail cannot be read, or is not what was signed.
        """


class DeletionParts(NamedTuple):
    """What the deletion of journals works with; bootstrap fills it in."""

    store: Store
    reader: JournalReader
    files: JournalFiles
    trail: TrailCovers
    journal: Callable[[], DurableJournal]
    """The control journal; opened at the first record."""
    project: Callable[[str], None]
    """Projects one source's journal to where it ends now."""
    clock: Clock
    ids: Ids
    rest: Callable[[float], bool]
    """Waits for so many seconds, in any thread; says whether `stop` was called."""
    stop: Callable[[], None]


class Candidate(NamedTuple):
    """A journal that may go, for all that is known without the trail."""

    source: str
    marks: Sequence[SegmentMark]
    position: int
    """Up to where it is projected."""


class Plan(NamedTuple):
    """What one pass looks at."""

    left: Sequence[Candidate]
    """Journals that are recorded as deleted, and of which there still are files."""
    candidates: Sequence[Candidate]


class Compared(NamedTuple):
    """A journal whose lines are all entries."""

    candidate: Candidate
    records: int


class Findings(NamedTuple):
    """What one pass may delete."""

    left: Sequence[Candidate]
    next: Compared | None
    coverage: Coverage | None
    problems: dict[str, str]
    """By journal: why it may not, where a person should look."""
    passed: set[str]
    """The candidates that were looked at."""


class JournalDeletion:
    """Deletes journals; `step` is a pass, whose parts take place where they may.

    Args:
        parts: what it works with.
        keep_s: how long a journal stays after it was last written to.
    """

    def __init__(self, parts: DeletionParts, keep_s: float) -> None:
        self._parts = parts
        self._keep_s = keep_s
        self._passed: set[str] = set()
        """Journals that may not go for now: others have their turn first."""
        self._problems: dict[str, str] = {}
        self.every_s = min(EVERY_S, max(1.0, keep_s))
        """How long to wait between two passes."""

    @property
    def problem(self) -> str | None:
        """What a person should look at; None: nothing is known."""
        return next(iter(self._problems.values()), None)

    def stop(self) -> None:
        """Lets a comparison that is under way end soon, without a finding."""
        self._parts.stop()

    async def step(self) -> str | None:
        """One pass.

        Returns:
            The journal that was deleted; None: none was.

        Raises:
            ComptrollerError: see `plan`, `compare`, `record`; or a file cannot be
                removed: the next pass does it.
        """
        files = self._parts.files
        plan = self.plan(await asyncio.to_thread(files.list))
        found = await asyncio.to_thread(self.compare, plan)
        due = self.record(found)
        for candidate in due:
            # Removing gigabytes takes a moment, too.
            await asyncio.to_thread(files.remove, candidate.marks)
        is_new = found.next is not None and found.next.candidate in due
        return due[-1].source if is_new else None

    def why_kept(self, source: str, marks: Sequence[SegmentMark]) -> str | None:
        """What of a journal itself keeps it, in words; None: nothing.

        Raises:
            StoreUnavailableError: the store does not answer.
            JournalUnavailableError: the journal cannot be read.
        """
        return next(self._reasons(source, marks), None)

    def _reasons(self, source: str, marks: Sequence[SegmentMark]) -> Iterator[str]:
        """What keeps a journal; what costs least is looked at first."""
        parts = self._parts
        if is_administrative(source):
            yield "it is of a process that administers"
        if marks[0].offset:
            yield "its first file is gone"
        written_ns = max(one.written_ns for one in marks)
        if parts.clock.now_ns() - written_ns < self._keep_s * _S:
            yield "it is not old enough"
        if not parts.reader.is_dead(source):
            yield "its process lives"
        if parts.reader.read(source, parts.store.position(source), 1):
            yield "it is not projected to its end"
        if source in parts.store.open_sources():
            yield "requests in it have no end yet"
        if any(row.holder == source for row in parts.store.live_holders()):
            yield "its leases are not returned yet"

    # -- a pass ------------------------------------------------------------------

    def plan(self, files: Mapping[str, Sequence[SegmentMark]]) -> Plan:
        """What to look at; takes a moment, on the thread that writes the store.

        Args:
            files: what there is.

        Raises:
            StoreUnavailableError: the store does not answer.
            JournalUnavailableError: a journal cannot be read.
        """
        parts = self._parts
        deleted = {one.source: one.bytes for one in parts.store.deleted_journals()}
        if self._is_held() or parts.store.is_lost():
            return Plan([], [])
        left = [
            Candidate(source, files[source], size)
            for source, size in deleted.items()
            if source in files
        ]
        candidates: list[Candidate] = []
        known = self._passed | deleted.keys()
        for source in parts.reader.sources():
            if len(candidates) >= CANDIDATES_MAX:
                break
            marks = files.get(source)
            if marks is None or source in known or self.why_kept(source, marks):
                continue
            position = parts.store.position(source)
            candidates.append(Candidate(source, marks, position))
        if not candidates:
            self._passed.clear()
            self._problems.clear()
        return Plan(left, candidates)

    def compare(self, plan: Plan) -> Findings:
        """Finds out what may go; takes seconds, in any thread.

        Raises:
            ComptrollerError: the trail, or a journal, cannot be read.
        """
        findings = Findings([], None, None, {}, set())
        if not plan.left and not plan.candidates:
            return findings
        coverage = self._parts.trail.coverage()
        if isinstance(coverage, str):
            return findings
        left, problems, passed = [], findings.problems, findings.passed
        for candidate in plan.left:
            found = self._compared(candidate, coverage)
            if isinstance(found, Compared):
                left.append(candidate)
            else:
                problems[candidate.source] = (
                    f"{candidate.source} was deleted, and of what stands there again"
                    f" {found}"
                )
        for candidate in plan.candidates:
            source, last = candidate.source, candidate.marks[-1]
            passed.add(source)
            if coverage.ended.get(source) != last.offset + last.size:
                continue
            found = self._compared(candidate, coverage)
            if isinstance(found, Compared):
                return Findings(left, found, coverage, problems, passed)
            problems[source] = f"{source} is not deleted: {found}"
        return Findings(left, None, coverage, problems, passed)

    def record(self, found: Findings) -> list[Candidate]:
        """Records what is deleted now, on the thread that writes the store.

        Returns:
            What is to be removed; the one that was recorded now is the last.

        Raises:
            StoreUnavailableError: the store does not answer; repeat it.
            JournalUnavailableError: the control journal has failed.
            RecordError: the control journal cannot be projected.
        """
        parts = self._parts
        self._problems.update(found.problems)
        self._passed.update(found.passed)
        if self._is_held() or parts.store.is_lost():
            return []
        due = list(found.left)
        if found.next is None or found.coverage is None:
            return due
        source, marks, position = found.next.candidate
        # Nothing of it may have been written since: its process was dead before.
        if self.why_kept(source, marks) or parts.store.position(source) != position:
            return due
        data = JournalDeleted(
            source=source,
            bytes=position,
            records=found.next.records,
            size=found.coverage.size,
            witnesses=list(found.coverage.witnesses),
        )
        batch = Batch(parts.journal, parts.clock, parts.ids)
        batch.add(JOURNAL_DELETED, f"journal{source}", data)
        parts.project(batch.commit())
        return [*due, found.next.candidate]

    # -- comparing ---------------------------------------------------------------

    def _compared(self, candidate: Candidate, coverage: Coverage) -> Compared | str:
        """Compares every line with an entry; a text: what differs."""
        records, end = 0, 0
        try:
            for mark in candidate.marks:
                if records and mark.offset != end:
                    return f"its file for byte {end} is gone"
                count, end = self._lines_compared(candidate.source, mark, coverage)
                if count < 0:
                    return f"its record at byte {end} is not in the trail"
                records += count
        except ComptrollerError as error:
            return error.message
        if end != candidate.position:
            return f"it ends at byte {end}, and is projected to {candidate.position}"
        return Compared(candidate, records)

    def _lines_compared(
        self, source: str, mark: SegmentMark, coverage: Coverage
    ) -> tuple[int, int]:
        """How many lines a file has, -1 where one differs, and where that is."""
        parts = self._parts
        count, offset, is_last = 0, 0, False
        while not is_last:
            lines, is_last = parts.files.read(mark, offset, CHUNK_BYTES)
            size = sum(map(len, lines)) + len(lines)
            begin = mark.offset + offset
            if lines and not coverage.lines.has(source, begin, lines):
                return -1, begin
            count += len(lines)
            offset += size
            if parts.rest(REST_S):
                raise JournalUnavailableError("the comparison was interrupted")
        return count, mark.offset + offset

    def _is_held(self) -> bool:
        """Whether a legal hold keeps everything."""
        try:
            check_no_legal_hold(self._parts.store, "no journal is deleted")
        except LegalHoldError:
            return True
        return False
