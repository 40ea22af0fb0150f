"""Holding: a worker holds requests on leases, and talks with the centre about them.

What is held comes from leases that the worker has: no request that fits waits for
anybody. The rest is here, too: asking for more before it is needed, letting requests
wait a bounded time, giving back what is idle. A lease is given back by a record in
the worker's own journal, never by time. Compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from comptroller.core.account import Where
from comptroller.core.leasebook import Balance, LeaseBook
from comptroller.core.registry import Registry
from comptroller.engine.asking import Holder
from comptroller.engine.hold_path import NO_LIMITS, HoldPath, HoldPaths, Need
from comptroller.engine.leasing import RateGranted
from comptroller.engine.rate_slots import RateSlot, admits, charge, correct
from comptroller.engine.standing import Standing
from comptroller.engine.supply import Ports, Supply
from comptroller.engine.waiting import (
    HOLDS,
    OVER,
    REFUSED,
    WAITS,
    Shortfall,
    Waiters,
    Waiting,
)

__all__ = [
    "NO_LIMITS",
    "HoldPath",
    "Holder",
    "Holding",
    "Need",
    "Ports",
    "Shortfall",
    "Waiting",
]

ANSWER_WAIT_S: Final = 0.6
"""Beyond its time, a request is refused only when it is known that there is no room, or
the centre had so long to say so: an ask may wait behind another, and each recalls."""
SILENT_S: Final = 1.0
"""A centre that has not answered for so long is not there."""


class Holding:
    """A worker's leases, and the requests that are held on them.

    Everything on it runs on the one event loop.
    """

    def __init__(self, ports: Ports, holder: Holder) -> None:
        self._clock = ports.clock
        self._timers = ports.timers
        self.book: LeaseBook = LeaseBook()
        self._paths = HoldPaths(self.book, ports.clock)
        self._waiters = Waiters(self._paths.standings)
        self._supply = Supply(ports, holder, self._paths, self._waiters, self._supplied)
        self._lacking: Balance | None = None
        """What the last hold that failed lacked; None: units of a rate."""
        self.revision: int = 0
        """Of the registry that it holds by."""

    @property
    def is_fenced(self) -> bool:
        """Whether the ledger has closed this holder: the worker must stop."""
        return self._supply.is_fenced

    # -- the request path --------------------------------------------------

    def take(self, registry: Registry, revision: int) -> None:
        """Holds by another registry from now on; leases stay as they are."""
        self.revision = revision
        self._paths.take(registry)

    def path(self, where: Where, model_id: str, now_ns: int) -> HoldPath:
        """What a request that is admitted now is to be held on."""
        return self._paths.find(where, model_id, now_ns)

    def hold(self, path: HoldPath, need: Need, now_ns: int) -> bool:
        """Holds a request on all of its path from what the worker has, or on none.

        Args:
            path: of `path` for the same time.
            need: what to hold; it remembers what is held.
            now_ns: when the request is admitted.
        """
        if path.is_empty:
            return True
        assert path.from_ns <= now_ns < path.until_ns  # noqa: S101  its windows
        return self._supply.is_open and self._take(path, need)

    def settle(
        self, path: HoldPath, need: Need, cost_nano_usd: int, tokens_used: int
    ) -> None:
        """Ends a request that was sent: its cost is spent, the rest is free again."""
        held = need.held
        if held is None:
            return
        need.held = None
        self.book.settle(held, cost_nano_usd)
        if path.rates and tokens_used != need.tokens:
            self._correct(path, need, need.tokens - tokens_used)
        if self._waiters.queue:
            self._pump()

    def release(self, path: HoldPath, need: Need) -> None:
        """Ends a request that was not sent: all but its admission is free again.

        It still counts as one request of its rates.
        """
        self.settle(path, need, 0, 0)

    def rates(self, path: HoldPath) -> list[RateGranted]:
        """How the rate limits of a path stand, for a reply's headers."""
        now_s = self._clock.monotonic_s()
        stands = [slot.shown(now_s) for slot in path.rates]
        return [stand for stand in stands if stand is not None]

    def recall(self, accounts: Sequence[str]) -> None:
        """Gives back what is idle of leases that are needed elsewhere."""
        self._supply.recall(accounts)

    def drain(self) -> None:
        """Gives back all that is idle, and holds nothing any more.

        For the end of the process, before the journal is closed; what ends after it
        is given back by another call.
        """
        self._supply.close()
        self._refuse_all()

    def _take(self, path: HoldPath, need: Need) -> bool:
        rates = path.rates
        if rates and not admits(rates, need.tokens, self._clock.monotonic_s()):
            self._lacking = None
            return False
        wanted = path.amounts(need)
        self._lacking = self.book.hold(wanted)
        if self._lacking is not None:
            return False
        need.held = wanted
        if rates:
            charge(rates, need.tokens)
            need.serial = self._supply.serial
        if not path.is_used:
            self._supply.use(path)
        return True

    def _correct(self, path: HoldPath, need: Need, unused: int) -> None:
        now_s = self._clock.monotonic_s()
        correct(path.rates, unused, need.serial, now_s)
        self._supply.watch(path.rates)

    # -- waiting -------------------------------------------------------------

    def wait(
        self,
        path: HoldPath,
        need: Need,
        on_done: Callable[[Shortfall | None], None],
        wait_s: float,
    ) -> Waiting:
        """Holds a request as soon as there is room for it, within a bounded time.

        Args:
            path: of the request; every hold on it goes by its windows.
            need: what to hold; it remembers what is held.
            on_done: called once, never inside this call: with None it is held.
            wait_s: how long holds may take to end, here and elsewhere. A rate
                without room is not waited for.
        """
        self._paths.renew(path)
        return self._await(Waiting(path, need, on_done, 0), wait_s)

    def extend(
        self,
        path: HoldPath,
        need: Need,
        more: int,
        on_done: Callable[[Shortfall | None], None],
        wait_s: float,
    ) -> Waiting:
        """Holds more for a request under way on its progressive accounts.

        With None its `need` holds a slice that is larger by so much.

        Args:
            path: of the request.
            need: of the request, which is held.
            more: nano-USD.
            on_done: called once, never inside this call, unless it is cancelled.
            wait_s: how long holds may take to end.
        """
        assert more > 0  # noqa: S101  nothing to hold is nothing to ask for
        self._paths.renew(path)
        return self._await(Waiting(path, need, on_done, more), wait_s)

    def extend_now(self, path: HoldPath, need: Need, more: int) -> bool:
        """Holds more for a request under way if the worker has it."""
        assert more > 0  # noqa: S101  as above
        if not self._supply.is_open or need.held is None:
            return False
        return self._take_more(path, need, more)

    def cancel(self, waiting: Waiting) -> None:
        """Waits no more, and hears nothing; what it holds already is let go of.

        A request under way is cancelled before it is settled.
        """
        state = waiting.state
        waiting.state = OVER
        waiting.stop()
        self._waiters.remove(waiting)
        if state != HOLDS:
            return
        if not waiting.more:
            self.release(waiting.path, waiting.need)
        elif waiting.need.held is not None:
            waiting.need.slice_nano_usd -= waiting.more
            waiting.need.held = waiting.path.amounts(waiting.need)
            self.book.release(waiting.amounts)
            self._pump()

    def _await(self, waiting: Waiting, wait_s: float) -> Waiting:
        now_s = self._clock.monotonic_s()
        waiting.began_s = now_s
        waiting.answers = self._supply.asking.answers
        for balance, amount in waiting.amounts:
            self._paths.standings[balance.account].need(amount, now_s)
        shortfall = self._refusal_now(waiting, now_s)
        if shortfall is not None:
            self._finish(waiting, shortfall)
        elif not self._try(waiting):
            if self._waiters.is_full:
                self._finish(waiting, self._out_of_time(waiting, now_s))
                return waiting
            self._waiters.add(waiting)
            expire = partial(self._expire, waiting)
            waiting.timer = self._timers.call_later(wait_s, expire)
            self._supply.be_brisk()
            self._supply.ask_in(0.0)
        return waiting

    def _refusal_now(self, waiting: Waiting, now_s: float) -> Shortfall | None:
        """Why waiting would be in vain; None: it might help."""
        if not self._supply.is_open:
            return Shortfall("ledger_unavailable")
        tokens = waiting.need.tokens
        for slot in waiting.rates:
            rate = slot.remembered(slot.units_of(tokens), now_s)
            if rate is not None:
                return Shortfall("tokens" if slot.is_tokens else "requests", rate=rate)
        lacking = self._waiters.hopeless(waiting, now_s)
        return None if lacking is None else self._shortfall(waiting, lacking)

    def _try(self, waiting: Waiting) -> bool:
        """Holds what waits, if there is room."""
        path, need, more = waiting.path, waiting.need, waiting.more
        if more and need.held is None:
            return False  # its request has ended
        is_held = self._take_more(path, need, more) if more else self._take(path, need)
        if is_held:
            self._waiters.remove(waiting)
            waiting.stop()
            waiting.state = HOLDS
            self._timers.call_later(0.0, partial(self._tell, waiting, None))
        else:
            waiting.block(self._lacking)
        return is_held

    def _take_more(self, path: HoldPath, need: Need, more: int) -> bool:
        self._lacking = self.book.extend([(b, more) for b in path.progressive])
        if self._lacking is not None:
            return False
        need.slice_nano_usd += more
        need.held = path.amounts(need)
        if not path.is_used:
            self._supply.use(path)
        return True

    def _finish(self, waiting: Waiting, shortfall: Shortfall) -> None:
        """Refuses what waits."""
        self._waiters.remove(waiting)
        waiting.stop()
        waiting.state = REFUSED
        self._timers.call_later(0.0, partial(self._tell, waiting, shortfall))

    def _tell(self, waiting: Waiting, shortfall: Shortfall | None) -> None:
        if waiting.state == HOLDS and self.is_fenced:
            self.cancel(waiting)
            waiting.on_done(Shortfall("ledger_unavailable"))
        elif waiting.state != OVER:
            waiting.state = OVER
            waiting.on_done(shortfall)

    def _expire(self, waiting: Waiting) -> None:
        """Its time is over; but nobody is refused before the centre could answer."""
        waiting.timer = None
        if waiting.state != WAITS or self._try(waiting):
            return
        now_s = self._clock.monotonic_s()
        if (
            waiting.is_late
            or self._is_silent(now_s)
            or self._waiters.is_proven(waiting, now_s)
        ):
            self._finish(waiting, self._out_of_time(waiting, now_s))
            return
        waiting.is_late = True
        expire = partial(self._expire, waiting)
        waiting.timer = self._timers.call_later(ANSWER_WAIT_S, expire)
        self._supply.ask_in(0.0)

    def _out_of_time(self, waiting: Waiting, now_s: float) -> Shortfall:
        lacking = self._waiters.lack_of(waiting, now_s)
        if lacking is not None:
            return self._shortfall(waiting, lacking)
        is_unheard = self._supply.asking.answers == waiting.answers
        if self._is_silent(now_s) or (waiting.is_late and is_unheard):
            return Shortfall("ledger_unavailable")
        return Shortfall("busy")

    def _is_silent(self, now_s: float) -> bool:
        """Whether the centre has not answered for so long that it is not there."""
        since_s = self._supply.asking.waits_since_s
        return since_s is not None and now_s - since_s > SILENT_S

    def _shortfall(self, waiting: Waiting, lacking: Standing) -> Shortfall:
        lack, balance = lacking.lack, lacking.balance
        assert lack is not None  # noqa: S101  who calls has looked
        free = balance.available + lack.free
        kind = "budget" if balance.is_money else "concurrency"
        can_clamp = balance.account in waiting.path.clamping
        return Shortfall(kind, lack, None, free, can_clamp)

    def _pump(self) -> None:
        """Holds whatever waits and fits, oldest first, before anybody new comes."""
        for waiting in self._waiters.all():
            if waiting.state == WAITS and not waiting.is_blocked:
                self._try(waiting)

    def _supplied(self, refusing: list[RateSlot]) -> None:
        """The centre answered: serves and refuses whom it concerns."""
        if not self._supply.is_open:
            self._refuse_all()
            return
        self._pump()
        now_s = self._clock.monotonic_s()
        for slot in refusing:
            self._refuse_rate(slot, now_s)
        for waiting in self._waiters.all():
            lacking = self._waiters.hopeless(waiting, now_s)
            if lacking is not None:
                self._finish(waiting, self._shortfall(waiting, lacking))
            elif waiting.is_late and self._waiters.is_proven(waiting, now_s):
                self._finish(waiting, self._out_of_time(waiting, now_s))

    def _refuse_rate(self, slot: RateSlot, now_s: float) -> None:
        """Refuses those for whom a bucket has no room after those before them."""
        said = slot.said
        assert said is not None  # noqa: S101  it was said just now
        here = slot.units if now_s <= slot.until_s else 0
        ahead = -here
        for waiting in self._waiters.all():
            if slot not in waiting.rates:
                continue
            units = slot.units_of(waiting.need.tokens)
            if units + ahead <= said.remaining:
                ahead += units
                continue
            rate = slot.refuse(units, max(0, ahead), now_s)
            kind = "tokens" if slot.is_tokens else "requests"
            self._finish(waiting, Shortfall(kind, rate=rate))

    def _refuse_all(self) -> None:
        for waiting in self._waiters.all():
            self._finish(waiting, Shortfall("ledger_unavailable"))
