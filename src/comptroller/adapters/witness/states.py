"""A witness's memory: one file a log, the checkpoint that it signed last.

The file is the checkpoint with the log's signature and the witness's own, so damage
is found by the witness's key.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Final

from comptroller.core.checkpoint import NOTE_BYTES_MAX
from comptroller.core.errors import ConflictError

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]+")

PutFile = Callable[[str, bytes], None]
"""Writes a file of the folder, durably and whole, under a name."""


class FolderStates:
    """The memory, in a folder that this process holds alone until `close`.

    Satisfies `engine.witnessing.WitnessStates`.
    """

    def __init__(self, folder: Path, open_files: Callable[[Path], PutFile]) -> None:
        """Takes the folder.

        Args:
            folder: made where there is none.
            open_files: gives what writes into it.

        Raises:
            ConflictError: another witness has it.
            OSError: it cannot be made or written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._folder = folder
        self._lock = os.open(folder / "lock", flags, 0o600)
        with ExitStack() as undo:
            undo.callback(os.close, self._lock)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._put = open_files(folder)
            except BlockingIOError:
                raise ConflictError(f"another witness runs on {folder}") from None
            undo.pop_all()

    def get(self, origin: str) -> bytes | None:
        """The checkpoint that was signed last; None: none ever was."""
        return self._read(f"{file_name(origin)}.checkpoint")

    def put(self, origin: str, note: bytes) -> None:
        """Keeps a checkpoint, durably."""
        self._put(f"{file_name(origin)}.checkpoint", note)

    def keep_evidence(self, origin: str, note: bytes) -> None:
        """Keeps a checkpoint that contradicts what was signed; the first one stays."""
        name = f"{file_name(origin)}.refused"
        if self._read(name) is None:
            self._put(name, note)

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._lock)

    def _read(self, name: str) -> bytes | None:
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(NOTE_BYTES_MAX + 1)  # more: the reader refuses it
        except FileNotFoundError:
            return None


def file_name(origin: str) -> str:
    """A name for files of a log: readable, and of no other log."""
    readable = _FOREIGN.sub("-", origin).strip("-.")[:80]
    return f"{readable}.{sha256(origin.encode()).hexdigest()[:16]}"
