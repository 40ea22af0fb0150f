"""Where the journals' records are in the log: an index beside it, made from it.

One file a journal holds its runs: records in sequence that are entries one after
another. The log is what counts: whoever finds a place here looks whether the entry
there is the record, and what a kill left out here is looked for in the log.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from comptroller.core.errors import TrailUnavailableError

HANDLES_MAX: Final = 64
_RUN: Final = Struct(">QQQ")


class Stretch(NamedTuple):
    """Entries among which a record is, if it is in the log."""

    begin: int
    end: int | None
    """None: up to the log's end."""


class PlaceIndex:
    """The index of one log; one process writes, any may read.

    Args:
        folder: of its files; made when the first run is noted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: OrderedDict[str, int] = OrderedDict()

    def note(self, source: str, sequence: int, index: int, count: int) -> None:
        """Notes a run: so many records in sequence, one entry after another.

        Not synced: a loss of power costs only time at a later search.

        Raises:
            TrailUnavailableError: the disk refuses.
        """
        try:
            os.write(self._handle(source), _RUN.pack(sequence, index, count))
        except OSError as error:
            raise TrailUnavailableError(
                f"{self._folder} cannot be written: {error.strerror}"
            ) from error

    def find(self, source: str, sequence: int) -> Stretch:
        """Where a record can be: one entry where its run is known.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        try:
            with self._path(source).open("rb") as file:
                runs = file.seek(0, os.SEEK_END) // _RUN.size
                return _Runs(file.fileno(), runs).stretch(sequence)
        except FileNotFoundError:
            return Stretch(0, None)
        except OSError as error:
            raise TrailUnavailableError(
                f"{self._folder} cannot be read: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Closes the files."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _path(self, source: str) -> Path:
        return self._folder / source.strip("/").replace("/", ".")

    def _handle(self, source: str) -> int:
        handle = self._handles.get(source)
        if handle is not None:
            self._handles.move_to_end(source)
            return handle
        self._folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(self._path(source), flags, 0o600)
        # A kill may have left a part of a run.
        os.ftruncate(handle, os.fstat(handle).st_size // _RUN.size * _RUN.size)
        self._handles[source] = handle
        if len(self._handles) > HANDLES_MAX:
            os.close(self._handles.popitem(last=False)[1])
        return handle


class _Runs:
    """The runs of a file, in order of sequence."""

    def __init__(self, descriptor: int, count: int) -> None:
        self._descriptor = descriptor
        self._count = count

    def stretch(self, sequence: int) -> Stretch:
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._run(middle)[0] <= sequence:
                low = middle + 1
            else:
                high = middle
        begin = 0
        if low:
            first, index, count = self._run(low - 1)
            if sequence < first + count:
                index += sequence - first
                return Stretch(index, index + 1)
            begin = index + count
        return Stretch(begin, self._run(low)[1] if low < self._count else None)

    def _run(self, place: int) -> tuple[int, int, int]:
        data = os.pread(self._descriptor, _RUN.size, place * _RUN.size)
        sequence, index, count = _RUN.unpack(data)
        return sequence, index, count
