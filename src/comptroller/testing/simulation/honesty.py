"""Honesty: nobody is refused for want of what is there (invariant 12).

Asked only of worlds in which nothing fails: what a process has that is paused, or
that cannot be reached, cannot be called back.
"""

from __future__ import annotations

from typing import Final

from comptroller.core.account import parse_account
from comptroller.core.budget_path import declared_limit
from comptroller.engine.leasing import AskLeases, Leased
from comptroller.engine.waiting import Shortfall
from comptroller.testing.simulation.invariants import BrokenError
from comptroller.testing.simulation.scene import Scene, SeenExchange, SeenWorker

REMEMBERED_S: Final = 1.05
"""A worker may believe so long what the centre said it has not."""


class Honesty:
    """Looks at what there really was when the centre said that something lacks."""

    def __init__(self, world: Scene) -> None:
        self._world = world
        self._asks: dict[tuple[str, int], dict[str, int]] = {}
        """By holder and number: by account, the least there was since it came."""
        self._lacks: dict[tuple[str, str], list[tuple[float, int]]] = {}
        """By holder and account: when it was said to lack, and what there was."""
        self._limits: dict[tuple[int, str], int | None] = {}
        """As declared, by revision and account."""

    def asked(self, asked: AskLeases) -> None:
        """An ask has come."""
        key = (asked.holder, asked.sequence)
        if self._world.plan.is_calm and key not in self._asks:
            accounts = [need.account for need in asked.needs if need.amount]
            self._asks[key] = {name: self._there_is(name) for name in accounts}

    def returned(self) -> None:
        """Something came back: whoever waits may find less elsewhere now."""
        for least in self._asks.values():
            for account, amount in least.items():
                least[account] = min(amount, self._there_is(account))

    def answered(self, asked: AskLeases, leased: Leased) -> None:
        """The centre answers an ask."""
        least = self._asks.pop((asked.holder, asked.sequence), {})
        now_s = self._world.agenda.monotonic_s()
        for lack in leased.lacks:
            there_is = self._there_is(lack.account)
            there_was = min(there_is, least.get(lack.account, there_is))
            said = self._lacks.setdefault((asked.holder, lack.account), [])
            said.append((now_s, there_was))

    def judge(self, exchange: SeenExchange, shortfall: Shortfall) -> None:
        """A request is refused.

        Raises:
            BrokenError: there was enough for it.
        """
        kind, lack = shortfall.kind, shortfall.lack
        if kind in {"requests", "tokens"}:
            return
        if lack is None:
            what = f"{exchange.id} is refused as {kind}, though nothing fails"
            raise BrokenError(12, what)
        need = exchange.bound if kind == "budget" else 1
        since_s = exchange.began_s - REMEMBERED_S
        said = self._lacks.get((exchange.worker.source, lack.account), [])
        there_was = [amount for said_s, amount in said if said_s >= since_s]
        if not there_was or need <= min(there_was):
            what = f"{exchange.id} needed {need}, and there was {there_was}"
            raise BrokenError(12, f"{what}: {shortfall}")

    def _there_is(self, account: str) -> int:
        """What could be held on an account, here or anywhere, if all were together."""
        world = self._world
        state = world.store.state(account)
        limit = self._declared(account)
        if state is None or limit is None:
            return 0
        found = min(limit, state.limit) - state.committed
        for worker in world.workers.values():
            if worker is not None:
                found += self._idle(worker, account)
        return found

    def _idle(self, worker: SeenWorker, account: str) -> int:
        """What a worker has and nobody who waits there is about to take."""
        holding = worker.holding
        balance = holding.book._balances.get(account)  # noqa: SLF001  sees all
        if balance is None or not balance.available:
            return 0
        taken = sum(
            amount
            for waiting in holding._waiters.queue.values()  # noqa: SLF001
            for one, amount in waiting.amounts
            if one is balance
        )
        return max(0, balance.available - taken)

    def _declared(self, account: str) -> int | None:
        revision, registry = self._world.published
        if registry is None:
            return None
        key = (revision, account)
        if key not in self._limits:
            services = self._world.service_of
            limited = declared_limit(registry, parse_account(account), services.get)
            self._limits[key] = None if limited is None else limited.limit
        return self._limits[key]
