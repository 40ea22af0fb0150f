"""How the trail is doing, seen from any process: by its files and its lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from typing import Final

import msgspec

from comptroller.adapters.system import SystemClock
from comptroller.adapters.tlog.reader import read_checkpoint, read_file
from comptroller.adapters.tlog.state import STATE_BYTES_MAX, decode_state
from comptroller.bootstrap.place import Place
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import ComptrollerError
from comptroller.engine.trail_keeping import HEARTBEAT_S
from comptroller.engine.trail_ports import TrailStatus, WitnessStatus

LATE_S: Final = 2 * HEARTBEAT_S
STATUS_BYTES_MAX: Final = 1024 * 1024


def is_sequenced(place: Place) -> bool:
    """Whether a process keeps the trail now.

    Raises:
        OSError: the lock cannot be looked at.
    """
    try:
        descriptor = os.open(place.trail / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look do not mislead each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def trail_status(place: Place) -> TrailStatus:
    """How the trail is doing; never raises for what it finds wrong there."""
    origin, size, age_s, minimum = None, 0, None, 0
    is_running, problem = False, None
    try:
        is_running = is_sequenced(place)
        problem = _problem(place)
        minimum = _minimum(place)
        note = read_checkpoint(place.trail)
        if note is not None:
            checkpoint = parse_checkpoint(parse_note(note).body)
            origin, size = checkpoint.origin, checkpoint.head.size
            written_ns = (place.trail / "checkpoint").stat().st_mtime_ns
            age_s = max(0, SystemClock().now_ns() - written_ns) / 1e9
    except (ComptrollerError, OSError) as error:
        problem = problem or str(error)
    if problem is None and not is_running:
        problem = "no sequencer runs"
    elif problem is None and age_s is not None and age_s > LATE_S:
        problem = f"no checkpoint for {age_s:.0f} s"
    witnesses = witness_statuses(place)
    return TrailStatus(origin, size, age_s, is_running, problem, witnesses, minimum)


def _minimum(place: Place) -> int:
    """The first index that is kept, as the writer's state says.

    Raises:
        TrailDamagedError: the state is damaged.
        TrailUnavailableError: it cannot be read.
    """
    data = read_file(place.trail / "state.json", STATE_BYTES_MAX)
    return 0 if data is None else decode_state(data).minimum


def witness_statuses(place: Place) -> Sequence[WitnessStatus]:
    """How the witnesses are doing, as the sequencer last left word; signed by nobody.

    What cannot be read says nothing.
    """
    try:
        data = read_file(place.trail_witnesses, STATUS_BYTES_MAX)
        return msgspec.json.decode(data or b"[]", type=list[WitnessStatus])
    except (ComptrollerError, msgspec.DecodeError):
        return ()


def _problem(place: Place) -> str | None:
    try:
        return place.trail_problem.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
