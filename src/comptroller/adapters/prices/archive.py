"""The archive of rate cards: one file a version, never changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from comptroller.core.errors import StoreUnavailableError
from comptroller.core.rates import RateCard, version_of

_DECODER: Final = msgspec.json.Decoder(RateCard)


class CardArchive:
    """Keeps cards as `<version>.json` in a folder.

    Satisfies `engine.ports.RateCards`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, card: RateCard) -> None:
        """Keeps a card durably; keeping it again changes nothing.

        Raises:
            StoreUnavailableError: it could not be written.
        """
        path = self._path(card.version)
        if path.exists():
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(msgspec.json.encode(card))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreUnavailableError(
                f"rate card {card.version} cannot be kept in {self._folder}: {error}"
            ) from error

    def card(self, version: str) -> RateCard | None:
        """The card of a version; None: it is not kept here.

        Raises:
            StoreUnavailableError: the file is not the card that its name says.
        """
        path = self._path(version)
        try:
            card = _DECODER.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreUnavailableError(f"{path} cannot be read: {error}") from error
        if version_of(card) != version:
            raise StoreUnavailableError(f"{path} was changed: it is another card")
        return card

    def _path(self, version: str) -> Path:
        # A version comes from a record: it must not lead out of the folder.
        return self._folder / f"{Path(version).name}.json"
