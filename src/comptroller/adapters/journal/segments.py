"""The file behind a journal: created locked, appended to, synced, rotated."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from comptroller.adapters.journal.naming import JournalName
from comptroller.core.errors import JournalUnavailableError

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
_FLAGS: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND


class Segments:
    """One source's segments, opened for appending by the one process that may.

    The exclusive `flock` on the first segment is held until `close` or death:
    whoever can take it knows that the process is gone. The file gets its name
    only after the lock is held and the first record is on disk, so no reader
    ever meets a live journal unlocked or empty.
    """

    def __init__(self, directory: Path, name: JournalName, first: bytes) -> None:
        """Creates the journal with its first line, durably.

        Raises:
            JournalUnavailableError: it cannot be created, or exists already.
        """
        self._directory = directory
        self._name = name
        self.offset = 0
        """Bytes of the whole stream that were handed to the kernel."""
        self.begin = 0
        """Where in the stream the current segment begins."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self.descriptor = self._create_locked(first)
        except OSError as error:
            raise JournalUnavailableError(
                f"cannot create the journal {directory / name.file(0)}: {error}"
            ) from error

    def _create_locked(self, first: bytes) -> int:
        unnamed = self._directory / f".{self._name.file(0)}.new"
        named = self._directory / self._name.file(0)
        descriptor = os.open(unnamed, _FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.descriptor = descriptor
            self.write(first)
            os.fsync(descriptor)
            os.link(unnamed, named)  # unlike a rename, this refuses to replace
        except OSError:
            os.close(descriptor)
            raise
        finally:
            unnamed.unlink()
        self._sync_directory()
        return descriptor

    @property
    def is_full(self) -> bool:
        """Whether the next write should go to a new segment."""
        return self.offset - self.begin >= SEGMENT_BYTES_MAX

    def write(self, data: bytes) -> None:
        """Appends complete lines.

        Raises:
            OSError: not all of it was written. Complete lines that were stay; a
                torn one is the end of the file, for nothing may be written after.
        """
        written = os.write(self.descriptor, data)
        self.offset += written
        while written < len(data):
            # A full disk takes a part first and says why only when asked again.
            count = os.write(self.descriptor, data[written:])
            self.offset += count
            written += count

    def sync(self) -> None:
        """Makes everything written durable. May be called on another thread."""
        os.fdatasync(self.descriptor)

    def rotate(self) -> None:
        """Starts the next segment; the caller has synced and writes meanwhile nothing.

        Raises:
            OSError: there is no new segment.
        """
        path = self._directory / self._name.file(self.offset)
        descriptor = os.open(path, _FLAGS, 0o600)
        self._sync_directory()
        if self.descriptor != self._lock:
            os.close(self.descriptor)
        self.descriptor = descriptor
        self.begin = self.offset

    def close(self) -> None:
        """Lets go of the files and of the lock."""
        if self.descriptor != self._lock:
            os.close(self.descriptor)
        os.close(self._lock)

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
