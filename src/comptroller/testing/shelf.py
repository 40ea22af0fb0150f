"""Fake of the books' shelf: rows in dictionaries, sums worked out anew each time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from comptroller.core.account import Where, is_money
from comptroller.core.books import AccountState, LeaseState


class Ended(NamedTuple):
    """An allowed request that ended, as `spent_in` counts it."""

    where: Where
    decided_ns: int
    cost: int


class InMemoryShelf:
    """Satisfies `core.books.Shelf`."""

    def __init__(self) -> None:
        self._accounts: dict[str, AccountState] = {}
        self._leases: dict[tuple[str, str], LeaseState] = {}
        self._ended: list[Ended] = []

    def account(self, account: str) -> AccountState | None:
        """An account's row."""
        return self._accounts.get(account)

    def accounts(self) -> Sequence[AccountState]:
        """Every account's row, by id."""
        return [self._accounts[each] for each in sorted(self._accounts)]

    def add(self, account: AccountState) -> None:
        """Keeps a new account.

        Raises:
            ValueError: there is one of that id.
        """
        if account.id in self._accounts:
            raise ValueError(f"{account.id} is kept already")
        self._accounts[account.id] = account

    def lease(self, holder: str, account: str) -> LeaseState:
        """The row of a lease; made, with zeroes, when there is none."""
        key = (holder, account)
        if key not in self._leases:
            self._leases[key] = LeaseState(holder, account, 0, 0, 0, 0, 0)
        return self._leases[key]

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """All leases of a holder, on an account, of both or of neither; ordered."""
        return [
            self._leases[key]
            for key in sorted(self._leases)
            if holder in {None, key[0]} and account in {None, key[1]}
        ]

    def covering(self, where: Where, at_ns: int) -> Sequence[AccountState]:
        """The money accounts there are of these scopes, whose window holds then."""
        paths = {f"{scope}:{key}" for scope, key in where.scopes()}
        return [
            state
            for state in self._accounts.values()
            if _is_on(state.id, paths)
            and is_money(state.id)
            and state.starts_ns <= at_ns
            and (state.ends_ns is None or at_ns < state.ends_ns)
        ]

    def keep_ended(self, ended: Ended) -> None:
        """Counts a request that ended; before or after `Books.end`, but in one step."""
        self._ended.append(ended)

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What ended requests of a scope cost that were decided in a span."""
        return sum(
            each.cost
            for each in self._ended
            if (scope == "organization" or (scope, key) in each.where.scopes())
            and starts_ns <= each.decided_ns
            and (ends_ns is None or each.decided_ns < ends_ns)
        )

    def copy(self) -> InMemoryShelf:
        """The same rows, apart: to go back to when a run of records fails."""
        shelf = InMemoryShelf()
        shelf._accounts = {key: replace(row) for key, row in self._accounts.items()}
        shelf._leases = {key: replace(row) for key, row in self._leases.items()}
        shelf._ended = list(self._ended)
        return shelf


def _is_on(account_id: str, paths: Collection[str]) -> bool:
    """Whether an account is of one of these scopes; books have one organization."""
    path = account_id.rpartition("/")[0]
    return path in paths or path.startswith("organization:")
