"""Supply: a worker's leases and slices, asked for in time and given back when idle.

A lease is given back only by a record in the worker's own journal, never by time.
Compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.asking import Asking, Holder, Round
from comptroller.engine.hold_path import HoldPath, HoldPaths
from comptroller.engine.leasing import (
    Leased,
    LeaseNeed,
    RateNeed,
    Refund,
)
from comptroller.engine.ports import Clock, LeaseDesk, Timer, Timers
from comptroller.engine.rate_slots import RateSlot
from comptroller.engine.standing import Standing
from comptroller.engine.waiting import ASK_AGAIN_S, NEEDS_MAX, Waiters

TICK_S: Final = 0.05
"""How often a busy worker looks at what its leases need."""
REST_S: Final = 1.0
"""How often a worker looks at what is idle."""
REFUND_EVERY_S: Final = 0.2
IN_VAIN_S: Final = 1.0
"""How long not to ask ahead of need for what the centre did not give, or took back."""
RATE_IN_VAIN_S: Final = 0.25
RETURNS_MAX: Final = 96
"""Accounts in one `lease.returned` record: it has to fit a journal's line."""


class ReturnsRecorder(Protocol):
    """What is asked of the recorder."""

    def returned(
        self, returns: Sequence[tuple[str, int]], on_durable: Callable[[bool], None]
    ) -> None:
        """Records leases that were returned.

        Raises:
            JournalUnavailableError: the journal cannot record.
        """


class Ports(NamedTuple):
    """What is asked of the outside."""

    desk: LeaseDesk
    recorder: ReturnsRecorder
    clock: Clock
    timers: Timers


class Supply:
    """What a worker has to hold requests with.

    Args:
        ports: the outside.
        holder: whose leases they are.
        paths: the paths that requests are held on.
        waiters: the requests that wait.
        on_answer: called when the centre answered, with the rate slots that it has
            no room on; whoever waits may be served or refused then.
    """

    def __init__(
        self,
        ports: Ports,
        holder: Holder,
        paths: HoldPaths,
        waiters: Waiters,
        on_answer: Callable[[list[RateSlot]], None],
    ) -> None:
        self._desk = ports.desk
        self._recorder = ports.recorder
        self._clock = ports.clock
        self._timers = ports.timers
        self.asking = Asking(
            ports.desk, ports.clock, ports.timers, holder, self._answered
        )
        self._paths = paths
        self._book = paths.book
        self._waiters = waiters
        self._on_answer = on_answer
        self.is_open: bool = True
        """Whether anything may be held."""
        self.is_fenced: bool = False
        """Whether the ledger has closed this holder."""
        self.serial: int = 0
        """How many slices of rates there were."""
        self._used: list[HoldPath] = []
        self._low: dict[str, Standing] = {}
        self._rates_low: dict[RateSlot, int] = {}
        self._sliced: set[RateSlot] = set()
        self._refunding: set[RateSlot] = set()
        self._refunded_s: float = 0.0
        self._looked_s: float = ports.clock.monotonic_s()
        self._swept_s: float = self._looked_s
        self._timer: Timer | None = None
        self._is_brisk: bool = False
        self._is_probe_next: bool = False
        self._ask_timer: Timer | None = None
        self._ask_due_s: float = 0.0

    # -- what the request path says ------------------------------------------

    def use(self, path: HoldPath) -> None:
        """Something was held on a path, for the first time since the last look."""
        path.is_used = True
        self._used.append(path)
        if not self._is_brisk:
            self.be_brisk()

    def watch(self, slots: tuple[RateSlot, ...]) -> None:
        """Units came back to these: they expire, or the centre should hear of them."""
        for slot in slots:
            if slot.refunds:
                self._refunding.add(slot)
            if slot.units > 0:
                self._sliced.add(slot)
        if not self._is_brisk:
            self.be_brisk()

    def be_brisk(self) -> None:
        """Looks soon, and often while there is something to look at."""
        if self._is_brisk or not self.is_open:
            return
        self._is_brisk = True
        if self._timer is not None:
            self._timer.cancel()
        self._looked_s = self._clock.monotonic_s()
        self._timer = self._timers.call_later(TICK_S, self._look)

    def ask_in(self, delay_s: float) -> None:
        """Asks for what those who wait lack, after so long at the latest."""
        if not self.is_open:
            return
        due_s = self._clock.monotonic_s() + delay_s
        if self._ask_timer is not None:
            if self._ask_due_s <= due_s:
                return
            self._ask_timer.cancel()
        self._ask_due_s = due_s
        self._ask_timer = self._timers.call_later(delay_s, self._ask)

    # -- giving back ---------------------------------------------------------

    def recall(self, accounts: Sequence[str]) -> None:
        """Gives back what nobody here waits for; it is needed elsewhere."""
        now_s = self._clock.monotonic_s()
        returns: list[tuple[str, int]] = []
        for account, keep in self._waiters.kept(accounts, now_s).items():
            amount = self._book.give_back(account, keep)
            if amount:
                returns.append((account, amount))
                standing = self._paths.standings.get(account)
                if standing is not None:
                    standing.ask_after_s = now_s + IN_VAIN_S
        if returns:
            self._return(returns)
        else:
            self._desk.returned()

    def close(self) -> None:
        """Gives back all that is idle; nothing is held or asked for any more."""
        self._stop()
        self._return_all()

    def _stop(self) -> None:
        self.is_open = False
        self.asking.stop()
        for timer in (self._timer, self._ask_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._ask_timer = None

    def _return_all(self) -> None:
        idle = [(balance.account, balance.available) for balance in self._book.idle()]
        for account, _ in idle:
            self._book.give_back(account, 0)
        self._return(idle)

    def _return(self, returns: list[tuple[str, int]]) -> None:
        """Records what is out of the book already: it never goes back in."""
        if self.is_fenced:
            return  # the ledger took it all
        for first in range(0, len(returns), RETURNS_MAX):
            # Without a journal this worker ends; what it had is returned with it.
            with suppress(JournalUnavailableError):
                some = returns[first : first + RETURNS_MAX]
                self._recorder.returned(some, self._recorded)

    def _recorded(self, is_durable: bool) -> None:  # noqa: FBT001  the port's signature
        if is_durable:
            self._desk.returned()

    # -- looking -------------------------------------------------------------

    def _look(self) -> None:
        """Sees what was used, what is low, what has expired and what is idle."""
        now_s = self._clock.monotonic_s()
        span_s = max(now_s - self._looked_s, TICK_S)
        self._looked_s = now_s
        is_used = len(self._used) > 0
        self._see_used(span_s, now_s)
        for slot in tuple(self._sliced):
            slot.expire(now_s)
            if slot.units <= 0:
                self._sliced.discard(slot)
            if slot.refunds:
                self._refunding.add(slot)
        if now_s - self._swept_s >= REST_S:
            self._swept_s = now_s
            self._sweep(now_s)
        is_due = now_s - self._refunded_s >= REFUND_EVERY_S
        if self._low or self._rates_low or (self._refunding and is_due):
            self.ask_in(0.0)
        self._is_brisk = bool(
            is_used or len(self._waiters) or self._sliced or self._refunding
        )
        self._timer = None
        if self._is_brisk:
            self._timer = self._timers.call_later(TICK_S, self._look)
        elif self._paths.standings:
            self._timer = self._timers.call_later(REST_S, self._look)

    def _see_used(self, span_s: float, now_s: float) -> None:
        used, self._used = self._used, []
        now_ns = self._clock.now_ns()
        for path in used:
            path.is_used = False
            for balance in path.money + path.progressive + path.permits:
                standing = self._paths.standings.get(balance.account)
                if standing is None or standing.balance is not balance:
                    continue
                if balance.taken:
                    standing.use(now_s)
                    if standing.is_low(now_s) and not standing.has_ended(now_ns):
                        self._low[balance.account] = standing
            for slot in path.rates:
                want = slot.wants(span_s, now_s) if slot.taken else 0
                if want:
                    self._rates_low[slot] = want

    def _sweep(self, now_s: float) -> None:
        """Gives back what is left of windows that ended, and what nobody uses."""
        now_ns = self._clock.now_ns()
        waited = self._waiters.accounts()
        returns: list[tuple[str, int]] = []
        for standing in tuple(self._paths.standings.values()):
            balance = standing.balance
            if not (standing.has_ended(now_ns) or standing.is_quiet(now_s)):
                continue
            if balance.account in waited:
                continue
            amount = self._book.give_back(balance.account, 0)
            if amount:
                returns.append((balance.account, amount))
            self._paths.forget(standing)
        if returns:
            self._return(returns)

    # -- asking --------------------------------------------------------------

    def _ask(self) -> None:
        self._ask_timer = None
        if not self.is_open or self.asking.waits_since_s is not None:
            return
        now_s = self._clock.monotonic_s()
        wanted = self._waiters.wanted(now_s)
        is_probe = self._is_probe_next or not (wanted.needs or wanted.units)
        if wanted.probes and is_probe:
            self._is_probe_next = False
            needs, rates = wanted.probes, []
        else:
            self._is_probe_next = len(wanted.probes) > 0
            self._let_go(wanted.units, now_s)
            needs, rates = wanted.needs, self._rates(wanted.units)
            needs += self._ahead({need.account for need in needs}, now_s)
        refunds = [
            Refund(slot.id, count)
            for slot in self._refunding
            if (count := slot.take_refunds(now_s))
        ]
        self._refunding.clear()
        if needs or rates or refunds:
            self._refunded_s = now_s
            self.asking.ask(needs, rates, refunds)
        elif len(self._waiters):
            self.ask_in(ASK_AGAIN_S)

    def _let_go(self, units: list[tuple[RateSlot, int]], now_s: float) -> None:
        """Gives back slices that are too small: together with the rest they may do."""
        for slot, _ in units:
            rest = slot.here(now_s)
            if rest:
                slot.units = 0
                slot.refund(rest, now_s)
                self._refunding.add(slot)

    def _rates(self, units: list[tuple[RateSlot, int]]) -> list[RateNeed]:
        """What is needed of rates, and what will be."""
        low, self._rates_low = self._rates_low, {}
        rates = [
            RateNeed(slot.id, count, max(count, low.pop(slot, 0)))
            for slot, count in units
        ]
        return rates + [RateNeed(slot.id, 0, want) for slot, want in low.items()]

    def _ahead(self, asked: set[str], now_s: float) -> list[LeaseNeed]:
        """What will be needed of accounts that nobody waits for."""
        low, self._low = self._low, {}
        return [
            LeaseNeed(account, 0, standing.target - standing.balance.available)
            for account, standing in low.items()
            if account not in asked and standing.is_low(now_s)
        ][: NEEDS_MAX - len(asked)]

    def _answered(self, leased: Leased, answered: Round | None) -> None:
        now_s = self._clock.monotonic_s()
        if leased.is_fenced:
            self.is_fenced = True
            self._stop()
        needs = answered.asked.needs if answered is not None else []
        asked = {need.account: need for need in needs}
        for grant in leased.grants:
            self._book.grant(grant.account, grant.amount)
            need = asked.pop(grant.account, None)
            standing = self._paths.standing(grant.account, None)
            standing.granted(grant.amount, need.amount if need is not None else 0)
            if need is not None and not need.amount and grant.amount * 2 < need.want:
                standing.ask_after_s = now_s + IN_VAIN_S
        if not self.is_open:
            self._return_all()
        for lack in leased.lacks:
            need = asked.pop(lack.account, None)
            standing = self._paths.standing(lack.account, None)
            standing.lacked(lack, need.amount if need is not None else 0, now_s)
        for account in asked:  # nothing was given ahead
            standing = self._paths.standing(account, None)
            standing.ask_after_s = now_s + IN_VAIN_S
        refusing: list[RateSlot] = []
        if answered is not None:
            refusing = self._see_rates(leased, answered, now_s)
        self._on_answer(refusing)
        if len(self._waiters):
            is_news = len(leased.grants) + len(leased.lacks) > 0
            for rate in leased.rates:
                is_news = is_news or rate.units > 0
            self.ask_in(0.0 if is_news else ASK_AGAIN_S)

    def _see_rates(
        self, leased: Leased, answered: Round, now_s: float
    ) -> list[RateSlot]:
        """Takes the slices; returns the slots on which there is no room."""
        refusing: list[RateSlot] = []
        asked = {need.limit: need.units for need in answered.asked.rates}
        for rate in leased.rates:
            units = asked.pop(rate.limit, 0)
            slot = self._paths.slots.get(rate.limit)
            if slot is None:
                continue
            if rate.units:
                self.serial += 1
                until_s = answered.sent_s + rate.valid_s
                slot.fill(rate.units, until_s, self.serial, now_s)
                self._sliced.add(slot)
                self.be_brisk()
            slot.say(rate, now_s)
            if rate.retry_after_s and units:
                refusing.append(slot)
            elif not rate.units:
                slot.ahead_after_s = now_s + RATE_IN_VAIN_S
        for limit in asked:
            slot = self._paths.slots.get(limit)
            if slot is not None and not leased.lacks:
                slot.ask_after_s = now_s + ASK_AGAIN_S
        return refusing
