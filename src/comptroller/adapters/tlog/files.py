"""Files that are there whole or not at all, after a kill or a loss of power."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

STAGED_MAX: Final = 64


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableFiles:
    """Writes files of one folder: staged apart, synced, then given their names.

    Many are staged before the first is synced, so that the disk takes them
    together. All of `flush`'s files are durable when it returns; a reader never
    meets one that is not whole.
    """

    def __init__(self, folder: Path) -> None:
        """Empties the staging place of what a killed process left there.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        self._staging = folder / ".staging"
        self._staged: list[tuple[int, Path]] = []
        self._known: set[Path] = set()
        self._unsynced: set[Path] = set()
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, name: str, data: bytes) -> None:
        """Stages a file.

        Raises:
            OSError: the disk refuses.
        """
        if len(self._staged) >= STAGED_MAX:
            self.flush()
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
        staged = self._staging / str(len(self._staged))
        descriptor = os.open(staged, flags, 0o600)
        self._staged.append((descriptor, self._folder / name))
        written = os.write(descriptor, data)
        while written < len(data):
            # A full disk takes a part first and says why only when asked again.
            written += os.write(descriptor, data[written:])

    def flush(self) -> None:
        """Makes everything staged durable, under its name.

        Raises:
            OSError: the disk refuses; what was staged is gone, or not durable.
        """
        try:
            for descriptor, _ in self._staged:
                os.fsync(descriptor)
            for number, (_, path) in enumerate(self._staged):
                self._prepare(path.parent)
                os.rename(self._staging / str(number), path)  # noqa: PTH104  hot
                self._unsynced.add(path.parent)
            for folder in sorted(self._unsynced):
                sync_folder(folder)
            self._unsynced.clear()
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of what is staged; it never gets a name."""
        while self._staged:
            os.close(self._staged.pop()[0])

    def put(self, name: str, data: bytes) -> None:
        """Writes one file, durably, after everything that was staged before.

        Raises:
            OSError: the disk refuses.
        """
        self.flush()
        self.add(name, data)
        self.flush()

    def remove(self, name: str) -> None:
        """Removes a folder that nobody needs any more, if it is there."""
        path = self._folder / name
        shutil.rmtree(path, ignore_errors=True)
        self._known.discard(path)

    def unlink(self, names: Iterable[str]) -> None:
        """Removes files that are not kept any more, durably; those that are there.

        Raises:
            OSError: the disk refuses.
        """
        folders = set()
        for name in names:
            path = self._folder / name
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in sorted(folders):
            if folder.is_dir():
                sync_folder(folder)

    def _prepare(self, folder: Path) -> None:
        """Makes a folder; one that a killed process made is synced once more."""
        if folder in self._known:
            return
        if folder != self._folder:
            self._prepare(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
            self._unsynced.add(folder.parent)
        self._known.add(folder)
