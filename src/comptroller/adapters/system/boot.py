"""Which boot of the machine this is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A name that changes when the machine starts anew: then unsynced data is lost.

    A container that hides it gets the empty name: every boot looks like this one.
    """
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
