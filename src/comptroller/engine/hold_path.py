"""Hold paths: everything that one request is held on, found once and kept.

A path is what the registry declares for whose the request is, with the accounts of
the windows that hold now. It costs nothing where nothing is declared. Compiled.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from comptroller.core.account import PARALLEL_LABEL, Where
from comptroller.core.budget_path import (
    Limited,
    RateLimit,
    money_limits,
    parallel_limits,
    rate_limits,
)
from comptroller.core.leasebook import Balance, LeaseBook
from comptroller.core.registry import Registry
from comptroller.core.window import span_at
from comptroller.engine.ports import Clock
from comptroller.engine.rate_slots import RateSlot
from comptroller.engine.standing import Standing

PATHS_MAX: Final = 20_000
"""Runs are names that clients make: the oldest paths are found again when needed."""
NEVER_NS: Final = 2**63 - 1

json = msgspec.json.Encoder().encode


class Need:
    """What one request needs of its limits, and what is held for it."""

    def __init__(self, nano_usd: int, slice_nano_usd: int, tokens: int) -> None:
        self.nano_usd: int = nano_usd
        """The most that it can cost."""
        self.slice_nano_usd: int = slice_nano_usd
        """What is held on progressive accounts; grows as it is extended."""
        self.tokens: int = tokens
        self.held: list[tuple[Balance, int]] | None = None
        """None: nothing is held, or it has ended."""
        self.serial: int = 0
        """Of the newest slice of a rate when it was charged."""


class HoldPath:
    """What a request of somebody for some model is held on."""

    def __init__(
        self,
        money: tuple[Balance, ...],
        progressive: tuple[Balance, ...],
        permits: tuple[Balance, ...],
        rates: tuple[RateSlot, ...],
    ) -> None:
        self.money: tuple[Balance, ...] = money
        """Each holds all that the request can cost; the widest scope first."""
        self.progressive: tuple[Balance, ...] = progressive
        """Each holds a slice of it, extended while the reply streams."""
        self.permits: tuple[Balance, ...] = permits
        """Each holds one request under way."""
        self.rates: tuple[RateSlot, ...] = rates
        self.is_empty: bool = not (money or progressive or permits or rates)
        """Whether no limit is declared for such requests."""
        tokens = [slot for slot in rates if slot.is_tokens]
        self.needs_bound: bool = bool(money or progressive or tokens)
        """Whether what a request may use has to be bounded for its limits to hold."""
        self.clamping: frozenset[str] = frozenset()
        """Accounts whose budget lowers an output ceiling rather than refuse."""
        self.data: bytes = b""
        """Members of the decision record; none when the path is empty."""
        self.from_ns: int = 0
        self.until_ns: int = NEVER_NS
        """It holds for requests admitted from then, and before then."""
        self.is_used: bool = False
        """Whether something was held on it since the last look."""

    @property
    def can_clamp(self) -> bool:
        """Whether some budget on it lowers an output ceiling rather than refuse."""
        return len(self.clamping) > 0

    def amounts(self, need: Need) -> list[tuple[Balance, int]]:
        """What is to be held, and where."""
        nano_usd = need.nano_usd
        wanted = [(balance, nano_usd) for balance in self.money]
        if self.progressive:
            slice_nano_usd = need.slice_nano_usd
            wanted += [(balance, slice_nano_usd) for balance in self.progressive]
        if self.permits:
            wanted += [(balance, 1) for balance in self.permits]
        return wanted


NO_LIMITS: Final = HoldPath((), (), (), ())
"""The path of a request that nothing limits."""


class HoldPaths:
    """The paths of a worker, with the standings and rate slots that they share."""

    def __init__(self, book: LeaseBook, clock: Clock) -> None:
        self.book = book
        self._clock = clock
        self._registry: Registry | None = None
        self._zone = ZoneInfo("UTC")
        self._paths: OrderedDict[tuple[Where, str], HoldPath] = OrderedDict()
        self.standings: dict[str, Standing] = {}
        """By account: of every balance that was on a path, until it is forgotten."""
        self.slots: dict[str, RateSlot] = {}
        """By the limit's id."""

    def take(self, registry: Registry) -> None:
        """Finds paths by a new registry; balances stay."""
        self._registry = registry
        self._zone = ZoneInfo(registry.timezone)
        self._paths.clear()

    def find(self, where: Where, model_id: str, now_ns: int) -> HoldPath:
        """The path of a request that is admitted now."""
        key = (where, model_id)
        path = self._paths.get(key)
        if path is not None and path.from_ns <= now_ns < path.until_ns:
            return path
        path = self._make(where, model_id, now_ns)
        self._paths[key] = path
        if len(self._paths) > PATHS_MAX:
            self._paths.popitem(last=False)
        return path

    def renew(self, path: HoldPath) -> None:
        """Lets a path that was kept for a while have balances of the book again."""
        ends_ns = None if path.until_ns == NEVER_NS else path.until_ns
        path.money = self._renewed(path.money, ends_ns)
        path.progressive = self._renewed(path.progressive, ends_ns)
        path.permits = self._renewed(path.permits, None)

    def forget(self, standing: Standing) -> None:
        """Forgets an account of which the worker has nothing."""
        account = standing.balance.account
        if self.book.forget(account):
            self.standings.pop(account, None)

    def standing(self, account: str, ends_ns: int | None) -> Standing:
        """An account's standing, made when there is none."""
        found = self.standings.get(account)
        if found is None:
            balance = self.book.balance(account)
            found = Standing(balance, ends_ns, self._clock.monotonic_s())
            self.standings[account] = found
        return found

    def _renewed(
        self, balances: tuple[Balance, ...], ends_ns: int | None
    ) -> tuple[Balance, ...]:
        """Balances of the same accounts that the book has not forgotten."""
        return tuple(
            [self.standing(balance.account, ends_ns).balance for balance in balances]
        )

    def _make(self, where: Where, model_id: str, now_ns: int) -> HoldPath:
        registry = self._registry
        assert registry is not None  # noqa: S101  there are no requests before that
        money: list[Balance] = []
        progressive: list[Balance] = []
        clamping: list[str] = []
        from_ns, until_ns = 0, NEVER_NS
        for limited in money_limits(registry, where):
            span = span_at(limited.window, self._zone, now_ns)
            from_ns = max(from_ns, span.starts_ns)
            if span.ends_ns is not None:
                until_ns = min(until_ns, span.ends_ns)
            account = limited.account(span.label).id
            balance = self.standing(account, span.ends_ns).balance
            (progressive if limited.hold == "progressive" else money).append(balance)
            if limited.on_shortfall == "clamp":
                clamping.append(account)
        permits = [
            self._permit(limited)
            for limited in parallel_limits(registry, where, model_id)
        ]
        slots = [self._slot(rate) for rate in rate_limits(registry, where, model_id)]
        path = HoldPath(tuple(money), tuple(progressive), tuple(permits), tuple(slots))
        path.clamping = frozenset(clamping)
        path.from_ns, path.until_ns = from_ns, until_ns
        if not path.is_empty:
            path.data = _members(path)
        return path

    def _permit(self, limited: Limited) -> Balance:
        return self.standing(limited.account(PARALLEL_LABEL).id, None).balance

    def _slot(self, rate: RateLimit) -> RateSlot:
        slot = self.slots.get(rate.id)
        if slot is None:
            slot = RateSlot(rate)
            self.slots[rate.id] = slot
        else:
            slot.update(rate)
        return slot


def _members(path: HoldPath) -> bytes:
    """The members of a decision record that say what it is held on."""
    members = {
        "comptroller.hold.accounts": [balance.account for balance in path.money],
        "comptroller.hold.permits": [balance.account for balance in path.permits],
    }
    if path.progressive:
        progressive = [balance.account for balance in path.progressive]
        members["comptroller.hold.progressive"] = progressive
    return json(members)[1:-1]
