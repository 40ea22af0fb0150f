"""The network: messages between workers and the centre, late, lost or repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from comptroller.core.errors import ComptrollerError
from comptroller.engine.leasing import AskLeases, Leased, Recall
from comptroller.testing.simulation.agenda import Agenda
from comptroller.testing.simulation.draw import Draw
from comptroller.testing.simulation.plan import Weather
from comptroller.testing.simulation.process import Process
from comptroller.testing.simulation.scene import SeenCentre
from comptroller.testing.simulation.trace import Trace

ASK_TIMEOUT_S: Final = 2.0
RECALL_TIMEOUT_S: Final = 30.0
LISTEN_AGAIN_S: Final = 0.25
"""As in adapters/control/leasing.py."""
CALM: Final = Weather(0.0005, 0.0, 0.0)
_LATE_S: Final = 3.0
"""A repeated message may come so long after the first."""

T = TypeVar("T")


class Network:
    """Carries messages; `centre` is whoever answers at the moment.

    A message is for the process that was there when it was sent, as on a connection:
    it may come late, twice or never, but not to another one.
    """

    def __init__(self, agenda: Agenda, trace: Trace, draw: Draw) -> None:
        self._agenda = agenda
        self._trace = trace
        self._draw = draw
        self.weather = CALM
        self.centre: SeenCentre | None = None

    def trace(self, process: Process, message: object) -> None:
        """Says what a process sends or hears."""
        if self._trace.is_read:
            self._trace.say(process.name, str(message))

    def send(self, deliver: Callable[[], None]) -> None:
        """Delivers a message: once, never, or twice."""
        weather, draw = self.weather, self._draw
        if weather.loss and draw.chance(weather.loss):
            return
        self._agenda.after(draw.about(weather.delay_s or 1e-5), deliver)
        if weather.repeat and draw.chance(weather.repeat):
            self._agenda.after(draw.real(0, _LATE_S), deliver)


class Line:
    """A worker's side of its conversations with the centre (port: LeaseDesk)."""

    def __init__(self, network: Network, process: Process, holder: str) -> None:
        self._network = network
        self._process = process
        self._holder = holder
        self.on_recall: Callable[[Sequence[str]], None] | None = None

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Asks once; answered with None when no answer came in time."""
        self._process.step("asks for leases")
        self._network.trace(self._process, asked)

        def heard(leased: Leased | None) -> None:
            self._network.trace(self._process, leased)
            on_answer(leased)

        answered = _Once(self._process, heard)
        network = self._network

        centre = network.centre

        def deliver() -> None:
            if centre is None or not centre.process.is_alive:
                network.send(lambda: answered.tell(None))
                return
            centre.process.run(lambda: hear(centre))

        def hear(centre: SeenCentre) -> None:
            judge = centre.judge
            judge.asked(asked)

            def reply(leased: Leased | None) -> None:
                if leased is not None:
                    judge.answered(asked, leased)
                centre.process.step("answers an ask")
                network.send(lambda: answered.tell(leased))

            try:
                centre.ledger.ask(asked, reply)
            except ComptrollerError:
                reply(None)
            centre.look_after_ledger()

        network.send(deliver)
        self._process.call_later(ASK_TIMEOUT_S, lambda: answered.tell_here(None))

    def returned(self) -> None:
        """Says that a `lease.returned` record is durable; may be lost."""
        self._process.step("says what is returned")
        network = self._network
        holder = self._holder

        centre = network.centre

        def deliver() -> None:
            if centre is not None:
                centre.process.run(lambda: hear(centre))

        def hear(centre: SeenCentre) -> None:
            centre.judge.returned()
            centre.ledger.returned(holder)
            centre.look_after_ledger()

        network.send(deliver)

    def listen(self) -> None:
        """Waits for recalls, for as long as the process lives."""
        network = self._network

        def hear(recall: Recall | None) -> None:
            if recall is not None and recall.accounts and self.on_recall is not None:
                self.on_recall(recall.accounts)
                self.listen()
            else:
                again_s = LISTEN_AGAIN_S if recall is None else 0.0
                self._process.call_later(again_s, self.listen)

        answered = _Once(self._process, hear)

        centre = network.centre

        def deliver() -> None:
            if centre is None or not centre.process.is_alive:
                network.send(lambda: answered.tell(None))
                return

            def reply(recall: Recall) -> None:
                centre.process.step("recalls leases")
                network.send(lambda: answered.tell(recall))

            def await_recall() -> None:
                centre.ledger.await_recall(self._holder, reply)
                centre.on_death.append(lambda: answered.tell(None))

            centre.process.run(await_recall)

        network.send(deliver)
        self._process.call_later(RECALL_TIMEOUT_S, lambda: answered.tell_here(None))


class _Once(Generic[T]):
    """An answer to a process, of which only the first counts."""

    def __init__(self, process: Process, on_answer: Callable[[T | None], None]) -> None:
        self._process = process
        self._on_answer = on_answer
        self._is_told = False

    def tell(self, answer: T | None) -> None:
        """Tells the process, as something that happens to it."""
        if not self._is_told:
            self._process.run(lambda: self.tell_here(answer))

    def tell_here(self, answer: T | None) -> None:
        """Tells it in the middle of something that happens to it."""
        if not self._is_told:
            self._is_told = True
            self._on_answer(answer)
