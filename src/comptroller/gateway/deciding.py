"""Deciding: from what a client asks to the verdict on it, however long that takes."""

from __future__ import annotations

from collections.abc import Callable

from comptroller.engine import refusals
from comptroller.engine.refusals import Refusal
from comptroller.engine.reservation import Reservation
from comptroller.engine.verdicts import Admitted, Ask, Candidate, Missing, Refused
from comptroller.gateway.floor import Floor
from comptroller.gateway.gathering import Gathering
from comptroller.gateway.inbound import Inbound, decoded, one_secret
from comptroller.wire.routes import Route


def read_ask(floor: Floor, inbound: Inbound, route: Route) -> Ask | Refusal:
    """Reads what a client asks of a model, or says why that cannot be decided on."""
    if floor.admission is None:
        return refusals.NOT_READY
    if len(floor.exchanges) >= floor.exchanges_max:
        return refusals.OVERLOADED
    secret = one_secret(inbound.secrets)
    if isinstance(secret, Refusal):
        return secret
    body: bytes | Refusal = inbound.body
    if inbound.coding:
        known = floor.admission.identify(secret, floor.clock.now_ns(), route)
        if not isinstance(known, Refused):  # strangers inflate nothing
            body = decoded(inbound, floor.body_bytes_max)
    if isinstance(body, Refusal):
        return body
    return Ask(route, secret, body, inbound.query, inbound.run)


class Deciding:
    """One request that could not be decided at once.

    Args:
        floor: the worker.
        ask: what is asked.
        on_verdict: told the verdict and its time, once, unless it is cancelled before;
            perhaps before `find_out` returns.
    """

    def __init__(
        self,
        floor: Floor,
        ask: Ask,
        on_verdict: Callable[[Admitted | Refused, int], None],
    ) -> None:
        self.ask = ask
        """With what was found out."""
        self._floor = floor
        self._on_verdict = on_verdict
        self._waiting: Reservation | Gathering | None = None

    def find_out(self, verdict: Candidate | Missing) -> None:
        """Waits for room on the limits, or looks for what is missing."""
        floor = self._floor
        if isinstance(verdict, Missing):
            self._waiting = Gathering(
                floor.scans, floor.ownership, verdict, self._gathered
            )
        else:
            assert floor.admission is not None  # noqa: S101  it gave the verdict
            self._waiting = Reservation(
                floor.admission, verdict, floor.clock, self._waited
            )
        self._waiting.begin()

    def cancel(self) -> None:
        """Waits no more; nothing was decided or held."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _decide(self) -> None:
        floor = self._floor
        assert floor.admission is not None  # noqa: S101  it is never taken away
        now_ns = floor.clock.now_ns()
        verdict = floor.admission.admit(self.ask, now_ns)
        if isinstance(verdict, Admitted | Refused):
            self._on_verdict(verdict, now_ns)
        else:
            self.find_out(verdict)

    def _gathered(self, ask: Ask) -> None:
        """What was missing is known."""
        self._waiting = None
        self.ask = ask
        self._decide()

    def _waited(self, verdict: Admitted | Refused, now_ns: int) -> None:
        """A limit had room for the request in the end, or had none."""
        waiting, self._waiting = self._waiting, None
        assert isinstance(waiting, Reservation)  # noqa: S101
        if waiting.admission is not self._floor.admission:
            # What is applied, or who may ask, has changed meanwhile.
            if isinstance(verdict, Admitted):
                verdict.let_go()
            self._decide()
            return
        self._on_verdict(verdict, now_ns)
