"""The side table of disclosures as a whole: read, and overwritten where one is erased.

What discloses people of the configuration is in files of its own, in a folder below.
Lines are overwritten in place, and no file is replaced by another: a worker that
appends to a file at this moment would go on writing into the one that was replaced,
and its lines would be lost. A file that nobody writes to and that holds nothing but
blanks is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from comptroller.adapters.disclosures.keeping import keep_file, sync_folder
from comptroller.adapters.disclosures.writer import SUFFIX
from comptroller.core.errors import StoreUnavailableError
from comptroller.engine.privacy_ports import DisclosureLine, Held, Span

_INTENT: Final = "erasing.json"
_PEOPLE: Final = "people"

_line: Final = msgspec.json.Decoder(DisclosureLine).decode


class FileDisclosureTable:
    """The DisclosureTable port on a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._intent = directory / _INTENT

    def lines(self, trace: bytes = b"") -> Sequence[Held]:
        """What discloses requests, oldest first; blanks and unfinished lines left out.

        Args:
            trace: only lines in which these bytes stand.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """
        with self._answering("read"):
            found = [
                Held(line, span)
                for path in self._files()
                for span, line in _read(path, path.name, trace)
                if line is not None
            ]
        return sorted(found, key=lambda one: one.line.id)

    def people(self) -> Sequence[Held]:
        """What discloses people of the configuration, in the order it was kept.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """
        with self._answering("read"):
            return [
                Held(line, span)
                for path in self._files_of_people()
                for span, line in _read(path, f"{_PEOPLE}/{path.name}")
                if line is not None
            ]

    def keep(self, name: str, lines: Sequence[DisclosureLine]) -> None:
        """Keeps durably what discloses people.

        Args:
            name: of a file that is not there yet; later names sort after it.
            lines: by the ids of the people.

        Raises:
            StoreUnavailableError: the disk refuses; some may be kept.
        """
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        folder = self._directory / _PEOPLE
        with self._answering("written"):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            # It has its name at once: of what a kill leaves unfinished every line
            # can be read and erased.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(folder / f"{name}{SUFFIX}", flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            for one in (folder, self._directory, self._directory.parent):
                sync_folder(one)

    def broken(self) -> Sequence[Span]:
        """What cannot be read, in files that nobody writes to any more.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """
        with self._answering("read"):
            files = [(path, path.name) for path in self._files()]
            files += [(one, f"{_PEOPLE}/{one.name}") for one in self._files_of_people()]
            return [
                span
                for path, name in files
                if _is_complete(path)
                for span, line in _read(path, name)
                if line is None
            ]

    def blank(self, spans: Sequence[Span]) -> None:
        """Overwrites bytes with blanks, durably; doing so again changes nothing.

        Raises:
            StoreUnavailableError: the disk refuses; some may be overwritten.
        """
        with self._answering("written"):
            for file, ours in groupby(sorted(spans), key=lambda one: one.file):
                path = self._directory / file
                if not path.exists():
                    continue  # it was done before, and nothing was left in it
                _overwrite(path, list(ours))
                if _is_complete(path) and not path.read_bytes().strip():
                    path.unlink()
            for folder in (self._directory / _PEOPLE, self._directory):
                if folder.exists():
                    sync_folder(folder)

    def intend(self, intent: bytes) -> None:
        """Keeps durably what is about to be done, in place of what was.

        Raises:
            StoreUnavailableError: the disk refuses; nothing is kept.
        """
        with self._answering("written"):
            keep_file(self._intent, intent)

    def intent(self) -> bytes | None:
        """What was about to be done; None: nothing.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """
        with self._answering("read"):
            try:
                return self._intent.read_bytes()
            except FileNotFoundError:
                return None

    def forget(self) -> None:
        """It is done.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        with self._answering("written"):
            self._intent.unlink(missing_ok=True)
            sync_folder(self._directory)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{SUFFIX}"))

    def _files_of_people(self) -> list[Path]:
        return sorted((self._directory / _PEOPLE).glob(f"*{SUFFIX}"))

    @contextlib.contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(
                f"the disclosures in {self._directory} cannot be {what}:"
                f" {error.strerror}"
            ) from error


def _read(
    path: Path, name: str, trace: bytes = b""
) -> Iterator[tuple[Span, DisclosureLine | None]]:
    """Every line that is not blank, without its line feed; None: it cannot be read.

    The name is the file's in the table. A file that is being written to may end in
    the middle of a line.
    """
    offset = 0
    for text in path.read_bytes().splitlines(keepends=True):
        size = len(text.rstrip(b"\n"))
        if trace in text and text.strip():
            line = None
            if text.endswith(b"\n"):
                with contextlib.suppress(msgspec.MsgspecError, ValueError):
                    line = _line(text)
            yield Span(name, offset, size), line
        offset += len(text)


def _is_complete(path: Path) -> bool:
    """Whether nobody writes to a file any more: its writer would hold its lock."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _overwrite(path: Path, spans: Sequence[Span]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for span in spans:
            done = 0
            while done < span.size:
                blanks = b" " * (span.size - done)
                done += os.pwrite(descriptor, blanks, span.offset + done)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
