"""Asking: the worker's numbered conversation with the centre.

At most one ask is outstanding. It is sent again, the same, until it is answered; what
an answer grants counts once, however many answers there are. So no message that is
lost, late or repeated changes what the books on both sides say. Compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from comptroller.engine.leasing import (
    AskLeases,
    Leased,
    LeaseNeed,
    RateNeed,
    Refund,
)
from comptroller.engine.ports import Clock, LeaseDesk, Timer, Timers

REPEAT_S: Final = 0.1


class Holder(NamedTuple):
    """Who asks."""

    source: str
    """Of its journal."""
    boot: str
    """Id of the machine's boot."""
    durability: str
    """`disk` or `process`: how durable its journal's records are."""


class Round:
    """One ask, with all its answers."""

    def __init__(self, asked: AskLeases, sent_s: float) -> None:
        self.asked: AskLeases = asked
        self.sent_s: float = sent_s
        """When it was first sent."""
        self.is_granted: bool = False
        """Whether what it was granted is in the book already."""
        self.is_over: bool = False
        """Whether it was answered."""


class Asking:
    """Sends asks and hears of their answers.

    Args:
        desk: where to ask.
        clock: for when an ask was sent.
        timers: for repeats.
        holder: who asks.
        on_answer: called with an answer, and the ask if it is the first one to it;
            later ones only if they bring grants that no other did.
    """

    def __init__(
        self,
        desk: LeaseDesk,
        clock: Clock,
        timers: Timers,
        holder: Holder,
        on_answer: Callable[[Leased, Round | None], None],
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._timers = timers
        self._holder = holder
        self._on_answer = on_answer
        self._sequence = 0
        self._round: Round | None = None
        self._timer: Timer | None = None
        self.answers: int = 0
        """How many asks were answered."""

    @property
    def waits_since_s(self) -> float | None:
        """When the outstanding ask was first sent; None: there is none."""
        outstanding = self._round
        return None if outstanding is None else outstanding.sent_s

    def ask(
        self, needs: list[LeaseNeed], rates: list[RateNeed], refunds: list[Refund]
    ) -> None:
        """Asks; only while no ask is outstanding."""
        assert self._round is None  # noqa: S101  asks are numbered one by one
        self._sequence += 1
        asked = AskLeases(
            holder=self._holder.source,
            sequence=self._sequence,
            boot=self._holder.boot,
            durability=self._holder.durability,
            needs=needs,
            rates=rates,
            refunds=refunds,
        )
        self._round = Round(asked, self._clock.monotonic_s())
        self._send()

    def stop(self) -> None:
        """Repeats no more; an answer that comes still counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self) -> None:
        outstanding = self._round
        if outstanding is None:
            return
        self._timer = self._timers.call_later(REPEAT_S, self._send)
        self._desk.ask(outstanding.asked, partial(self._answered, outstanding))

    def _answered(self, answered: Round, leased: Leased | None) -> None:
        if leased is None:
            return
        if leased.sequence != answered.asked.sequence and not leased.is_fenced:
            return
        is_first = not answered.is_over
        is_news = len(leased.grants) > 0 and not answered.is_granted
        answered.is_granted = answered.is_granted or is_news
        if is_first:
            answered.is_over = True
            self.answers += 1
            self._round = None
            self.stop()
            self._on_answer(leased, answered)
        elif is_news or leased.is_fenced:
            self._on_answer(leased, None)
