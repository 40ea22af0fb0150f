"""The world of one seed: its machine, its processes, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from comptroller.core.registry import Registry
from comptroller.testing.simulation.agenda import Agenda
from comptroller.testing.simulation.centre import Centre
from comptroller.testing.simulation.draw import Draw
from comptroller.testing.simulation.network import CALM, Network
from comptroller.testing.simulation.organization import Organization
from comptroller.testing.simulation.parts import Parts
from comptroller.testing.simulation.plan import Asked, Fault, Plan
from comptroller.testing.simulation.process import Process
from comptroller.testing.simulation.trace import Trace
from comptroller.testing.simulation.witness import Witness
from comptroller.testing.simulation.worker import Worker
from comptroller.testing.system import SequentialIds

_S: Final = 1_000_000_000
WARM_UP_S: Final = 1.5
"""Before the first request: the centre is up, and workers know what is applied."""
DAY_S: Final = 86_400.0


class World:
    """Everything of one seed.

    Args:
        plan: what happens.
        parts: what it happens to.
        say: told what happens, a line each; None: nobody reads it.
    """

    def __init__(
        self, plan: Plan, parts: Parts, say: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self.parts = parts
        self.agenda = Agenda(plan.start_ns - int(WARM_UP_S * _S))
        self.trace = Trace(self.agenda, say)
        self.draw = Draw(f"world {plan.seed}")
        self.ids = SequentialIds()
        self.disk = parts.disk()
        self.store = parts.store()
        self.network = Network(self.agenda, self.trace, self.draw)
        self.witness = Witness(self)
        self.published: tuple[int, Registry | None] = (0, None)
        self.boot = "boot-0"
        self.is_store_away = False
        self.centre: Centre | None = None
        self.workers: dict[int, Worker | None] = {}
        self.all_workers: list[Worker] = []
        self.is_lost = False
        """Whether a journal is gone, so that the books cannot be made anew."""
        self.service_of = {
            client.where.credential: client.where.service
            for client in plan.organization.clients()
        }
        self._fates: dict[Process, str] = {}
        self._is_over = False
        self._is_closing = False

    # -- its course ----------------------------------------------------------

    def begin(self) -> None:
        """Everything is up, configured, and at rest."""
        self._start_centre()
        centre = self.centre
        assert centre is not None  # noqa: S101
        centre.process.run(partial(centre.issue, self.plan.organization))
        centre.process.run(partial(centre.apply, self.plan.organization))
        for number in range(self.plan.workers):
            self._start_worker(number)
        self.pass_time(WARM_UP_S)
        self.network.weather = self.plan.weather

    def let_clients_ask(self) -> None:
        """Requests come, and things go wrong."""
        plan = self.plan
        for asked in plan.requests:
            self.agenda.after(asked.at_s, partial(self._ask, asked))
        for fault in plan.faults:
            self.agenda.after(fault.at_s, partial(self._go_wrong, fault))
        for change in plan.changes:
            self.agenda.after(change.at_s, partial(self._apply, change.to))
        self.pass_time(max(plan.seconds, *(one.at_s for one in plan.requests)) + 0.01)

    def heal(self) -> None:
        """Nothing fails any more, and what was begun comes to its end."""
        self._is_over = True
        self.network.weather = CALM
        self.is_store_away = False
        for process in self.processes():
            process.steps_left = -1
            process.resume()
        for number, worker in self.workers.items():
            if worker is not None and worker.journal.failed:
                worker.process.kill()
            if self.workers[number] is None:
                self._start_worker(number)
        if self.centre is None:
            self._start_centre()
        self.pass_time(2.5)
        for _ in range(60):
            if not self.witness.unanswered:
                break
            self.pass_time(1.0)
        self.pass_time(1.0)

    def close(self) -> None:
        """Every worker ends, one way or the other, and what they leave is closed."""
        self._is_closing = True
        for worker in list(self.workers.values()):
            if worker is None:
                continue
            if self.draw.chance(0.5):
                worker.process.kill()
            else:
                worker.leave()
        self.pass_time(3.0)

    def pass_time(self, seconds: float) -> None:
        """Lets everything happen that happens within a time."""
        agenda = self.agenda
        until_ns = agenda.now_ns() + int(seconds * _S)
        while agenda.step(until_ns):
            pass
        agenda.skip_to(until_ns)

    # -- processes -----------------------------------------------------------

    def processes(self) -> list[Process]:
        """All that live."""
        found = [one.process for one in self.workers.values() if one is not None]
        if self.centre is not None:
            found.append(self.centre.process)
        return found

    def worker_died(self, worker: Worker) -> None:
        """A worker is gone; another takes its place after a while."""
        self.witness.worker_died(worker)
        if self.workers.get(worker.number) is worker:
            self.workers[worker.number] = None
        fate = self._fates.pop(worker.process, "kill")
        if fate == "node":
            worker.journal.is_lost = self.is_lost = True
            self.trace.say(worker.process.name, "has lost its journal")
        elif fate == "power":
            self._lose_power()
        if not self._is_over:
            again_s = self.draw.real(0.05, 1.0)
            self.agenda.after(again_s, partial(self._start_worker, worker.number))

    def centre_died(self, centre: Centre) -> None:
        """The centre is gone; another one follows."""
        if self.network.centre is centre:
            self.network.centre = None
        if self.centre is centre:
            self.centre = None
        for tell in centre.on_death:
            tell()
        if self._fates.pop(centre.process, "kill") == "power":
            self._lose_power()
        self.agenda.after(self.draw.real(0.05, 1.0), self._start_centre)

    def worker_left(self, worker: Worker) -> None:
        """A worker ended as it should."""
        self.trace.say(worker.process.name, "ends")
        self.workers[worker.number] = None

    def _start_worker(self, number: int) -> None:
        if self.workers.get(number) is None and not self._is_closing:
            worker = Worker(self, number)
            self.workers[number] = worker
            self.all_workers.append(worker)
            self.trace.say(worker.process.name, f"starts as {worker.source}")

    def _start_centre(self) -> None:
        if self.centre is None:
            self.centre = Centre(self)
            if not self.centre.process.is_alive:
                self.centre = None

    def _lose_power(self) -> None:
        """Every process ends at once, and what was not durable may be gone."""
        self.trace.say("machine", "has no power")
        for process in self.processes():
            process.kill()
        for journal in self.disk.journals.values():
            if not journal.is_lost:
                journal.lose_power()
        self.boot = f"boot-{self.ids.new()}"

    def publish(self, revision: int, registry: Registry | None) -> None:
        """Every worker notices within a moment."""
        self.published = (revision, registry)
        for worker in self.workers.values():
            if worker is not None:
                worker.look_soon()

    # -- what happens --------------------------------------------------------

    def _ask(self, asked: Asked) -> None:
        worker = self.workers.get(asked.worker)
        if worker is not None:
            worker.process.run(partial(worker.ask, asked))

    def _apply(self, to: Organization) -> None:
        centre = self.centre
        if centre is None or self.network.centre is not centre:
            self.agenda.after(0.3, partial(self._apply, to))
            return
        self.trace.say("somebody", "applies another configuration")
        centre.process.run(partial(centre.apply, to))

    def _go_wrong(self, fault: Fault) -> None:
        if self._is_over:
            return
        self.trace.say(
            "fate", f"{fault.kind} of w{fault.target}, {fault.seconds:.2f} s"
        )
        if fault.kind == "outage":
            self.is_store_away = True
            self.agenda.after(fault.seconds, self._bring_store_back)
        elif fault.kind == "skip":
            for process in self.processes():
                self._pause(process, DAY_S * fault.seconds / 6)
        elif fault.kind == "centre":
            if self.centre is not None:
                self._doom(self.centre.process, "kill", fault.steps)
        else:
            worker = self.workers.get(fault.target)
            if worker is None:
                return
            if fault.kind == "pause":
                self._pause(worker.process, fault.seconds)
            elif fault.kind == "disk":
                worker.process.run(worker.journal.fail)
                self._doom(worker.process, "kill", fault.steps)
            else:
                self._doom(worker.process, fault.kind, fault.steps)

    def _doom(self, process: Process, fate: str, steps: int) -> None:
        """It dies within so many steps, or soon where it takes none."""
        self._fates[process] = fate
        process.steps_left = steps
        self.agenda.after(1.0, process.kill)

    def _pause(self, process: Process, seconds: float) -> None:
        process.pause()
        self.agenda.after(seconds, process.resume)

    def _bring_store_back(self) -> None:
        self.is_store_away = False
