"""DATA/control.lock: whoever holds its `flock` alone writes the store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from comptroller.core.errors import StoreUnavailableError


class ControlLock:
    """The lock of one process; the kernel lets go of it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Takes the lock without waiting; False: another process has it.

        Raises:
            StoreUnavailableError: the file cannot be opened.
        """
        if self._descriptor is not None:
            return True
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise StoreUnavailableError(
                f"{self._path} cannot be opened: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Lets go of the lock; the file stays, so that no two files are locked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
