"""Writing a journal: group commit on the event loop, or a sync an append.

`GroupCommitJournal` is for the gateway's workers. What one pass of the event
loop appends is one `write`. Records whose callers wait then need an
`fdatasync`, which runs in one thread; the sync in flight is the batching
window: whatever was written meanwhile is what the next one covers.
`SyncJournal` is for processes that may block: every append is durable when it
returns.
Both seal what they wrote (marks.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Literal, Protocol

from comptroller.adapters.journal.marks import SEAL_EVERY_S, Marks
from comptroller.adapters.journal.naming import JournalName
from comptroller.adapters.journal.segments import Segments
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine import records
from comptroller.engine.ports import Clock, Ids

Durability = Literal["disk", "process"]
"""`disk`: survives a power loss. `process`: survives a kill of the process."""
OnDurable = Callable[[bool], None]
Job = Callable[[], None]

WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
"""Records appended and not yet durable; beyond it the disk does not keep up."""
ENDS_WAITING_BYTES_MAX: Final = 2 * WAITING_BYTES_MAX
"""The same for records nobody waits for, so that what was begun can still end."""
CROWD: Final = 4
PACE_S: Final = 0.001
"""When so many waited for the last sync, the next one waits for more of them: each
costs about as much CPU as a request, whether it covers one record or a hundred."""
SYNC_WITHIN_S: Final = 1.0
"""A record nobody waits for is durable within this time."""


class _OpenJournal(Protocol):
    """What a refusal is explained by."""

    source: str
    failed: bool
    closed: bool


def _refusal(journal: _OpenJournal, record: bytes = b"") -> JournalUnavailableError:
    """Why a journal does not take a record."""
    if journal.closed:
        return JournalUnavailableError(f"the journal {journal.source} is closed")
    if journal.failed:
        return JournalUnavailableError(
            f"the journal {journal.source} failed earlier; nothing can be recorded "
            "until this process is started anew (is the disk full?)"
        )
    if len(record) > records.RECORD_BYTES_MAX:
        return JournalUnavailableError(
            f"a record of {len(record)} bytes is too long: at most "
            f"{records.RECORD_BYTES_MAX} can be recorded"
        )
    if b"\n" in record:
        return JournalUnavailableError(
            "a record with a line break would be read as two: "
            "encode it as one line of JSON"
        )
    return JournalUnavailableError(
        f"the disk does not keep up with the journal {journal.source}: "
        f"{WAITING_BYTES_MAX} bytes wait to be written"
    )


class SyncJournal:
    """A journal whose every append is on disk when it returns.

    Satisfies `engine.ports.Journal`.
    """

    def __init__(
        self, directory: Path, name: JournalName, clock: Clock, ids: Ids
    ) -> None:
        """Creates the journal.

        Raises:
            JournalUnavailableError: it cannot be created.
        """
        self.source = name.source
        self.failed = False
        self.closed = False
        self.sequence = 1
        """Of the next record; each append counts it on."""
        self._clock = clock
        self._sealed_s = clock.monotonic_s()
        self._is_sealed = False
        """Whether the last line is a seal."""
        self._marks = Marks(name, clock, ids)
        self._segments = Segments(directory, name, self._marks.started())

    def append(self, record: bytes, on_durable: OnDurable | None = None) -> None:
        """Writes a record and waits for the disk.

        Raises:
            JournalUnavailableError: it is not durable; the journal has failed.
        """
        self.append_all([record])
        if on_durable is not None:
            on_durable(True)  # noqa: FBT003  the port's signature

    def append_all(self, batch: Sequence[bytes]) -> None:
        """Writes records in order, with one wait for the disk.

        Raises:
            JournalUnavailableError: not all are durable; the journal has failed.
        """
        if self.failed or self.closed:
            raise _refusal(self)
        for record in batch:
            if len(record) > records.RECORD_BYTES_MAX or b"\n" in record:
                raise _refusal(self, record)
        if not batch:
            return
        self.sequence += len(batch)
        lines = self._marks.cover(b"".join(record + b"\n" for record in batch))
        self._is_sealed = False
        self._write(lines + self._due_seal())

    def seal(self) -> None:
        """Seals what was written since the last seal, at most once a second.

        Appending does so, too; for who has nothing to append and would leave the last
        records unsealed. A journal that has failed or is closed writes nothing.

        Raises:
            JournalUnavailableError: it is not durable; the journal has failed.
        """
        if not (self.failed or self.closed) and (seal := self._due_seal()):
            self._write(seal)

    def close(self) -> None:
        """Writes the closing record, makes it durable, lets go of the lock."""
        if self.closed:
            return
        try:
            if not self.failed:
                self._write(self._marks.closed(self.sequence))
        finally:
            self.closed = True
            self._segments.close()

    def _due_seal(self) -> bytes:
        now_s = self._clock.monotonic_s()
        if self._is_sealed or now_s - self._sealed_s < SEAL_EVERY_S:
            return b""
        self._sealed_s = now_s
        self._is_sealed = True
        seal = self._marks.sealed(self.sequence)
        self.sequence += 1
        return seal

    def _write(self, data: bytes) -> None:
        try:
            if self._segments.is_full:
                self._segments.rotate()
            self._segments.write(data)
            self._segments.sync()
        except OSError as error:
            self.failed = True
            raise JournalUnavailableError(
                f"cannot record in the journal {self.source}: {error}"
            ) from error


class GroupCommitJournal:
    """The journal of a worker; every method is called on its event loop.

    Satisfies `engine.ports.Journal`.
    """

    def __init__(
        self,
        directory: Path,
        name: JournalName,
        clock: Clock,
        ids: Ids,
        durability: Durability = "disk",
    ) -> None:
        """Creates the journal and, for `disk`, the thread that syncs.

        Raises:
            JournalUnavailableError: it cannot be created.
        """
        self.source = name.source
        self.failed = False
        self.closed = False
        self.sequence = 1
        """Of the next record; each append counts it on."""
        self._marks = Marks(name, clock, ids)
        self._segments = Segments(directory, name, self._marks.started())
        self._loop = asyncio.get_running_loop()
        self._to_disk = durability == "disk"
        self._refusing = False
        self._lines: list[bytes] = []
        self._callbacks: list[OnDurable] = []
        self._flushing = False
        # Bytes by stage: appended, written, and covered by the sync in flight.
        self._waiting_bytes = 0
        self._written_bytes = 0
        self._syncing_bytes = 0
        self._written: list[OnDurable] = []
        self._syncing: list[OnDurable] = []
        self._in_flight = False
        self._rotating = False
        self._crowded = False
        self._pace: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_seal_due = False
        self._sealer: asyncio.TimerHandle | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._syncer = threading.Thread(
            target=self._run, name="journal-sync", daemon=True
        )
        self._syncer.start()
        self._seal_in_time()

    def append(self, record: bytes, on_durable: OnDurable | None = None) -> None:
        """Writes a record at the end of this pass of the event loop.

        Raises:
            JournalUnavailableError: it failed, is closed, or the disk does not
                keep up; nothing is written.
        """
        length = len(record)
        waiting = self._waiting_bytes + length + 1
        if (
            self._refusing
            or waiting
            > (ENDS_WAITING_BYTES_MAX if on_durable is None else WAITING_BYTES_MAX)
            or length > records.RECORD_BYTES_MAX
            or b"\n" in record
        ):
            raise _refusal(self, record)
        self._waiting_bytes = waiting
        self._lines.append(record)
        self.sequence += 1
        if on_durable is not None:
            self._callbacks.append(on_durable)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Makes all durable, tells those who wait, and lets go of the lock.

        Blocks for the disk. Idempotent.
        """
        if self.closed:
            return
        self._jobs.put(None)
        self._syncer.join()
        self.closed = self._refusing = True
        for timer in (self._timer, self._pace, self._sealer):
            if timer is not None:
                timer.cancel()
        if not self.failed:
            try:
                lines = self._marks.cover(self._take_lines())
                self._segments.write(lines + self._marks.closed(self.sequence))
                self._segments.sync()
            except OSError:
                self.failed = True
        self._segments.close()
        waiting = self._syncing + self._written + self._callbacks
        self._tell(waiting, is_durable=not self.failed)

    # -- one pass of the event loop -------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        has_work = self._lines or self._is_seal_due
        if self._refusing or not has_work or self._pace is not None:
            return
        if self._segments.is_full:
            # Lines wait here until the full segment is durable, so that even
            # after a power loss no segment can have a gap before the next.
            if not self._rotating:
                self._rotating = True
                if not self._in_flight:
                    self._start_sync()
            return
        try:
            self._segments.write(self._take_sealed_lines())
        except OSError:
            self._fail()
            return
        callbacks, self._callbacks = self._callbacks, []
        if not self._to_disk:
            self._waiting_bytes = 0
            self._tell(callbacks, is_durable=True)
            return
        self._written_bytes = self._waiting_bytes - self._syncing_bytes
        if callbacks:
            self._written += callbacks
            if not self._in_flight:
                self._sync_soon()
        elif self._timer is None:
            self._timer = self._loop.call_later(SYNC_WITHIN_S, self._sync_in_time)

    def _take_lines(self) -> bytes:
        lines, self._lines = self._lines, []
        lines.append(b"")
        return b"\n".join(lines)

    # -- seals -------------------------------------------------------------------

    def _take_sealed_lines(self) -> bytes:
        """What waits, and the seal of all when it is due.

        Only here, where nothing waits any more, is the next sequence the seal's.
        """
        lines = self._marks.cover(self._take_lines())
        if not self._is_seal_due:
            if self._sealer is None:
                self._seal_in_time()
            return lines
        self._is_seal_due = False
        seal = self._marks.sealed(self.sequence)
        self.sequence += 1
        self._waiting_bytes += len(seal)
        return lines + seal

    def _seal_in_time(self) -> None:
        self._sealer = self._loop.call_later(SEAL_EVERY_S, self._seal)

    def _seal(self) -> None:
        self._sealer = None
        self._is_seal_due = True
        self._flush()

    # -- group commit ----------------------------------------------------------

    def _sync_soon(self) -> None:
        """Starts a sync at once, or, in a crowd, when more have come."""
        if not self._crowded or self._rotating:
            self._start_sync()
        elif self._pace is None:
            self._pace = self._loop.call_later(PACE_S, self._paced)

    def _paced(self) -> None:
        self._pace = None
        self._flush()
        if self._written and not self._in_flight and not self._refusing:
            self._start_sync()

    def _start_sync(self) -> None:
        self._in_flight = True
        self._syncing, self._written = self._written, []
        self._crowded = len(self._syncing) >= CROWD
        self._syncing_bytes, self._written_bytes = self._written_bytes, 0
        self._jobs.put(self._sync_and_rotate if self._rotating else self._segments.sync)

    def _sync_in_time(self) -> None:
        self._timer = None
        if self._refusing:
            return
        if self._in_flight:
            self._timer = self._loop.call_later(SYNC_WITHIN_S, self._sync_in_time)
        elif self._written_bytes:
            self._start_sync()

    def _synced(self, job: Job, error: OSError | None) -> None:
        """On the loop again, after the thread's job."""
        if self.closed:
            return  # close() has told everyone
        self._in_flight = False
        if error is not None:
            self._fail()
            return
        self._waiting_bytes -= self._syncing_bytes
        self._syncing_bytes = 0
        done, self._syncing = self._syncing, []
        if job == self._sync_and_rotate:
            self._rotating = False
            self._flush()
        if not self._in_flight and (self._written or self._rotating):
            self._sync_soon()
        self._tell(done, is_durable=True)

    def _fail(self) -> None:
        """Fails for good: a sync that failed once tells nothing the next time."""
        self.failed = self._refusing = True
        waiting = self._syncing + self._written + self._callbacks
        self._syncing, self._written, self._callbacks = [], [], []
        self._lines = []
        self._tell(waiting, is_durable=False)

    def _tell(self, callbacks: list[OnDurable], *, is_durable: bool) -> None:
        remaining = iter(callbacks)
        try:
            for callback in remaining:
                callback(is_durable)
        finally:
            # Only after a callback raised: the others are owed their answer.
            rest = list(remaining)
            if rest:
                self._loop.call_soon(lambda: self._tell(rest, is_durable=is_durable))

    # -- the thread --------------------------------------------------------------

    def _sync_and_rotate(self) -> None:
        self._segments.sync()
        self._segments.rotate()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            error: OSError | None = None
            try:
                job()
            except OSError as raised:
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._synced, job, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
