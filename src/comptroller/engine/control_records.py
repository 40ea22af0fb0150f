"""Records of which controls a worker enforces; see `engine.records` for the envelope.

A heartbeat says what a worker decides by from then on: it stands in the worker's
journal before the first decision by a new snapshot, and again at even intervals, so
that a time without decisions is covered, too.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

CONTROL_HEARTBEAT: Final = "comptroller.control.heartbeat.v1"

BY_SNAPSHOT: Final = "snapshot"
BY_INTERVAL: Final = "interval"


class HeartbeatControl(msgspec.Struct, frozen=True):
    """One control of a worker."""

    id: str
    """One of `engine.controls.CONTROLS`."""
    is_active: bool
    """Whether it is enforced, for whom anything is declared."""
    revision: str | None
    """What configures it: the registry's revision, or the policy bundle's; None: the
    bundle's, and there is none."""


class HeartbeatState(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker decides by; the same for most of its heartbeats."""

    registry_revision: int
    policy_revision: str | None
    """The bundle that decides; None: none does."""
    policy_is_usable: bool
    """False: the worker cannot read the bundle, and refuses what it would decide."""
    durability: str
    """`disk` or `process`: what a decision has survived before it is acted upon."""
    every_s: int
    """The next heartbeat follows within so many seconds."""
    controls: tuple[HeartbeatControl, ...]

    def control(self, name: str) -> HeartbeatControl | None:
        """One control; None: that release did not know it."""
        return next((one for one in self.controls if one.id == name), None)


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `control.heartbeat`, in a worker's own journal."""

    why: str
    """`snapshot`: it takes a new one; `interval`: the last heartbeat is so old."""
    snapshot: int
    """Sequence of the snapshot that it serves from."""
    number: int | None = None
    """Of the heartbeats in its journal, from 0: none is missing between two that follow
    one another. None: an older release did not count them."""
    state: HeartbeatState


class JournalStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `journal.started`: a process began to record."""

    process: int = 0


class JournalSealed(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `journal.sealed`: what its process wrote since the seal before."""

    begin: int = msgspec.field(name="from")
    """Sequence of the first record of these: the seal before, or 0."""
    sha256: str
    """Of their lines, each with its newline, up to this one; 64 hex digits."""


class JournalClosed(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `journal.closed`: it ended in order; nothing follows in its journal.

    It is a seal, too; older releases closed without one.
    """

    begin: int | None = msgspec.field(name="from", default=None)
    sha256: str | None = None


SignData: TypeAlias = Heartbeat | JournalStarted | JournalClosed
"""What shows that a process lived."""
