"""A reservation: finding room on its limits for one request that does not fit at once.

In this order (design.md §4): more leases are asked for; the prompt is counted more
precisely; the output is lowered where the budget that lacks allows it; open holds
are waited for, briefly; then the request is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from comptroller.core.account import is_money
from comptroller.core.bound import demand_affordable
from comptroller.core.errors import UnpricedError
from comptroller.engine import limit_refusals
from comptroller.engine.admission import Admission, rebound
from comptroller.engine.bounding import Bounded
from comptroller.engine.holding import Holding
from comptroller.engine.leasing import Lack
from comptroller.engine.limit_refusals import Asker
from comptroller.engine.ports import Clock
from comptroller.engine.verdicts import Admitted, Candidate, Refused
from comptroller.engine.waiting import Shortfall, Waiting
from comptroller.wire.ceiling import OutputCeiling, least_output
from comptroller.wire.rate_headers import RateState, rate_headers

WAIT_S: Final = 0.25
"""How long a request waits for others' holds, once it has been made as small as it
may be: near the end of a budget most of it is held, and a quarter of that is spent."""

CLAMP_TOKENS_MIN: Final = 256
"""Less output than this helps nobody: better refused."""

ROUNDS_MAX: Final = 4
"""Asks for one request; each makes it smaller, or is the last."""


class Reservation:
    """One request that waits for room; says once how that ended.

    Args:
        admission: that found the candidate; its holding is asked.
        candidate: the request.
        clock: for the moment of the decision.
        on_done: told the verdict and its time, unless it is cancelled before.
    """

    def __init__(
        self,
        admission: Admission,
        candidate: Candidate,
        clock: Clock,
        on_done: Callable[[Admitted | Refused, int], None],
    ) -> None:
        self.admission = admission
        self._candidate = candidate
        self._clock = clock
        self._on_done = on_done
        self._waiting: Waiting | None = None
        self._rounds = 0
        self._is_last = False
        self._is_counted = False

    def begin(self) -> None:
        """Asks; the answer may come before this returns."""
        if self.admission.holding is None:
            self._refuse(Shortfall("ledger_unavailable"))
        else:
            self._ask(self.admission.holding, 0.0)

    def cancel(self) -> None:
        """Asks no more; nothing is held."""
        if self._waiting is not None and self.admission.holding is not None:
            self.admission.holding.cancel(self._waiting)
            self._waiting = None

    def _ask(self, holding: Holding, wait_s: float) -> None:
        self._rounds += 1
        one = self._candidate
        self._waiting = holding.wait(one.path, one.need, self._answered, wait_s)

    def _answered(self, shortfall: Shortfall | None) -> None:
        self._waiting = None
        holding = self.admission.holding
        assert holding is not None  # noqa: S101  it has just answered
        one = self._candidate
        now_ns = self._clock.now_ns()
        if not one.path.from_ns <= now_ns < one.path.until_ns:
            # Its windows have ended meanwhile, or the clock was set back.
            if shortfall is None:
                holding.release(one.path, one.need)
            self._renew(holding, now_ns)
            return
        if shortfall is None:
            self._on_done(self.admission.allow(one), now_ns)
            return
        is_smaller = False
        if not self._is_last and self._rounds < ROUNDS_MAX:
            is_smaller = self._becomes_smaller(shortfall)
        if is_smaller:
            self._ask(holding, 0.0)
            return
        if self._is_last or shortfall.kind not in ("budget", "concurrency"):
            self._refuse(shortfall)
            return
        # What is waited for is what others may give: less is better than nothing.
        self._candidate = _least(self._candidate, shortfall) or self._candidate
        self._is_last = True
        self._ask(holding, WAIT_S)

    def _renew(self, holding: Holding, now_ns: int) -> None:
        """Asks for room in the windows of now."""
        one = self._candidate
        where = one.entitlement.where
        if one.entitlement.service.run_budget is not None:
            where = where._replace(run=one.run)
        path = holding.path(where, one.entitlement.model.id, now_ns)
        self._candidate = replace(one, path=path)
        self._ask(holding, 0.0)

    def _becomes_smaller(self, shortfall: Shortfall) -> bool:
        """Makes the hold smaller; False: it is as small as helps."""
        if shortfall.kind not in ("budget", "tokens"):
            return False
        before = self._candidate
        if not self._is_counted:
            self._is_counted = True
            self._candidate = self.admission.counted(before) or before
        one = self._candidate
        if shortfall.kind == "budget" and one.need.nano_usd > shortfall.free:
            self._candidate = _clamped(one, shortfall) or one
        return self._candidate is not before

    def _refuse(self, shortfall: Shortfall) -> None:
        one = self._candidate
        asker = Asker(one.entitlement.service, self.admission.desk.registry)
        now_ns = self._clock.now_ns()
        lack, rate = shortfall.lack, shortfall.rate
        seen: tuple[int, int] | None = None
        if shortfall.kind == "busy":
            refusal = limit_refusals.BUSY
        elif rate is not None:
            units = one.need.tokens if rate.limit.endswith("/tokens") else 1
            unit = rate.limit.rpartition("/")[2]
            state = RateState(unit, rate.burst, rate.remaining, rate.reset_s)
            headers = rate_headers(one.ask.route.dialect, (state,), now_ns)
            slots = {slot.id: slot.period_s for slot in one.path.rates}
            period_s = slots[rate.limit]
            refusal = limit_refusals.rate_limited(rate, period_s, units, headers)
            seen = units, rate.remaining
        elif lack is None:
            refusal = limit_refusals.LEDGER_UNAVAILABLE
        elif is_money(lack.account):
            need, free = _needed(one, lack.account), shortfall.free
            is_part = need < one.need.nano_usd
            what = limit_refusals.BEGINNING if is_part else limit_refusals.REQUEST
            refusal = limit_refusals.budget_exhausted(asker, need, lack, free, what)
            seen = need, free
        else:
            refusal = limit_refusals.concurrency(lack)
            seen = lack.leased, lack.limit
        self._on_done(
            self.admission.deny(one, refusal, seen, _as_told(shortfall)), now_ns
        )


def _needed(one: Candidate, account: str) -> int:
    """What had to be held on it: of a stream's progressive account a slice."""
    if any(balance.account == account for balance in one.path.progressive):
        return one.need.slice_nano_usd
    return one.need.nano_usd


def _as_told(shortfall: Shortfall) -> Lack | None:
    """The account that lacks, for the record: in the figures of the refusal.

    What this worker has leased and does not use is free to it, and not held.
    """
    lack, free = shortfall.lack, shortfall.free
    if lack is None:
        return None
    held = max(0, lack.limit - lack.spent - lack.suspense - free)
    return replace(lack, leased=held, free=free)


def _clamped(one: Candidate, shortfall: Shortfall) -> Candidate | None:
    """The request with less output, as much as is free now."""
    try:
        tokens = demand_affordable(one.bounded.demand, shortfall.free)
    except UnpricedError:
        return None
    return _lowered(one, shortfall, tokens) if tokens >= _useful(one) else None


def _least(one: Candidate, shortfall: Shortfall) -> Candidate | None:
    """The request with the least output that may help."""
    return _lowered(one, shortfall, _useful(one))


def _useful(one: Candidate) -> int:
    """The least output that is worth a request."""
    least = least_output(one.ask.route, one.ask.body)
    return max(least, min(CLAMP_TOKENS_MIN, one.bounded.output_tokens))


def _lowered(one: Candidate, shortfall: Shortfall, tokens: int) -> Candidate | None:
    """The request with less output; None: it may not be lowered, or not by that."""
    found = one.bounded
    if not shortfall.can_clamp or not one.hold.output_tokens:
        return None
    if tokens >= found.output_tokens:
        return None
    ceiling = OutputCeiling(tokens, one.entitlement.ceiling.chat_field)
    lowered = Bounded(found.demand, tokens, ceiling, clamped_by="budget")
    return rebound(one, lowered)
