"""The salts of legal holds on end users: a file each, for this account only."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from comptroller.adapters.disclosures.keeping import (
    destroy_file,
    keep_file,
    sync_folder,
)
from comptroller.core.disclosure import SALT_BYTES
from comptroller.core.errors import StoreUnavailableError

_SUFFIX: Final = ".salt"


class FileLegalHoldSalts:
    """The LegalHoldSalts port on a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, hold_id: str, salt: bytes) -> None:
        """Keeps the salt of a new legal hold durably.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        with self._answering("kept"):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self._directory.parent)
            keep_file(self._path(hold_id), salt)

    def read(self, hold_id: str) -> bytes | None:
        """The salt of a legal hold; None: it is not there, or cannot be used.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """
        with self._answering("read"):
            try:
                salt = self._path(hold_id).read_bytes()
            except FileNotFoundError:
                return None
        return salt if len(salt) == SALT_BYTES else None

    def keep_only(self, hold_ids: Collection[str]) -> None:
        """Destroys the salts of all other legal holds.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        kept = {self._path(one) for one in hold_ids}
        with self._answering("destroyed"):
            if not self._directory.exists():
                return
            others = [one for one in self._directory.iterdir() if one not in kept]
            for path in others:
                destroy_file(path)
            if others:
                sync_folder(self._directory)

    def _path(self, hold_id: str) -> Path:
        return self._directory / f"{hold_id}{_SUFFIX}"

    @contextlib.contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailableError(
                f"the salts of legal holds in {self._directory} cannot be {what}:"
                f" {error.strerror}"
            ) from error
