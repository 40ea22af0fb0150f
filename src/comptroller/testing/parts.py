"""Work in parts for tests of processes: they import it by its name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

PART_S = 0.02


def done_by(part: Sequence[bytes]) -> tuple[int, bytes]:
    """Which process did a part, and which part it was; takes a moment."""
    time.sleep(PART_S)
    return os.getpid(), part[0]


def dies_elsewhere(here: int, part: Sequence[bytes]) -> bytes:
    """The part; any process but one dies of it."""
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(PART_S)
    return part[0]
