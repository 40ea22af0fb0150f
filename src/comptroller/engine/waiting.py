"""Waiting: requests that need more than the worker has, first come, first served.

One that does not fit lets those behind it pass that do, so nobody is refused for want
of what was there; each waits a bounded time. Compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from comptroller.core.leasebook import Balance
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.leasing import Lack, LeaseNeed, RateGranted
from comptroller.engine.ports import Timer
from comptroller.engine.rate_slots import RateSlot
from comptroller.engine.standing import Standing

WAITERS_MAX: Final = 1024
NEEDS_MAX: Final = 96
"""Accounts in one ask: its `lease.granted` record has to fit a journal's line."""
ASK_AGAIN_S: Final = 0.05
"""How long after a lack the centre is asked again."""

WAITS: Final = 0
HOLDS: Final = 1
"""It holds, and has yet to hear of it."""
REFUSED: Final = 2
"""It is refused, and has yet to hear of it."""
OVER: Final = 3


class Shortfall(NamedTuple):
    """Why a request is not held."""

    kind: str
    """`budget`, `concurrency`, `requests`, `tokens`, `ledger_unavailable`, `busy`."""
    lack: Lack | None = None
    """What the centre said last, of `budget` and `concurrency`."""
    rate: RateGranted | None = None
    """How the limit stands, of `requests` and `tokens`."""
    free: int = 0
    """What could be held where it lacks: here, and at the centre."""
    can_clamp: bool = False
    """Whether the budget that lacks lowers output ceilings rather than refuse."""


class Waiting:
    """A request that waits, or one under way that waits to be extended."""

    def __init__(
        self,
        path: HoldPath,
        need: Need,
        on_done: Callable[[Shortfall | None], None],
        more: int,
    ) -> None:
        self.path: HoldPath = path
        self.need: Need = need
        self.on_done: Callable[[Shortfall | None], None] = on_done
        self.more: int = more
        """What to hold in addition on its progressive accounts; 0: it is new."""
        self.number: int = 0
        """Its place among those that wait."""
        self.state: int = WAITS
        self.began_s: float = 0.0
        self.answers: int = 0
        """How many answers the centre had given when it began to wait."""
        self.is_late: bool = False
        """Whether its time is over, and only an answer is waited for."""
        self.timer: Timer | None = None
        self.amounts: list[tuple[Balance, int]] = (
            [(balance, more) for balance in path.progressive]
            if more
            else path.amounts(need)
        )
        self.rates: tuple[RateSlot, ...] = () if more else path.rates

    def stop(self) -> None:
        """It waits no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Waiters:
    """All that wait at a worker, oldest first.

    Args:
        standings: by account, of every balance that is waited for.
    """

    def __init__(self, standings: dict[str, Standing]) -> None:
        self._standings = standings
        self._count = 0
        self._queue: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return len(self._queue) >= WAITERS_MAX

    def all(self) -> list[Waiting]:
        """Oldest first."""
        return list(self._queue.values())

    def add(self, waiting: Waiting) -> None:
        """Lets one more wait, behind the others."""
        self._count += 1
        waiting.number = self._count
        self._queue[self._count] = waiting

    def remove(self, waiting: Waiting) -> None:
        """It waits no more."""
        self._queue.pop(waiting.number, None)

    def needs(self, now_s: float) -> tuple[list[LeaseNeed], list[tuple[RateSlot, int]]]:
        """What to ask for: what all lack that could be served together.

        Where an account lacked lately, only so much is asked for as the centre said
        is free; and where that serves nobody, what the first one lacks, seldom.

        Returns:
            Accounts with what lacks, and rate slots with the units of all.
        """
        wanted: dict[str, int] = {}
        probes: dict[str, int] = {}
        units: dict[RateSlot, int] = {}
        for waiting in self._queue.values():
            short = self._short(waiting, wanted, now_s)
            if short is not None:
                probes.setdefault(short[0].account, short[1])
            elif len(wanted) + len(waiting.amounts) > NEEDS_MAX:
                break
            elif not self._is_early(waiting, wanted, now_s):
                _add(waiting, wanted, units, now_s)
        needs = [
            need
            for account, amount in wanted.items()
            if (need := self._need(account, amount, now_s)) is not None
        ]
        for account, amount in probes.items():
            standing = self._standings[account]
            is_asked = standing.balance.available < wanted.get(account, 0)
            is_early = now_s - standing.lack_s < ASK_AGAIN_S
            need = self._need(account, amount, now_s)
            if not (is_asked or is_early or need is None or len(needs) >= NEEDS_MAX):
                needs.append(need)
        return needs, list(units.items())

    def kept(self, accounts: Collection[str], now_s: float) -> dict[str, int]:
        """What waits for it, by account; not for those that lack elsewhere anyhow.

        So two workers that each have half of what one request needs do not both
        keep their half.
        """
        kept = dict.fromkeys(accounts, 0)
        for waiting in self._queue.values():
            if self.lack_of(waiting, now_s) is not None:
                continue
            for balance, amount in waiting.amounts:
                if balance.account in kept:
                    kept[balance.account] += amount
        return kept

    def accounts(self) -> set[str]:
        """Every account that is waited for."""
        return {
            balance.account
            for waiting in self._queue.values()
            for balance, _ in waiting.amounts
        }

    def lack_of(self, waiting: Waiting, now_s: float) -> Standing | None:
        """The first account known not to have what it needs; None: none is."""
        short = self._short(waiting, {}, now_s)
        return None if short is None else self._standings[short[0].account]

    def hopeless(self, waiting: Waiting, now_s: float) -> Standing | None:
        """The account that could not serve it if every hold on it ended at no cost."""
        for balance, amount in waiting.amounts:
            standing = self._standings[balance.account]
            lack = standing.lack
            if lack is None or not standing.is_lacking(now_s):
                continue
            if amount > lack.free + lack.leased and amount > balance.available:
                return standing
        return None

    def _short(
        self, waiting: Waiting, wanted: dict[str, int], now_s: float
    ) -> tuple[Balance, int] | None:
        """The first account where it does not fit beside what is wanted already."""
        for balance, amount in waiting.amounts:
            standing = self._standings[balance.account]
            lack = standing.lack
            if lack is None or not standing.is_lacking(now_s):
                continue
            taken = wanted.get(balance.account, 0)
            room = balance.available + lack.free - taken
            if amount > room:
                return balance, amount
        return None

    def _is_early(self, waiting: Waiting, wanted: dict[str, int], now_s: float) -> bool:
        """Whether some account lacked again and again, and just now."""
        for balance, amount in waiting.amounts:
            standing = self._standings[balance.account]
            if standing.lacks > 1 and now_s - standing.lack_s < ASK_AGAIN_S:
                taken = wanted.get(balance.account, 0)
                if amount > balance.available - taken:
                    return True
        return False

    def _need(self, account: str, amount: int, now_s: float) -> LeaseNeed | None:
        standing = self._standings[account]
        lacking = amount - standing.balance.available
        if lacking <= 0:
            return None
        want = lacking
        if not standing.is_lacking(now_s):
            want += standing.target
        return LeaseNeed(account, lacking, want)


def _add(
    waiting: Waiting, wanted: dict[str, int], units: dict[RateSlot, int], now_s: float
) -> None:
    """Adds what one that waits needs."""
    for balance, amount in waiting.amounts:
        wanted[balance.account] = wanted.get(balance.account, 0) + amount
    for slot in waiting.rates:
        more = slot.units_of(waiting.need.tokens)
        if more and now_s >= slot.ask_after_s:
            units[slot] = units.get(slot, 0) + more
