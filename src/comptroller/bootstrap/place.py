"""Where everything stands in a data directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from comptroller.core.errors import StoreUnavailableError


class Place(NamedTuple):
    """A data directory and what stands where in it."""

    data: Path

    @property
    def journal(self) -> Path:
        """The folder of the journals."""
        return self.data / "journal"

    @property
    def store(self) -> Path:
        """The store's database."""
        return self.data / "store.sqlite3"

    @property
    def snapshot(self) -> Path:
        """What workers serve from."""
        return self.data / "snapshot.json"

    @property
    def cards(self) -> Path:
        """The folder of all rate cards."""
        return self.data / "rate-cards"

    @property
    def policies(self) -> Path:
        """The folder of all published policy bundles."""
        return self.data / "policy"

    @property
    def lock(self) -> Path:
        """Whose `flock` allows to write the store."""
        return self.data / "control.lock"

    @property
    def socket(self) -> Path:
        """Where the control process is asked."""
        return self.data / "control.sock"

    @property
    def trail(self) -> Path:
        """The folder of the log: checkpoint, tiles, state and lock."""
        return self.data / "trail"

    @property
    def trail_places(self) -> Path:
        """The folder of the index that says where a record is in the log."""
        return self.data / "trail-places"

    @property
    def trail_problem(self) -> Path:
        """What keeps the log from going on, in words; not there: nothing."""
        return self.data / "trail.problem"

    @property
    def trail_witnesses(self) -> Path:
        """How the log's witnesses are doing, JSON; not there: it has none."""
        return self.data / "trail.witnesses.json"

    @property
    def trail_witnessed(self) -> Path:
        """The checkpoint that each witness signed last, a folder each."""
        return self.data / "trail-witnessed"

    @property
    def trail_key(self) -> Path:
        """The key that signs checkpoints, unless another file is named."""
        return self.data / "keys" / "trail.key"

    @property
    def trail_vkey(self) -> Path:
        """The public key of the log, for whoever verifies it."""
        return self.data / "trail.vkey"

    def prepare(self) -> None:
        """Makes the directory, for this account only.

        Raises:
            StoreUnavailableError: it cannot be made, or this account may not write
                it; reading needs that, too, since it projects first.
        """
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreUnavailableError(
                f"the data directory {self.data} cannot be made: {error.strerror};"
                " name another with --data"
            ) from error
        if not os.access(self.data, os.R_OK | os.W_OK | os.X_OK):
            raise StoreUnavailableError(
                f"the data directory {self.data} cannot be written by this account,"
                " and who reads it is recorded there, too: run as the one that serves"
                " it, or name another with --data; python -m comptroller.verify checks"
                " a copy of its trail and writes nothing"
            )


def say(line: str) -> None:
    """Tells people something, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
