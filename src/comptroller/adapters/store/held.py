"""Whether a legal hold is in force, for a process that loads no more of the store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BUSY_TIMEOUT_S: Final = 0.5
"""The sequencer asks, and again soon: it does not wait for a writer."""
_POSITIONS: Final = "SELECT source, position FROM journals"
_WANTED: Final = "SELECT EXISTS (SELECT 1 FROM legal_holds WHERE lifted_ns IS NULL)"


def positions_without_hold(path: Path) -> Mapping[str, int] | None:
    """How far a store that knows of no legal hold in force has each journal.

    It may be an older copy, which says nothing of what is recorded since: whoever
    deletes something has to look whether a journal has more.

    Args:
        path: of the database.

    Returns:
        By source, in bytes. None: a legal hold is in force, or the store does not
        say; what is deleted does not come back.
    """
    name = f"{path.absolute().as_uri()}?mode=ro"
    try:
        opened = sqlite3.connect(name, uri=True, timeout=BUSY_TIMEOUT_S)
        with contextlib.closing(opened) as connection:
            # First, so that what is placed between the two is beyond them.
            positions = dict(connection.execute(_POSITIONS).fetchall())
            (is_held,) = connection.execute(_WANTED).fetchone()
    except sqlite3.Error:
        return None
    return None if is_held else positions
