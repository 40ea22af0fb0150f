"""Simulated workers: the real holding and recorder, on simulated everything else."""

from __future__ import annotations

from typing import Final, Protocol

from comptroller.core.account import Where
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine import records
from comptroller.engine.asking import Holder
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.holding import Holding, Ports
from comptroller.engine.recording import Recorder
from comptroller.engine.waiting import Shortfall, Waiting
from comptroller.testing.simulation.disk import SimulatedJournal
from comptroller.testing.simulation.machine import Machine
from comptroller.testing.simulation.network import Line
from comptroller.testing.simulation.plan import Asked
from comptroller.testing.simulation.process import Process

LOOK_S: Final = 0.2
"""Between looks at what is applied."""
LEAVE_S: Final = 0.5
WAIT_S: Final = 0.25
ROUNDS_MAX: Final = 4
"""As in engine/reservation.py."""


class WorkerWorld(Machine, Protocol):
    """What a worker needs of the world."""

    def worker_died(self, worker: Worker) -> None:
        """A worker is gone."""

    def worker_left(self, worker: Worker) -> None:
        """A worker ended as it should."""


class Worker:
    """One worker process, from its start to its death."""

    def __init__(self, world: WorkerWorld, number: int) -> None:
        self.world = world
        self.number = number
        self.source = f"/node/w{number}/{world.ids.new()}"
        agenda = world.agenda
        self.process = Process(
            self.source[6:8] + "#" + self.source[-3:], agenda, world.trace
        )
        self.process.on_killed = lambda: world.worker_died(self)
        self.boot = world.boot
        self.journal = SimulatedJournal(
            self.source,
            self.process,
            world.draw,
            to_disk=world.plan.durability == "disk",
        )
        world.disk.keep(self.journal)
        self.line = Line(world.network, self.process, self.source)
        self.recorder: Recorder = world.parts.recorder(self.journal, agenda)
        holder = Holder(self.source, world.boot, world.plan.durability)
        ports = Ports(self.line, self.recorder, agenda, self.process)
        self.holding: Holding = world.parts.holding(ports, holder)
        self.line.on_recall = self.holding.recall
        self.revision = 0
        self._look()
        self.process.call_later(0, self.line.listen)

    def ask(self, asked: Asked) -> None:
        """A client's request arrives."""
        if not self.revision:
            self.world.witness.unready(asked)
            return
        Exchange(self, asked).begin()

    def look_soon(self) -> None:
        """What is applied has changed: it notices when it looks the next time."""
        self.process.call_later(self.world.draw.real(0, LOOK_S), self._look)

    def leave(self) -> None:
        """Ends in an orderly way: what is idle goes back first."""
        self.process.run(self.holding.drain)
        self.process.call_later(LEAVE_S, self._exit)

    def _exit(self) -> None:
        self.journal.close()
        self.process.is_alive = False
        self.world.worker_left(self)

    def _look(self) -> None:
        """Takes up what is applied."""
        revision, registry = self.world.published
        if registry is not None and revision != self.revision:
            self.revision = revision
            self.holding.take(registry, revision)


class Exchange:
    """One request from its admission to its settlement; see gateway/exchange.py."""

    def __init__(self, worker: Worker, asked: Asked) -> None:
        self.worker = worker
        self.asked = asked
        self.id = worker.world.ids.new()
        self.bound = asked.bound
        self.need = Need(asked.bound, 0, asked.tokens[0])
        self.path: HoldPath | None = None
        self.began_s = worker.world.agenda.monotonic_s()
        self.waiting: Waiting | None = None
        self._rounds = 0
        self._is_last = False
        self._witness = worker.world.witness

    @property
    def where(self) -> Where:
        """Whose it is."""
        where = self.asked.client.where
        return where if self.asked.run is None else where._replace(run=self.asked.run)

    @property
    def cost(self) -> int:
        """What the provider bills: less where the output was lowered."""
        if self.bound == self.asked.bound:
            return self.asked.cost
        return min(self.asked.cost, self.bound)

    def begin(self) -> None:
        """Decides, or waits for room."""
        holding = self.worker.holding
        now_ns = self.worker.world.agenda.now_ns()
        self.path = path = holding.path(self.where, self.asked.model, now_ns)
        self._witness.arrived(self)
        if self._witness.hold(self, path, now_ns):
            self._decided(path, now_ns)
        else:
            self._ask(path, 0.0)

    # -- as engine/reservation.py does ---------------------------------------

    def _ask(self, path: HoldPath, wait_s: float) -> None:
        self._rounds += 1
        holding = self.worker.holding
        self.waiting = holding.wait(path, self.need, self._answered, wait_s)

    def _answered(self, shortfall: Shortfall | None) -> None:
        self.waiting = None
        path = self.path
        assert path is not None  # noqa: S101
        if shortfall is None:
            self._held(path)
            return
        if self._is_last or shortfall.kind not in ("budget", "concurrency"):
            self._witness.refused(self, shortfall)
            return
        least = max(1, self.asked.bound // 4)
        can_shrink = shortfall.can_clamp and least <= shortfall.free < self.bound
        if self._rounds < ROUNDS_MAX and shortfall.kind == "budget" and can_shrink:
            self.bound = shortfall.free
            self.need = Need(self.bound, 0, self.asked.tokens[0])
            self._ask(path, 0.0)
            return
        self._is_last = True
        self._ask(path, WAIT_S)

    def _held(self, path: HoldPath) -> None:
        now_ns = self.worker.world.agenda.now_ns()
        holding = self.worker.holding
        if now_ns >= path.until_ns:
            holding.release(path, self.need)
            self.path = path = holding.path(self.where, self.asked.model, now_ns)
            self.need = Need(self.bound, 0, self.asked.tokens[0])
            self._ask(path, 0.0)
            return
        self._decided(path, now_ns)

    # -- as gateway/exchange.py does -----------------------------------------

    def _decided(self, path: HoldPath, now_ns: int) -> None:
        self._witness.held(self, now_ns)
        data = decision(self, path)
        try:
            self.worker.recorder.decided(self.id, data, self._recorded, now_ns)
        except JournalUnavailableError:
            self._witness.unrecorded(self)

    def _recorded(self, is_durable: bool) -> None:  # noqa: FBT001  the port's signature
        if not is_durable:
            self._witness.unrecorded(self)
            return
        if not self.asked.is_reachable:
            self._release()
            return
        process = self.worker.process
        process.step("sends a request")
        self._witness.sent(self)
        process.step("sent a request")
        process.call_later(self.asked.seconds, self._settle)

    def _settle(self) -> None:
        settled = settlement(self)
        assert self.path is not None  # noqa: S101
        try:
            self.worker.recorder.settled(settled)
        except JournalUnavailableError:
            return  # its hold stays held
        self._witness.settled(self)
        self.worker.holding.settle(
            self.path, self.need, self.cost, self.asked.tokens[1]
        )

    def _release(self) -> None:
        assert self.path is not None  # noqa: S101
        try:
            self.worker.recorder.released(self.id, "upstream_connect")
        except JournalUnavailableError:
            return
        self._witness.released(self)
        self.worker.holding.release(self.path, self.need)


def decision(exchange: Exchange, path: HoldPath) -> bytes:
    """The members of a decision that a store reads."""
    where, asked = exchange.where, exchange.asked
    run = b"null" if where.run is None else b'"%b"' % where.run.encode()
    data = (
        b'"path":"/v1/chat/completions","service.name":"%b","comptroller.unit.id":"%b",'
        b'"comptroller.tenant.id":"%b","comptroller.credential.id":"%b",'
        b'"comptroller.credential.person":"ada","comptroller.owner.policy":"ada",'
        b'"comptroller.owner.billing":"ada","comptroller.owner.technical":"ada",'
        b'"comptroller.rate_card":"card","result":"allow","reason":"allowed",'
        b'"gen_ai.request.model":"%b","comptroller.hold.nano_usd":%d,'
        b'"comptroller.hold.input_tokens":%d,"comptroller.hold.output_tokens":0,'
        b'"comptroller.run":%b'
        % (
            where.service.encode(),
            where.unit.encode(),
            where.tenant.encode(),
            where.credential.encode(),
            asked.model.encode(),
            exchange.bound,
            asked.tokens[0],
            run,
        )
    )
    return data if path.is_empty else b"%b,%b" % (data, path.data)


def settlement(exchange: Exchange) -> records.Settled:
    """What is recorded of a reply."""
    tokens = exchange.asked.tokens[1]
    return records.Settled(
        decision_id=exchange.id,
        outcome="completed",
        status=200,
        model_answered=None,
        response_id=None,
        input_tokens=tokens,
        output_tokens=0,
        usage={"input": tokens},
        usage_source="provider",
        usage_raw=[],
        passes=[],
        service_tier=None,
        rate_card="card",
        cost_nano_usd=exchange.cost,
        cost_source="rate_card",
        hold_exceeded=exchange.cost > exchange.bound,
        duration_us=int(exchange.asked.seconds * 1e6),
        first_byte_us=None,
    )
