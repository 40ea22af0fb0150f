"""Recalls: which leases are needed elsewhere, and who waits to hear of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from comptroller.engine.leasing import Recall
from comptroller.engine.ports import Timer, Timers

RECALL_ANSWER_S: Final = 20.0
"""A holder that listens is answered by then, with nothing if there is nothing."""

OnRecall: TypeAlias = Callable[[Recall], None]


class _Listener(NamedTuple):
    reply: OnRecall
    timer: Timer


class Recalls:
    """What holders are asked to return; each is told once, when it listens."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._listeners: dict[str, _Listener] = {}
        self._asked: dict[str, set[str]] = {}
        """By holder: accounts that it has not been told of yet."""

    def listen(self, holder: str, reply: OnRecall) -> None:
        """A holder waits for recalls; who waited before in its name is let go."""
        self._answer(holder, [])
        timer = self._timers.call_later(
            RECALL_ANSWER_S, lambda: self._answer(holder, [], reply)
        )
        self._listeners[holder] = _Listener(reply, timer)
        self._tell(holder)

    def recall(self, holder: str, account: str) -> None:
        """Asks for what is idle of a lease; `tell_all` sends it."""
        self._asked.setdefault(holder, set()).add(account)

    def tell_all(self) -> None:
        """Tells every holder that listens."""
        for holder in list(self._asked):
            self._tell(holder)

    def forget(self, live: set[str]) -> None:
        """Forgets what was asked of holders that are not live."""
        for holder in [one for one in self._asked if one not in live]:
            del self._asked[holder]

    def _tell(self, holder: str) -> None:
        if holder in self._listeners and self._asked.get(holder):
            self._answer(holder, sorted(self._asked.pop(holder)))

    def _answer(
        self, holder: str, accounts: list[str], only: OnRecall | None = None
    ) -> None:
        listener = self._listeners.get(holder)
        if listener is None or only not in {None, listener.reply}:
            return
        del self._listeners[holder]
        listener.timer.cancel()
        listener.reply(Recall(accounts))
