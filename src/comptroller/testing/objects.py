"""A scripted object desk: tells whose objects are, late or never, as a test says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from comptroller.engine.objects import Owned, Owners, Whose, owned_of
from comptroller.engine.ports import Timers


class ScriptedObjectDesk:
    """The ObjectDesk port in memory.

    Args:
        timers: for delays.
    """

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self.objects: list[Owned] = []
        """All that there are."""
        self.delay_s = 0.001
        """From an ask to its answer."""
        self.timeout_s = 0.5
        """After so long, an answer that was lost is known not to come."""
        self.is_down = False
        self.asked: list[Whose] = []
        """All that were sent."""

    def whose(self, asked: Whose, on_answer: Callable[[Owners | None], None]) -> None:
        """Asks once; see the port."""
        self.asked.append(asked)
        if self.is_down:
            self._timers.call_later(self.timeout_s, partial(on_answer, None))
        else:
            answer = partial(self._answer, asked, on_answer)
            self._timers.call_later(self.delay_s, answer)

    def _answer(self, asked: Whose, on_answer: Callable[[Owners | None], None]) -> None:
        on_answer(Owners(owned_of(asked, self.objects)))
