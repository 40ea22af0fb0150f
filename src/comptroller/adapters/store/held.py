"""Whether a legal hold is in force, for a process that loads no more of the store."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

BUSY_TIMEOUT_S: Final = 0.5
"""The sequencer asks, and again soon: it does not wait for a writer."""
_WANTED: Final = "SELECT EXISTS (SELECT 1 FROM legal_holds WHERE lifted_ns IS NULL)"


def may_be_held(path: Path) -> bool:
    """Whether a legal hold is in force, as far as the store says.

    Args:
        path: of the database.

    Returns:
        True also where it does not say: what is deleted does not come back.
    """
    name = f"{path.absolute().as_uri()}?mode=ro"
    try:
        opened = sqlite3.connect(name, uri=True, timeout=BUSY_TIMEOUT_S)
        with contextlib.closing(opened) as connection:
            (is_held,) = connection.execute(_WANTED).fetchone()
    except sqlite3.Error:
        return True
    return bool(is_held)
