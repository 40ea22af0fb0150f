"""Beating: a worker says on the record which controls it enforces."""

from __future__ import annotations

import logging
from typing import Final

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.control_records import (
    BY_INTERVAL,
    BY_SNAPSHOT,
    Heartbeat,
    HeartbeatControl,
    HeartbeatState,
)
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.desk import Desk
from comptroller.gateway.floor import Floor

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 30
"""A worker's heartbeats are so far apart at the most, while its event loop runs."""
_LEASED: Final = frozenset({"rate_limit", "concurrency", "budget"})
"""Controls that need the worker's leases."""


class Beating:
    """The heartbeats of one worker.

    Args:
        floor: its own.
        durability: of its journal.
        every_s: how far apart heartbeats are at the most.
    """

    def __init__(
        self, floor: Floor, durability: str, every_s: int = HEARTBEAT_S
    ) -> None:
        self._floor = floor
        self._durability = durability
        self._every_s = every_s
        self._due_s = 0.0
        self._number = 0
        self.is_failed = False
        """Whether a heartbeat could not be recorded: the worker has to stop, since
        what it enforces would not be known."""

    def take(self, desk: Desk) -> None:
        """Records what a desk enforces; before anything is decided by it.

        Raises:
            JournalUnavailableError: it cannot be recorded.
        """
        self._beat(desk, BY_SNAPSHOT)

    def sweep(self) -> None:
        """Once a second: records what is enforced, where that is due."""
        floor = self._floor
        if floor.admission is None or floor.now_s() < self._due_s or self.is_failed:
            return
        try:
            self._beat(floor.admission.desk, BY_INTERVAL)
        except JournalUnavailableError as error:
            log.error("no heartbeat can be recorded: %s", error.message)  # noqa: TRY400  the message says it all

    def _beat(self, desk: Desk, why: str) -> None:
        state = self._state(desk)
        beat = Heartbeat(
            why=why, snapshot=desk.snapshot.sequence, number=self._number, state=state
        )
        try:
            self._floor.recorder.heartbeat(beat)
        except JournalUnavailableError:
            self.is_failed = True
            raise
        self._number += 1
        self._due_s = self._floor.now_s() + self._every_s

    def _state(self, desk: Desk) -> HeartbeatState:
        judge = desk.judge
        revision = desk.snapshot.revision
        policy = judge.revision if judge is not None else None
        return HeartbeatState(
            registry_revision=revision,
            policy_revision=policy,
            policy_is_usable=judge is None or judge.policy is not None,
            durability=self._durability,
            every_s=self._every_s,
            controls=tuple(
                HeartbeatControl(
                    name,
                    self._is_active(name, desk),
                    policy if name in BUNDLED else str(revision),
                )
                for name in CONTROLS
            ),
        )

    def _is_active(self, name: str, desk: Desk) -> bool:
        if name in BUNDLED:
            judge = desk.judge
            if judge is None:
                return False
            # A bundle that cannot be read lets nothing pass.
            return judge.policy is None or name in judge.applying
        if name == "tenant_isolation":
            return self._floor.ownership is not None
        return name not in _LEASED or self._floor.holding is not None
