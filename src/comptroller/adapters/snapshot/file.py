"""DATA/snapshot.json, replaced by rename so that a reader sees the old or the new."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TypeAlias

from comptroller.core.errors import StoreUnavailableError

_Identity: TypeAlias = tuple[int, int, int]


class FileSnapshotStore:
    """The SnapshotStore port on a file.

    A reader costs one `stat` a call while nothing changes. A change is seen by
    inode, time and size; each snapshot is given a later time than the one it
    replaces, because a file system's clock ticks only every few milliseconds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".new")
        self._seen: _Identity | None = None

    def publish(self, snapshot: bytes) -> None:
        """Replaces the file atomically; it is on disk when this returns.

        Raises:
            StoreUnavailableError: the disk refuses; readers keep the old one.
        """
        try:
            self._write(snapshot)
            self._temporary.replace(self._path)
            self._sync_folder()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            raise StoreUnavailableError(
                f"the snapshot cannot be written to {self._path}: {error.strerror}"
            ) from error

    def read_if_changed(self) -> bytes | None:
        """The file's content when it was replaced since the last call, else None.

        A file that is not there yet reads as unchanged.

        Raises:
            StoreUnavailableError: it is there and cannot be read.
        """
        try:
            if _identity(self._path.stat()) == self._seen:
                return None
            with self._path.open("rb") as file:
                # The identity of what is read, not of what a moment ago stood there.
                identity = _identity(os.fstat(file.fileno()))
                content = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailableError(
                f"the snapshot {self._path} cannot be read: {error.strerror}"
            ) from error
        self._seen = identity
        return content

    def _write(self, snapshot: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._temporary, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(snapshot)
            file.flush()
            self._date_after_last(file.fileno())
            os.fsync(file.fileno())

    def _date_after_last(self, descriptor: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            last_ns = self._path.stat().st_mtime_ns
            if os.fstat(descriptor).st_mtime_ns <= last_ns:
                os.utime(descriptor, ns=(last_ns + 1, last_ns + 1))

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_ino, status.st_mtime_ns, status.st_size
