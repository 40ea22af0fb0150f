"""The keys of prompt fingerprints: a file a tenant, for this account only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from comptroller.adapters.disclosures.keeping import keep_file
from comptroller.core.errors import StoreUnavailableError

log = logging.getLogger(__name__)

KEY_BYTES: Final = 32
"""As long as the hash that it keys (RFC 2104 §3)."""


class FilePromptKeys:
    """The PromptKeys port on a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self, tenants: Sequence[str], make: Callable[[], bytes]) -> None:
        """Makes a key for every tenant that has none yet, durably.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        try:
            absent = [one for one in tenants if not self._path(one).exists()]
            if not absent:
                return
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for tenant in absent:
                keep_file(self._path(tenant), make())
        except OSError as error:
            raise StoreUnavailableError(
                f"the keys in {self._directory} cannot be made: {error.strerror}"
            ) from error

    def read(self, tenants: Sequence[str]) -> dict[str, bytes]:
        """The keys that there are, by tenant; what is wrong with others is logged."""
        found: dict[str, bytes] = {}
        for tenant in tenants:
            path = self._path(tenant)
            try:
                key = path.read_bytes()
            except OSError as error:
                why = error.strerror
                log.error("no fingerprints for %s: %s: %s", tenant, path, why)  # noqa: TRY400  it says it all
                continue
            if len(key) == KEY_BYTES:
                found[tenant] = key
            else:
                log.error(
                    "no fingerprints for %s: %s has %d bytes instead of %d",
                    *(tenant, path, len(key), KEY_BYTES),
                )
        return found

    def _path(self, tenant: str) -> Path:
        return self._directory / f"{tenant}.key"
