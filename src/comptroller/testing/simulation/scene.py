"""The scene: what a process, and who watches it, sees of the world around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from comptroller.core.account import Where
from comptroller.core.registry import Registry
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.holding import Holding
from comptroller.engine.leasing import AskLeases, Leased
from comptroller.engine.ledger import Ledger
from comptroller.testing.simulation.agenda import Agenda
from comptroller.testing.simulation.plan import Asked, Plan
from comptroller.testing.simulation.process import Process
from comptroller.testing.simulation.store import WatchedStore
from comptroller.testing.simulation.trace import Trace


class SeenWorker(Protocol):
    """A worker."""

    @property
    def source(self) -> str:
        """Of its journal."""

    @property
    def process(self) -> Process:
        """What may die."""

    @property
    def holding(self) -> Holding:
        """The real one."""


class SeenExchange(Protocol):
    """A request at a worker."""

    @property
    def id(self) -> str:
        """Of its decision."""

    @property
    def worker(self) -> SeenWorker:
        """Where it is."""

    @property
    def asked(self) -> Asked:
        """What the client wants."""

    @property
    def where(self) -> Where:
        """Whose it is."""

    @property
    def path(self) -> HoldPath | None:
        """What it is held on; None: it was not looked at yet."""

    @property
    def need(self) -> Need:
        """What is to be held."""

    @property
    def bound(self) -> int:
        """The most that it may cost."""

    @property
    def cost(self) -> int:
        """What the provider bills."""

    @property
    def began_s(self) -> float:
        """When it came."""


class SeenCentre(Protocol):
    """The control process, as messages meet it."""

    @property
    def process(self) -> Process:
        """What may die."""

    @property
    def ledger(self) -> Ledger:
        """The real one."""

    @property
    def on_death(self) -> list[Callable[[], None]]:
        """Called when it dies."""

    @property
    def judge(self) -> AskJudge:
        """Who looks at what is answered."""

    def look_after_ledger(self) -> None:
        """Ends the process when only a new one can go on with the ledger."""


class AskJudge(Protocol):
    """Looks at asks and what they are answered."""

    def asked(self, asked: AskLeases) -> None:
        """An ask has come."""

    def answered(self, asked: AskLeases, leased: Leased) -> None:
        """The centre answers an ask."""

    def returned(self) -> None:
        """Something came back."""


class Scene(Protocol):
    """The world, as it is watched."""

    @property
    def plan(self) -> Plan:
        """What happens."""

    @property
    def agenda(self) -> Agenda:
        """The time."""

    @property
    def trace(self) -> Trace:
        """Where to say what happens."""

    @property
    def store(self) -> WatchedStore:
        """What is projected."""

    @property
    def workers(self) -> Mapping[int, SeenWorker | None]:
        """Those that live, by number."""

    @property
    def published(self) -> tuple[int, Registry | None]:
        """What is applied, and its revision."""

    @property
    def service_of(self) -> Mapping[str, str]:
        """The service of each credential."""
