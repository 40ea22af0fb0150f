"""The worker: one process of the data plane."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from comptroller.engine.ports import (
    Clock,
    Ids,
    Journal,
    SecretResolver,
    SnapshotStore,
    Upstreams,
)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the wiring gives to a worker."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    """For clients; None: plain HTTP."""
    journal: Callable[[], Journal]
    """Opens this worker's journal; called on the running event loop."""
    snapshots: SnapshotStore
    upstreams: Callable[[], Upstreams]
    """Opens the upstream pool; called on the running event loop."""
    clock: Clock
    ids: Ids
    secrets: SecretResolver
    grace_s: float = 30.0
    """How long a graceful stop waits for requests under way."""
    on_ready: Callable[[], None] | None = None
    """Called when the port is open and a snapshot is loaded."""


async def run_worker(parts: WorkerParts) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way."""
