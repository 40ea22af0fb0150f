"""Where the journals' records are in the log: an index beside it, made from it.

One file a journal holds its runs: records in sequence that are entries one after
another. The log is what counts: whoever finds a place here looks whether the entry
there is the record, and what a kill left out here is looked for in the log.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from comptroller.core.errors import TrailUnavailableError

HANDLES_MAX: Final = 64
_NUMBERS: Final = Struct(">QQQQ")
_SUM: Final = Struct(">I")
_RUN_BYTES: Final = _NUMBERS.size + _SUM.size


class Stretch(NamedTuple):
    """Entries among which a record is, if it is in the log."""

    begin: int
    end: int | None
    """None: up to the log's end."""


class Run(NamedTuple):
    """Records in sequence that are entries one after another."""

    sequence: int
    """Of the first record."""
    entry: int
    """Index of the first entry."""
    length: int
    offset: int
    """Of the first record, in the journal's stream."""


class PlaceIndex:
    """The index of one log; one process writes, any may read.

    Args:
        folder: of its files; made when the first run is noted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: OrderedDict[str, int] = OrderedDict()

    def note(
        self, source: str, sequence: int, index: int, count: int, offset: int
    ) -> None:
        """Notes a run: so many records in sequence, one entry after another.

        Not synced: a loss of power costs only time at a later search.

        Args:
            source: of their journal.
            sequence: of the first record.
            index: of the first entry.
            count: how many.
            offset: of the first record, in the journal's stream.

        Raises:
            TrailUnavailableError: the disk refuses.
        """
        numbers = _NUMBERS.pack(sequence, index, count, offset)
        try:
            os.write(self._handle(source), numbers + _SUM.pack(crc32(numbers)))
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
                return _Runs(file.fileno()).stretch(sequence)
        except (FileNotFoundError, _DamagedError):
            return Stretch(0, None)
        except OSError as error:
            raise self._unreadable(error) from error

    def runs(self, source: str, offset: int) -> Iterator[Run]:
        """The runs of a journal, from the last one on that begins at or before there.

        Some may be missing, and none may be known. Their order is that of the log.

        Args:
            source: of the journal.
            offset: in its stream.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        yield from self._since(source, lambda run: run.offset <= offset)

    def following(self, source: str, sequence: int) -> Iterator[Run]:
        """The runs of a journal, from the last one on that begins at or before there.

        As `runs`, by the sequence of a record.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        yield from self._since(source, lambda run: run.sequence <= sequence)

    def around(self, source: str, index: int) -> Iterator[Run]:
        """The runs of a journal, from the last one on that begins at or before there.

        As `runs`, by the index of an entry.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        yield from self._since(source, lambda run: run.entry <= index)

    def _since(self, source: str, is_before: Callable[[Run], bool]) -> Iterator[Run]:
        try:
            with self._path(source).open("rb") as file:
                yield from _Runs(file.fileno()).since(is_before)
        except (FileNotFoundError, _DamagedError):
            return
        except OSError as error:
            raise self._unreadable(error) from error

    def sources(self) -> list[str]:
        """The journals of which a run was noted; none: there is no index.

        Raises:
            TrailUnavailableError: the index cannot be read.
        """
        try:
            names = sorted(one.name for one in self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from error
        # No part of a source has a dot: see `_path`.
        return ["/" + name.replace(".", "/") for name in names]

    def close(self) -> None:
        """Closes the files."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _unreadable(self, error: OSError) -> TrailUnavailableError:
        return TrailUnavailableError(f"{self._folder} cannot be read: {error.strerror}")

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
        os.ftruncate(handle, os.fstat(handle).st_size // _RUN_BYTES * _RUN_BYTES)
        self._handles[source] = handle
        if len(self._handles) > HANDLES_MAX:
            os.close(self._handles.popitem(last=False)[1])
        return handle


class _DamagedError(Exception):
    """A run is not what was written: a loss of power may have taken it."""


class _Runs:
    """The runs of a file, in order of sequence, and so of offset and of index."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._count = os.fstat(descriptor).st_size // _RUN_BYTES

    def stretch(self, sequence: int) -> Stretch:
        low = self._after(lambda run: run.sequence <= sequence)
        begin = 0
        if low:
            first, entry, length, _ = self._run(low - 1)
            if sequence < first + length:
                entry += sequence - first
                return Stretch(entry, entry + 1)
            begin = entry + length
        return Stretch(begin, self._run(low).entry if low < self._count else None)

    def since(self, is_before: Callable[[Run], bool]) -> Iterator[Run]:
        begin = self._after(is_before)
        for place in range(max(0, begin - 1), self._count):
            yield self._run(place)

    def _after(self, is_before: Callable[[Run], bool]) -> int:
        """How many runs are before, by bisection."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if is_before(self._run(middle)):
                low = middle + 1
            else:
                high = middle
        return low

    def _run(self, place: int) -> Run:
        data = os.pread(self._descriptor, _RUN_BYTES, place * _RUN_BYTES)
        numbers = data[: _NUMBERS.size]
        if data[_NUMBERS.size :] != _SUM.pack(crc32(numbers)):
            raise _DamagedError
        return Run(*_NUMBERS.unpack(numbers))
