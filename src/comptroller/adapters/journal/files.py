"""The files of journals, for whoever deletes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from comptroller.adapters.journal.naming import from_file
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.deletion_ports import SegmentMark, SegmentPart


class DirectoryJournalFiles:
    """The JournalFiles port on a directory of segments."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def list(self) -> Mapping[str, Sequence[SegmentMark]]:
        """The files that there are, by source, in order of their offsets.

        Raises:
            JournalUnavailableError: they cannot be looked at.
        """
        found: dict[str, list[SegmentMark]] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    segment = from_file(entry.name)
                    if segment is None or not entry.is_file():
                        continue
                    mark = _mark(entry.name, segment[1], entry.stat())
                    found.setdefault(segment[0].source, []).append(mark)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unavailable(error) from error
        return {
            source: sorted(marks, key=lambda one: one.offset)
            for source, marks in found.items()
        }

    def read(self, mark: SegmentMark, offset: int, bytes_max: int) -> SegmentPart:
        """Lines of a file that still is as it was marked.

        Raises:
            JournalUnavailableError: it is another one by now, or cannot be read.
        """
        try:
            with (self._directory / mark.name).open("rb") as file:
                self._check(mark, os.fstat(file.fileno()))
                data = os.pread(file.fileno(), bytes_max, offset)
        except OSError as error:
            raise self._unavailable(error) from error
        lines = data.split(b"\n")
        is_last = offset + len(data) >= mark.size or len(lines) == 1
        return SegmentPart(lines[:-1], is_last)

    def remove(self, marks: Sequence[SegmentMark]) -> None:
        """Removes files for good, durably, each only if it is as it was marked.

        Raises:
            JournalUnavailableError: one is another by now, or the disk refuses; some
                may be removed.
        """
        try:
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for mark in sorted(marks, key=lambda one: one.offset):
                    self._check(mark, os.stat(mark.name, dir_fd=folder))
                    os.unlink(mark.name, dir_fd=folder)
                    # A journal never seems to be cut, not after a power loss either.
                    os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unavailable(error) from error

    def _check(self, mark: SegmentMark, found: os.stat_result) -> None:
        if _mark(mark.name, mark.offset, found) != mark:
            raise JournalUnavailableError(
                f"{self._directory / mark.name} was changed meanwhile"
            )

    def _unavailable(self, error: OSError) -> JournalUnavailableError:
        return JournalUnavailableError(f"the journals in {self._directory}: {error}")


def _mark(name: str, offset: int, found: os.stat_result) -> SegmentMark:
    size, written_ns = found.st_size, found.st_mtime_ns
    return SegmentMark(name, offset, size, written_ns, found.st_dev, found.st_ino)
