"""A worker's holding on fakes: a scripted centre, and time that the test moves."""

from __future__ import annotations

from dataclasses import replace

from comptroller.core.account import Where
from comptroller.core.registry import Budget, Limits, Registry, ServiceId, Window
from comptroller.engine.holding import (
    Holder,
    Holding,
    HoldPath,
    Need,
    Ports,
    Shortfall,
    Waiting,
)
from comptroller.engine.recording import Recorder
from comptroller.testing.administration import small_registry
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.leasing import ScriptedCentre, ScriptedDesk
from comptroller.testing.system import FakeClock
from comptroller.testing.timers import FakeTimers

WHERE = Where("acme", "acme", "retail", "checkout", "key-1", None)
MODEL = "small"


def limited_registry(budget: Budget | None, limits: Limits | None = None) -> Registry:
    """A registry whose service checkout has a budget and limits."""
    registry = small_registry()
    name = ServiceId("checkout")
    service = replace(registry.services[name], budget=budget, limits=limits or Limits())
    return replace(registry, services={**registry.services, name: service})


def month_budget(limit: int = 10**12, hold: str = "full") -> Budget:
    """A budget of one month, in nano-USD."""
    return Budget((Window(limit, "month"),), hold=hold)


class World:
    """What all workers share: the time and the centre."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.timers = FakeTimers(self.clock)
        self.centre = ScriptedCentre(self.clock)

    def lessee(self, registry: Registry, source: str = "/n/w0/1") -> Lessee:
        """Another worker."""
        return Lessee(self, registry, source)


class Lessee:
    """One worker, with what its requests were told."""

    def __init__(self, world: World, registry: Registry, source: str) -> None:
        self.world = world
        self.source = source
        self.journal = InMemoryJournal(source)
        self.desk = ScriptedDesk(world.centre, world.timers, self.journal)
        recorder = Recorder(self.journal, world.clock)
        ports = Ports(self.desk, recorder, world.clock, world.timers)
        self.holding = Holding(ports, Holder(source, "boot-1", "disk"))
        self.holding.take(registry, 1)
        world.centre.on_recall[source] = self.holding.recall
        self.told: list[tuple[Need, Shortfall | None]] = []

    def path(self, where: Where = WHERE) -> HoldPath:
        """The path of a request that is admitted now."""
        return self.holding.path(where, MODEL, self.world.clock.now_ns())

    def hold(self, nano_usd: int, tokens: int = 0, where: Where = WHERE) -> Need | None:
        """Holds a request from leases; None: it does not fit."""
        need = Need(nano_usd, nano_usd, tokens)
        path = self.path(where)
        is_held = self.holding.hold(path, need, self.world.clock.now_ns())
        return need if is_held else None

    def wait(self, need: Need, wait_s: float = 1.0, where: Where = WHERE) -> Waiting:
        """Lets a request wait."""
        path = self.path(where)
        return self.holding.wait(
            path, need, lambda short: self.told.append((need, short)), wait_s
        )

    def ask(
        self, nano_usd: int, tokens: int = 0, wait_s: float = 1.0, where: Where = WHERE
    ) -> Need:
        """Lets a new request wait."""
        need = Need(nano_usd, nano_usd, tokens)
        self.wait(need, wait_s, where)
        return need

    def settle(self, need: Need, cost: int, tokens: int = 0) -> None:
        """Ends a request; the centre learns what it cost at once."""
        for balance, amount in need.held or ():
            if balance.is_money:
                used = min(cost, amount)
                self.world.centre.consume(self.source, balance.account, used)
        self.holding.settle(self.path(), need, cost, tokens)

    def answer(self, need: Need) -> Shortfall | None:
        """What a request was told.

        Raises:
            AssertionError: it was told nothing, or more than once.
        """
        told = [short for one, short in self.told if one is need]
        if len(told) != 1:
            raise AssertionError(f"it was told {len(told)} times")
        return told[0]
