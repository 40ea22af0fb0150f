"""Evidence of controls for tests: heartbeats and moments, as values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from comptroller.engine.control_evidence import NS
from comptroller.engine.control_ports import BeatRow, RecordPlace
from comptroller.engine.control_records import HeartbeatControl, HeartbeatState
from comptroller.engine.controls import BUNDLED, CONTROLS

POLICY: Final = "sha256:aa"


def state(
    revision: int = 1, policy: str | None = POLICY, off: Collection[str] = ()
) -> HeartbeatState:
    """What a worker says that it enforces; the policy's controls only under one."""
    return HeartbeatState(
        registry_revision=revision,
        policy_revision=policy,
        policy_is_usable=True,
        durability="disk",
        every_s=30,
        controls=tuple(
            HeartbeatControl(
                name,
                name not in off and (policy is not None or name not in BUNDLED),
                policy if name in BUNDLED else str(revision),
            )
            for name in CONTROLS
        ),
    )


def beat(
    sequence: int, second: float, said: HeartbeatState | None = None, source: str = "w0"
) -> BeatRow:
    """A heartbeat at a second."""
    return BeatRow(RecordPlace(source, sequence), int(second * NS), said or state())
