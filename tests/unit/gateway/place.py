"""A worker's floor between a listening client and providers that a test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from comptroller.core.credential import Credential
from comptroller.core.registry import Service
from comptroller.engine.asking import Holder
from comptroller.engine.desk import Desk
from comptroller.engine.holding import Holding, Ports
from comptroller.engine.judging import Judge
from comptroller.engine.ports import ReplySink
from comptroller.engine.snapshot import Snapshot
from comptroller.gateway.exchange import Exchange
from comptroller.gateway.floor import Floor
from comptroller.gateway.inbound import Inbound
from comptroller.testing.answered import CARD, acme
from comptroller.testing.both_ends import Calling, Listening
from comptroller.testing.deployed import CREDENTIAL, told
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.leasing import ScriptedCentre, ScriptedDesk
from comptroller.testing.system import FakeClock, FixedSecrets, SequentialIds
from comptroller.testing.timers import FakeTimers
from comptroller.testing.upstream import CHAT

SOURCE = "/n/w0/1"
JSON_HEAD = [(b"content-type", b"application/json")]


def snapshot(credential: Credential = CREDENTIAL, *services: Service) -> Snapshot:
    """Of an organization whose one service may use `gpt-5-mini`.

    Args:
        credential: of that service.
        services: it instead; it has no limits.
    """
    registry = acme()
    if services:
        registry = replace(registry, services={one.id: one for one in services})
    return Snapshot(1, 1, registry, [credential], CARD)


class Place:
    """A worker that serves from a snapshot; nothing waits for leases."""

    def __init__(self, served: Snapshot, judge: Judge | None = None) -> None:
        self.clock = FakeClock()
        self.journal = InMemoryJournal(SOURCE)
        self.upstreams = Calling()
        self.floor = Floor(
            self.journal, self.upstreams, self.clock, SequentialIds(), plain=True
        )
        self.equip()
        self.take(served, judge)

    def equip(self) -> None:
        """Adds what a floor must have before it serves: nothing here."""

    def take(self, served: Snapshot, judge: Judge | None = None) -> None:
        """Serves from what is declared."""
        self.floor.take(Desk(served, FixedSecrets({}), judge))

    def begin(self, inbound: Inbound) -> tuple[Exchange, Listening]:
        """Begins a request."""
        client = Listening()
        exchange = Exchange(self.floor, client, inbound)
        exchange.begin()
        return exchange, client

    def sink(self, index: int = -1) -> ReplySink:
        """Of a call: where its provider answers; of the last one unless said."""
        return self.upstreams.calls[index][1]

    def answer(self, index: int = -1, *, status: int = 200, body: bytes = CHAT) -> None:
        """The provider of a call answers."""
        sink = self.sink(index)
        sink.on_head(status, JSON_HEAD)
        sink.on_data(body)
        sink.on_end()

    @property
    def kinds(self) -> list[str]:
        """The kinds of the records of requests, in order."""
        return [kind for kind, _ in told(self.journal)]

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The data of every record of a kind."""
        return [data for found, data in told(self.journal) if found == kind]


class LeasingPlace(Place):
    """A worker with leases from a scripted centre."""

    def equip(self) -> None:
        """Adds leases."""
        self.timers = FakeTimers(self.clock)
        self.centre = ScriptedCentre(self.clock)
        desk = ScriptedDesk(self.centre, self.timers, self.journal)
        ports = Ports(desk, self.floor.recorder, self.clock, self.timers)
        self.holding = Holding(ports, Holder(SOURCE, "boot", "disk"))
        self.floor.holding = self.holding


Made = TypeVar("Made", bound=Place)


def on_a_loop(play: Callable[[Made], None], make: Callable[[], Made]) -> Made:
    """Plays in a place that is made on a loop; the place as it was left."""

    async def run() -> Made:
        place = make()
        play(place)
        return place

    return asyncio.run(run())


def chat(fields: Mapping[str, object], run: bytes = b"") -> Inbound:
    """A chat completion that a client asks for; of `gpt-5-mini` unless said."""
    body = {"model": "gpt-5-mini", "messages": [], **fields}
    return inbound(b"POST", "/v1/chat/completions", json.dumps(body).encode(), run)


def inbound(method: bytes, path: str, body: bytes = b"", run: bytes = b"") -> Inbound:
    """A request as it arrives, under the credential that is served."""
    return Inbound(
        method=method,
        path=path.encode(),
        query=b"",
        lines=[],
        secrets=[b"good"],
        coding=b"",
        body=body,
        keep_alive=True,
        chunked_allowed=True,
        has_host=True,
        is_head=False,
        run=run,
    )
