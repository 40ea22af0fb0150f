"""Small secret files: made whole or not at all, destroyed so that nothing is left."""

from __future__ import annotations

import os
from pathlib import Path


def keep_file(path: Path, content: bytes) -> None:
    """Makes a file durably, for this account only.

    Raises:
        OSError: the disk refuses.
    """
    made = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(made, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)
    sync_folder(path.parent)


def destroy_file(path: Path) -> None:
    """Overwrites a file with zeros and removes it; its folder is to be synced.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def sync_folder(folder: Path) -> None:
    """Makes names durable.

    Raises:
        OSError: the disk refuses.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
