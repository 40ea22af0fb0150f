"""A fake of the lease desk: answers what the test says, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from comptroller.engine.leasing import AskLeases, Leased
from comptroller.engine.ports import Timers

ASK_TIMEOUT_S = 2.0


class ScriptedDesk:
    """The LeaseDesk port.

    Args:
        timers: answers come through them, never inside a call.
        answer: what the centre says to an ask; None: it says nothing.
    """

    def __init__(
        self, timers: Timers, answer: Callable[[AskLeases], Leased | None]
    ) -> None:
        self._timers = timers
        self.answer = answer
        self.is_there = True
        """False: nobody is, and asks are answered None at once."""
        self.asked: list[AskLeases] = []
        self.returns = 0
        """How often a return was said."""

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Asks once; never blocks."""
        said = None
        if self.is_there:
            self.asked.append(asked)
            said = self.answer(asked)
        delay_s = ASK_TIMEOUT_S if self.is_there and said is None else 0
        self._timers.call_later(delay_s, lambda: on_answer(said))

    def returned(self) -> None:
        """Says that a `lease.returned` record is durable; may be lost."""
        self.returns += self.is_there
