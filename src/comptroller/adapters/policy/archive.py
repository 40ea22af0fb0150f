"""The archive of policy bundles: a folder each, named by its revision.

A folder holds the files as they were, so that it can be checked, tested and compared
as any bundle can, and beside them `sets.json`: what workers get.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from comptroller.adapters.policy.revision import revision_of
from comptroller.core.errors import ContentUnavailableError
from comptroller.engine.policy_ports import BundleFile

SETS_NAME: Final = "sets.json"
_HEX_CHARS: Final = 64
_AGAIN: Final = "; publish the bundle again to put it back"


class PolicyArchive:
    """Keeps bundles in `<folder>/<hex of the revision>/`; one process writes.

    Satisfies `engine.policy_ports.BundleArchive`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, revision: str, files: Sequence[BundleFile], sets: bytes) -> None:
        """Keeps a bundle durably; one that is whole there already stays as it is.

        Raises:
            ContentUnavailableError: it could not be written.
        """
        path = self._path(revision)
        try:
            if self.sets(revision, f"sha256:{hashlib.sha256(sets).hexdigest()}"):
                return
        except ContentUnavailableError:
            pass  # it is new, or a disk has made something else of it
        draft = self._folder / f".{path.name}.new"
        old = self._folder / f".{path.name}.old"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in (draft, old):
                shutil.rmtree(left, ignore_errors=True)
            draft.mkdir(mode=0o700)
            for name, content in [
                *((one.name, one.content) for one in files),
                (SETS_NAME, sets),
            ]:
                _write(draft / name, content)
            _sync(draft)
            if path.exists():
                path.rename(old)
            draft.rename(path)
            _sync(self._folder)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise ContentUnavailableError(
                f"policy {revision} cannot be kept in {self._folder}: {error.strerror}"
            ) from error

    def sets(self, revision: str, digest: str) -> bytes:
        """The sets of a bundle, as they were kept.

        Raises:
            ContentUnavailableError: they are not there, or they or the bundle's
                files were changed.
        """
        self.files(revision)
        path = self._path(revision) / SETS_NAME
        content = _read(path)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ContentUnavailableError(f"{path} was changed{_AGAIN}")
        return content

    def files(self, revision: str) -> Sequence[tuple[str, bytes]]:
        """The names and bytes of a bundle's files.

        Raises:
            ContentUnavailableError: they are not there, or were changed.
        """
        folder = self._path(revision)
        try:
            names = sorted(one.name for one in folder.iterdir())
        except OSError as error:
            raise ContentUnavailableError(
                f"policy {revision} is not in {self._folder}: {error.strerror}{_AGAIN}"
            ) from error
        found = [(name, _read(folder / name)) for name in names if name != SETS_NAME]
        if revision_of(found) != revision:
            raise ContentUnavailableError(
                f"{folder} was changed: it is another bundle{_AGAIN}"
            )
        return found

    def _path(self, revision: str) -> Path:
        # A revision comes from a record: it must not lead out of the folder.
        digits = revision.removeprefix("sha256:")
        if len(digits) != _HEX_CHARS or set(digits) - set("0123456789abcdef"):
            raise ContentUnavailableError(f"{revision!r} is not a bundle's revision")
        return self._folder / digits


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContentUnavailableError(
            f"{path} cannot be read: {error.strerror}{_AGAIN}"
        ) from error


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
