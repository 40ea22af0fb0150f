"""Parts: what is simulated, so that a planted bug can take the place of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comptroller.engine.closing import close_dead
from comptroller.engine.holding import Holding
from comptroller.engine.ledger import Ledger
from comptroller.engine.recording import Recorder
from comptroller.engine.recovery import recover
from comptroller.testing.simulation.disk import Disk
from comptroller.testing.simulation.store import WatchedStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What is simulated; a planted bug takes the place of one of these."""

    holding: Callable[..., Holding] = Holding
    ledger: Callable[..., Ledger] = Ledger
    recover: Callable[..., int] = recover
    close_dead: Callable[..., Sequence[str]] = close_dead
    disk: Callable[[], Disk] = Disk
    store: Callable[[], WatchedStore] = WatchedStore
    recorder: Callable[..., Recorder] = Recorder
