"""Wiring of a gateway worker."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from comptroller.adapters.control.leasing import LeaseDeskClient
from comptroller.adapters.control.objects import ObjectDeskClient
from comptroller.adapters.disclosures import DisclosureWriter, FilePromptKeys
from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import GroupCommitJournal
from comptroller.adapters.processes import HOPELESS, Lifeline
from comptroller.adapters.scanner import SHORT_SCAN_CPU_S_MAX, RE2Scanner
from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.adapters.system import (
    EnvFileSecretResolver,
    LoopTimers,
    SystemClock,
    SystemEntropy,
    UlidIds,
    boot_id,
)
from comptroller.adapters.tokenizer import OpenAITokenizers
from comptroller.adapters.upstreams.pool import UpstreamPool
from comptroller.bootstrap.personal import disclosures, prompt_keys
from comptroller.bootstrap.place import Place, say
from comptroller.bootstrap.policy_language import policy_of
from comptroller.bootstrap.tls import tls_context
from comptroller.core.errors import ComptrollerError, ConfigurationError
from comptroller.engine.asking import Holder
from comptroller.engine.holding import Holding, Ports
from comptroller.engine.ownership import Ownership
from comptroller.engine.ports import Clock
from comptroller.engine.recording import Recorder
from comptroller.gateway.beating import HEARTBEAT_S
from comptroller.gateway.bounds import ClientBounds
from comptroller.gateway.worker import Leases, PersonalData, WorkerParts, run_worker


class WorkerOptions(msgspec.Struct, frozen=True):
    """What a worker is told on its command line, as JSON."""

    data: str
    name: str
    """`w0`, `w1` …"""
    host: str
    port: int
    durability: Literal["disk", "process"]
    grace_s: float
    tls_cert: str | None = None
    tls_key: str | None = None
    lifeline: int | None = None
    bounds: ClientBounds = ClientBounds()
    heartbeat_s: int = HEARTBEAT_S


def main(options: str) -> None:
    """Runs one worker until SIGTERM or the supervisor's death."""
    told = msgspec.json.decode(options, type=WorkerOptions)
    try:
        uvloop.run(_work(told))
    except ConfigurationError as error:
        say(f"worker {told.name}: {error.message}")
        sys.exit(HOPELESS)
    except ComptrollerError as error:
        say(f"worker {told.name}: {error.message}")
        sys.exit(1)


async def _work(told: WorkerOptions) -> None:
    place = Place(Path(told.data))
    clock = SystemClock()
    ids = UlidIds(clock, SystemEntropy())
    lifeline = Lifeline(told.lifeline)
    lifeline.watch()
    name = journal_name(socket.gethostname(), told.name, ids.new())
    await run_worker(
        WorkerParts(
            host=told.host,
            port=told.port,
            tls=tls_context(told.tls_cert, told.tls_key),
            journal=lambda: GroupCommitJournal(
                place.journal, name, clock, ids, told.durability
            ),
            snapshots=FileSnapshotStore(place.snapshot),
            upstreams=UpstreamPool,
            leases=partial(_leases, place, clock, told.durability),
            counter=OpenAITokenizers(),
            scanner=RE2Scanner(),
            short_scanner=RE2Scanner(cpu_s_max=SHORT_SCAN_CPU_S_MAX),
            policy_of=policy_of,
            clock=clock,
            ids=ids,
            secrets=EnvFileSecretResolver(os.environ, Path.cwd()),
            bounds=told.bounds,
            personal_data=partial(_personal_data, place),
            durability=told.durability,
            heartbeat_s=told.heartbeat_s,
            grace_s=told.grace_s,
            on_ready=lifeline.ready,
        )
    )


def _personal_data(place: Place, source: str) -> PersonalData:
    """What a worker writes of persons, in files named after its journal's source."""
    name = source.strip("/").replace("/", ".")
    sink = DisclosureWriter(disclosures(place), name)
    return PersonalData(SystemEntropy(), sink, FilePromptKeys(prompt_keys(place)))


def _leases(
    place: Place, clock: Clock, durability: str, source: str, recorder: Recorder
) -> Leases:
    """Opens a worker's leases, and listens for what is needed elsewhere."""

    def recalled(accounts: Sequence[str]) -> None:
        holding.recall(accounts)

    desk = LeaseDeskClient(place.socket, source, recalled)
    objects = ObjectDeskClient(place.socket)
    timers = LoopTimers()
    holding = Holding(
        Ports(desk, recorder, clock, timers), Holder(source, boot_id(), durability)
    )
    desk.start()

    async def close() -> None:
        await objects.close()
        await desk.close()

    return Leases(holding, Ownership(objects, timers), close)
