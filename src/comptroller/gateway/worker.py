"""The worker: one process of the data plane."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from comptroller.core.errors import (
    ConflictError,
    JournalUnavailableError,
    StoreUnavailableError,
)
from comptroller.core.policy.plain import PlainSet
from comptroller.core.policy.rules import Policy
from comptroller.core.registry import Privacy, Registry
from comptroller.engine import refusals
from comptroller.engine.desk import Desk
from comptroller.engine.discretion import Discretion
from comptroller.engine.holding import Holding
from comptroller.engine.ownership import Ownership
from comptroller.engine.ports import (
    Clock,
    Entropy,
    Ids,
    Journal,
    SecretResolver,
    SnapshotStore,
    TokenCounter,
    Upstreams,
)
from comptroller.engine.privacy_ports import DisclosureSink, PromptKeys
from comptroller.engine.recording import Recorder
from comptroller.engine.scanning import PromptScanner
from comptroller.engine.snapshot import decode
from comptroller.gateway.beating import HEARTBEAT_S, Beating
from comptroller.gateway.bounds import ClientBounds
from comptroller.gateway.client import ClientConnection
from comptroller.gateway.floor import Floor
from comptroller.gateway.gathering import Scans
from comptroller.gateway.loading import Loading

log = logging.getLogger(__name__)

SNAPSHOT_EVERY_S: Final = 0.2
"""How often a worker looks for a new snapshot: revocation takes this long at most."""
SWEEP_EVERY_S: Final = 1.0
BACKLOG: Final = 4096


class PersonalData(NamedTuple):
    """What a worker writes of persons, and by what."""

    entropy: Entropy
    sink: DisclosureSink
    keys: PromptKeys

    def discretion(self, registry: Registry) -> Discretion | None:
        """What records say of persons by a registry; None: nothing."""
        privacy = registry.gateway.privacy
        if privacy == Privacy():
            return None
        tenants = tuple(registry.tenants) if privacy.prompt_fingerprint else ()
        return Discretion(privacy, self.entropy, self.sink, self.keys.read(tenants))


class Leases(NamedTuple):
    """What a worker has of the centre, and how its conversations are ended."""

    holding: Holding
    ownership: Ownership
    """Whose stored objects are."""
    close: Callable[[], Awaitable[None]]


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
    leases: Callable[[str, Recorder], Leases]
    """Opens the leases of a journal's source; called on the running event loop."""
    counter: TokenCounter
    scanner: PromptScanner
    """Scans long prompts, in a thread."""
    short_scanner: PromptScanner
    """Scans short ones on the event loop, and gives up soon."""
    policy_of: Callable[[Sequence[PlainSet]], Policy]
    """Compiles a policy that was checked before; raises where it is none."""
    clock: Clock
    ids: Ids
    secrets: SecretResolver
    bounds: ClientBounds
    personal_data: Callable[[str], PersonalData]
    """Opens what a journal's source writes of persons."""
    durability: str = "disk"
    """Of the journal; what heartbeats say of it."""
    heartbeat_s: int = HEARTBEAT_S
    """How far apart heartbeats are at the most."""
    grace_s: float = 30.0
    """How long a graceful stop waits for requests under way."""
    on_ready: Callable[[], None] | None = None
    """Called when the port is open and a snapshot was looked for."""


async def run_worker(parts: WorkerParts) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way.

    Raises:
        JournalUnavailableError: the journal cannot be opened, or it failed: what was
            under way is finished, and only a new process can record again.
        ConflictError: the ledger takes this process for dead; likewise.
        OSError: the port cannot be opened.
    """
    loop = asyncio.get_running_loop()
    journal = parts.journal()
    upstreams = parts.upstreams()
    floor = Floor(journal, upstreams, parts.clock, parts.ids, plain=parts.tls is None)
    floor.bounds = parts.bounds
    floor.counter = parts.counter
    scans = floor.scans = Scans(parts.scanner)
    leases = parts.leases(journal.source, floor.recorder)
    holding = floor.holding = leases.holding
    floor.ownership = leases.ownership
    personal_data = parts.personal_data(journal.source)
    floor.discretion_of = personal_data.discretion
    beating = Beating(floor, parts.durability, parts.heartbeat_s)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def is_over() -> bool:
        return journal.failed or beating.is_failed or holding.is_fenced

    beats = [
        _Beat(SNAPSHOT_EVERY_S, lambda: _refresh(floor, parts, beating)),
        _Beat(SWEEP_EVERY_S, floor.sweep),
        _Beat(SWEEP_EVERY_S, beating.sweep),
        _Beat(SNAPSHOT_EVERY_S, lambda: stop.set() if is_over() else None),
    ]
    for beat in beats:
        beat.start()
    try:
        server = await _listen(floor, parts)
        _spare_the_collector()
        if parts.on_ready is not None:
            parts.on_ready()
        await stop.wait()
        server.close()
        await _finish(floor, parts.grace_s)
    finally:
        for beat in beats:
            beat.stop()
        floor.record_strangers()
        await leases.close()
        await upstreams.close()
        scans.close()
        journal.close()
        personal_data.sink.close()
    _tell_why(journal, holding, beating)


async def _listen(floor: Floor, parts: WorkerParts) -> asyncio.Server:
    """Opens the port, which the other workers share."""
    return await asyncio.get_running_loop().create_server(
        lambda: ClientConnection(floor),
        parts.host,
        parts.port,
        reuse_port=True,
        backlog=BACKLOG,
        ssl=parts.tls,
    )


def _tell_why(journal: Journal, holding: Holding, beating: Beating) -> None:
    """Says why the worker stopped, where nobody asked it to."""
    if journal.failed or beating.is_failed:
        raise JournalUnavailableError(
            f"the journal {journal.source} failed; a new process needs a new one"
            " (is the disk full?)"
        )
    if holding.is_fenced:
        raise ConflictError(
            f"the ledger has closed the leases of {journal.source}; a new process"
            " begins with none"
        )


def _spare_the_collector() -> None:
    """Lets the garbage collector look for cycles seldom.

    Requests make none, and what is loaded stays: measured at 256 connections, the
    collector's looking at both cost a tenth of the CPU. Cycles of rare paths are
    still found, after so many allocations more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class _Beat:
    """Calls something at even intervals."""

    def __init__(self, every_s: float, call: Callable[[], None]) -> None:
        self._every_s = every_s
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Calls now, and again and again."""
        self._handle = asyncio.get_running_loop().call_later(self._every_s, self.start)
        self._call()

    def stop(self) -> None:
        """Calls no more."""
        if self._handle is not None:
            self._handle.cancel()


def _refresh(floor: Floor, parts: WorkerParts, beating: Beating) -> None:
    """Takes a new snapshot where there is one; a bad one never replaces a good one."""
    try:
        data = parts.snapshots.read_if_changed()
        if data is None:
            return
        snapshot = decode(data)
        before = floor.admission.desk.judge if floor.admission is not None else None
        loading = Loading(parts.policy_of, parts.short_scanner, floor.recorder)
        judge = loading.load(snapshot.policy, before)
        desk = Desk(snapshot, parts.secrets, judge)
        beating.take(desk)
        floor.take(desk)
    except StoreUnavailableError as error:
        log.error("the snapshot cannot be taken: %s", error.message)  # noqa: TRY400  the message says it all
    except JournalUnavailableError as error:
        # Nothing is decided by what is not recorded: neither by a policy without its
        # loading, nor by a snapshot without its heartbeat.
        log.error("the snapshot cannot be recorded: %s", error.message)  # noqa: TRY400  likewise


async def _finish(floor: Floor, grace_s: float) -> None:
    """Lets requests under way finish; cuts those that outlast the grace."""
    floor.stopping = True
    deadline_s = floor.now_s() + grace_s
    for connection in tuple(floor.connections):
        connection.close_if_idle()
    while (  # noqa: ASYNC110  three sets, no one place that tells
        floor.exchanges or floor.waiting or floor.connections
    ) and floor.now_s() < deadline_s:
        await asyncio.sleep(0.02)
    for exchange in (*floor.exchanges, *floor.waiting):
        exchange.cut(refusals.STOPPING)
    for connection in tuple(floor.connections):
        connection.abort()
    await asyncio.sleep(0)
