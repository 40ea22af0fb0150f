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
"""How long after a lack the centre is asked again for as much, or for more."""

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


class Wanted(NamedTuple):
    """What those who wait need of the centre."""

    needs: list[LeaseNeed]
    """It should have that."""
    units: list[tuple[RateSlot, int]]
    """Of rates, for those same requests."""
    probes: list[LeaseNeed]
    """It did not have that a moment ago; asked for on their own, because it lets an
    ask wait in which something is short."""


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
        self.lacking: Balance | None = None
        """What lacked when it was last tried; None: something else did."""
        self._least: int = 0
        """It lacks while less than this is available."""
        self.amounts: list[tuple[Balance, int]] = (
            [(balance, more) for balance in path.progressive]
            if more
            else path.amounts(need)
        )
        self.rates: tuple[RateSlot, ...] = () if more else path.rates

    @property
    def is_blocked(self) -> bool:
        """Whether what lacked when it was last tried lacks still."""
        lacking = self.lacking
        if lacking is None:
            return False
        return lacking.available < self._least

    def block(self, lacking: Balance | None) -> None:
        """It was tried, and this lacked; None: something else did."""
        self.lacking = lacking
        for balance, amount in self.amounts:
            if balance is lacking:
                self._least = amount
                return

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
        self.queue: dict[int, Waiting] = {}
        """Read it only."""

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return len(self.queue) >= WAITERS_MAX

    def all(self) -> list[Waiting]:
        """Oldest first."""
        return list(self.queue.values())

    def add(self, waiting: Waiting) -> None:
        """Lets one more wait, behind the others."""
        self._count += 1
        waiting.number = self._count
        self.queue[self._count] = waiting

    def remove(self, waiting: Waiting) -> None:
        """It waits no more."""
        self.queue.pop(waiting.number, None)

    def wanted(self, now_s: float) -> Wanted:
        """What to ask for: all that those need who could be served together.

        Where an account lacked lately, only so much is asked for as the centre said
        is free. Those whom that does not serve are probed for, seldom.
        """
        amounts: dict[str, int] = {}
        units: dict[RateSlot, int] = {}
        short: dict[str, list[int]] = {}
        for waiting in self.queue.values():
            lacking = self._short(waiting, amounts, now_s)
            if lacking is not None:
                short.setdefault(lacking[0].account, []).append(lacking[1])
            elif len(amounts) + len(waiting.amounts) > NEEDS_MAX:
                break
            else:
                _add(waiting, amounts, units, now_s)
        needs = [self._need(account, amount) for account, amount in amounts.items()]
        probes = [
            self._probe(account, all_, now_s)
            for account, all_ in short.items()
            if self._standings[account].balance.available >= amounts.get(account, 0)
        ]
        return Wanted(
            [need for need in needs if need.amount > 0],
            # A slice that is here and waits for the rest of a path is enough.
            [
                (slot, count)
                for slot, count in units.items()
                if count > slot.here(now_s)
            ],
            [probe for probe in probes if probe is not None][:NEEDS_MAX],
        )

    def kept(self, accounts: Collection[str], now_s: float) -> dict[str, int]:
        """What waits for it, by account; not for those that lack elsewhere anyhow.

        So two workers that each have half of what one request needs do not both
        keep their half.
        """
        kept = dict.fromkeys(accounts, 0)
        for waiting in self.queue.values():
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
            for waiting in self.queue.values()
            for balance, _ in waiting.amounts
        }

    def lack_of(self, waiting: Waiting, now_s: float) -> Standing | None:
        """The first account known not to have what it needs; None: none is."""
        short = self._short(waiting, {}, now_s)
        return None if short is None else self._standings[short[0].account]

    def is_proven(self, waiting: Waiting, now_s: float) -> bool:
        """Whether the centre said, since it waits, that it does not have so little.

        It has recalled before it said so; asked for more, it may not have.
        """
        short = self._short(waiting, {}, now_s)
        if short is None:
            return False
        balance, amount = short
        standing = self._standings[balance.account]
        is_since = standing.lack_s >= waiting.began_s
        return is_since and standing.lack_asked <= amount - balance.available

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

    def _probe(
        self, account: str, amounts: list[int], now_s: float
    ) -> LeaseNeed | None:
        """What to ask of an account that lacked: what the first lacks, seldom.

        Then what the one lacks that needs least: the centre recalls only what could
        suffice, so its answer to that tells what holds for all.
        """
        standing = self._standings[account]
        if now_s - standing.lack_s >= ASK_AGAIN_S:
            probe = self._need(account, amounts[0])
        else:
            probe = self._need(account, min(amounts))
            if probe.amount >= standing.lack_asked:
                return None
        return probe if probe.amount > 0 else None

    def _need(self, account: str, amount: int) -> LeaseNeed:
        standing = self._standings[account]
        lacking = amount - standing.balance.available
        return LeaseNeed(account, lacking, lacking + standing.target)


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
