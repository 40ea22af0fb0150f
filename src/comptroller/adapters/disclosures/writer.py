"""Writing disclosures: each worker has files of its own, which only grow."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

SEGMENT_BYTES_MAX: Final = 8 * 1024 * 1024
SUFFIX: Final = ".jsonl"


class DisclosureWriter:
    """The DisclosureSink port on files.

    Nothing is made before the first line. A file is locked before it gets its name,
    and as long as it is written to: whoever can lock it knows that it is complete.

    Args:
        directory: of the side table.
        name: of the worker and its start; no other process has the same.
        segment_bytes_max: after which the next file begins.
    """

    def __init__(
        self, directory: Path, name: str, segment_bytes_max: int = SEGMENT_BYTES_MAX
    ) -> None:
        self._directory = directory
        self._name = name
        self._segment_bytes_max = segment_bytes_max
        self._count = 0
        self._descriptor: int | None = None
        self._left = 0

    def append(self, line: bytes) -> None:
        """Writes a line with its line feed; one that cannot be written is lost."""
        try:
            descriptor = self._descriptor
            if descriptor is None or self._left < len(line):
                descriptor = self._next()
            written = os.write(descriptor, line)
            while written < len(line):
                # A full disk takes a part first and says why only when asked again.
                written += os.write(descriptor, line[written:])
            self._left -= len(line)
        except OSError as error:
            # The next line begins in another file: this one may end in half a line.
            self.close()
            log.error("disclosures are lost: %s", error.strerror)  # noqa: TRY400  the reason says it all

    def close(self) -> None:
        """Lets go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _next(self) -> int:
        self.close()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{self._name}.{self._count:06d}{SUFFIX}"
        made = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(made, flags, 0o600)
        self._descriptor = descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        made.rename(path)
        self._count += 1
        self._left = self._segment_bytes_max
        return descriptor
