"""Reading all journals of a data directory, whoever writes them."""

from __future__ import annotations

import fcntl
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from comptroller.adapters.journal.naming import JournalName, from_file, from_source
from comptroller.adapters.journal.segments import SEGMENT_BYTES_MAX
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.records import RECORD_BYTES_MAX

SCAN_BYTES: Final = 1024 * 1024
HANDLES_MAX: Final = 64
"""Segments kept open; the one read longest ago is closed first."""


class OwnJournal(Protocol):
    """A journal that this process writes itself, syncing before anybody may read."""

    source: str
    failed: bool


class DirectoryJournalReader:
    """The JournalReader port on a directory of segments.

    What `read` returns is on disk: a store that projects it never knows of more
    than the journals hold, whatever power loss takes from them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: list[str] = []
        self._segments: dict[str, list[int]] = {}
        self._handles: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._own: OwnJournal | None = None

    def trust(self, own: OwnJournal) -> None:
        """Reads a journal of this process without syncing it once more."""
        self._own = own

    def sources(self) -> Sequence[str]:
        """Every source that has a journal, oldest first."""
        self._scan()
        return list(self._segments)

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The complete records from an offset on; a torn tail is not returned.

        Returns:
            As many records as fit into bytes_max, but at least one if there is
            one; none when there is nothing new.

        Raises:
            JournalUnavailableError: the journal is not there or cannot be read, or
                its next line is longer than bytes_max and any record.
        """
        try:
            found = self._read(source, offset, max(bytes_max, RECORD_BYTES_MAX + 1))
            if found and not self._is_synced(source):
                begin = self._begin(source, found[0].offset)
                os.fdatasync(self._handle(source, begin))
        except OSError as error:
            raise _unreadable(source, error) from error
        return found

    def size(self, source: str) -> int:
        """Bytes in the source's stream, a torn tail included.

        Raises:
            JournalUnavailableError: the journal is not there or cannot be read.
        """
        last = self._begins(source)[-1]
        try:
            return last + os.fstat(self._handle(source, last)).st_size
        except OSError as error:
            raise _unreadable(source, error) from error

    def is_dead(self, source: str) -> bool:
        """True when its process is gone for sure: its lock could be taken.

        The lock is only tried, shared and without waiting, so a living process
        neither loses it nor notices, and two readers do not mislead each other.

        Raises:
            JournalUnavailableError: the journal is not there or cannot be read.
        """
        try:
            descriptor = os.open(self._path(source, 0), os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                os.close(descriptor)  # releases the lock, too
        except OSError as error:
            raise _unreadable(source, error) from error
        return True

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there.

        Raises:
            LookupError: no record begins there.
        """
        source, offset = position
        try:
            found = self._read(source, offset, RECORD_BYTES_MAX + 1)
            begin = self._begin(source, offset)
            before = b"\n"
            if offset > begin:
                handle = self._handle(source, begin)
                before = os.pread(handle, 1, offset - begin - 1)
        except (OSError, JournalUnavailableError) as error:
            raise LookupError(f"{source} cannot be read: {error}") from error
        if not found or before != b"\n":
            raise LookupError(f"no record begins at byte {offset} of {source}")
        return found[0].line

    def close(self) -> None:
        """Closes the files."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _is_synced(self, source: str) -> bool:
        own = self._own
        return own is not None and own.source == source and not own.failed

    # -- segments --------------------------------------------------------------

    def _read(self, source: str, offset: int, bytes_max: int) -> list[JournalRecord]:
        begin = self._begin(source, offset)
        handle = self._handle(source, begin)
        data = os.pread(handle, bytes_max, offset - begin)
        if not data and offset - begin >= SEGMENT_BYTES_MAX:
            self._scan()
            if offset in self._begins(source):
                data = os.pread(self._handle(source, offset), bytes_max, 0)
        begins = self._begins(source)
        if not data and begin != begins[-1] and offset not in begins:
            raise JournalUnavailableError(
                f"the segment of {source} that has byte {offset} is gone"
            )
        # Not cut before it is split: that is a megabyte more, new from the kernel.
        lines = data.split(b"\n")
        lines.pop()  # has no end yet, or is nothing
        if not lines and len(data) > RECORD_BYTES_MAX:
            self._expect_no_end(source, handle, offset - begin + len(data))
        records = []
        for line in lines:
            records.append(JournalRecord(source, offset, line))
            offset += len(line) + 1
        return records

    def _expect_no_end(self, source: str, handle: int, place: int) -> None:
        """Tells a torn tail from a line in whose shadow records would never be read."""
        for at in range(place, os.fstat(handle).st_size, SCAN_BYTES):
            if b"\n" in os.pread(handle, SCAN_BYTES, at):
                raise JournalUnavailableError(
                    f"the journal of {source} has a line, after byte {place} of its"
                    " file, that is longer than any record: somebody edited it"
                )

    def _begin(self, source: str, offset: int) -> int:
        begins = self._begins(source)
        return begins[bisect_right(begins, offset) - 1]

    def _begins(self, source: str) -> list[int]:
        if source not in self._segments:
            self._scan()
        try:
            return self._segments[source]
        except KeyError:
            raise JournalUnavailableError(
                f"there is no journal of {source} in {self._directory}"
            ) from None

    def _scan(self) -> None:
        """Lists the directory, and reads the names when they changed."""
        try:
            names = os.listdir(self._directory)  # noqa: PTH208  ten times a second
        except FileNotFoundError:
            return  # no process has started here yet
        if names == self._names:
            return
        self._names = names
        found: dict[JournalName, list[int]] = {}
        with os.scandir(self._directory) as entries:
            for entry in entries:
                segment = from_file(entry.name)
                # A pipe keeps whoever opens it for ever, a folder has no records.
                if segment is not None and entry.is_file():
                    found.setdefault(segment[0], []).append(segment[1])
        oldest_first = sorted(found, key=lambda name: (name.boot, name))
        self._segments = {
            name.source: sorted(found[name])
            for name in oldest_first
            if 0 in found[name]
        }
        # What is deleted takes up room for as long as anybody has it open.
        for source, begin in list(self._handles):
            if begin not in self._segments.get(source, ()):
                os.close(self._handles.pop((source, begin)))

    def _handle(self, source: str, begin: int) -> int:
        key = (source, begin)
        handle = self._handles.get(key)
        if handle is None:
            handle = os.open(self._path(source, begin), os.O_RDONLY)
            self._handles[key] = handle
            if len(self._handles) > HANDLES_MAX:
                os.close(self._handles.popitem(last=False)[1])
        else:
            self._handles.move_to_end(key)
        return handle

    def _path(self, source: str, begin: int) -> Path:
        return self._directory / from_source(source).file(begin)


def _unreadable(source: str, error: OSError) -> JournalUnavailableError:
    return JournalUnavailableError(f"cannot read the journal of {source}: {error}")
