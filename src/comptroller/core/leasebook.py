"""The lease book: what one worker may still spend, and what its requests hold of it.

A worker holds a request on every account of its path from the leases it has, without
asking anybody. For every account, always, as the centre's books have it:

    granted - returned - consumed = available + held

and neither `available` nor `held` is ever below 0. Compiled: keep it plain.
"""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.core.account import is_money


class Balance:
    """What a worker has of one account; nano-USD, or requests under way.

    Who keeps one must let it go when the book forgets it.
    """

    def __init__(self, account: str) -> None:
        self.account: str = account
        self.is_money: bool = is_money(account)
        self.available: int = 0
        self.held: int = 0
        self.taken: int = 0
        """Sum of what was held since it was last set to 0; sizes the next ask."""


class LeaseBook:
    """All balances of a worker."""

    def __init__(self) -> None:
        self._balances: dict[str, Balance] = {}

    def hold(self, wanted: Sequence[tuple[Balance, int]]) -> Balance | None:
        """Holds every amount, or none.

        Args:
            wanted: balances of this book, each with an amount of at least 0.

        Returns:
            None: all is held. Else the first balance that lacks; nothing changed.
        """
        for count, (balance, amount) in enumerate(wanted):
            if balance.available < amount:
                _undo(wanted, count)
                return balance
            balance.available -= amount
            balance.held += amount
            balance.taken += amount
        return None

    def extend(self, more: Sequence[tuple[Balance, int]]) -> Balance | None:
        """Makes a request's hold larger by every amount, or by none; see `hold`."""
        return self.hold(more)

    def settle(self, held: Sequence[tuple[Balance, int]], cost: int) -> None:
        """Ends a hold: the cost is spent, the rest is available again.

        Where it cost more than was held the lease pays what was held, and the
        centre books the rest as spent without a lease. A permit is not spent.
        """
        for balance, amount in held:
            balance.held -= amount
            if not balance.is_money:
                balance.available += amount
            elif cost < amount:
                balance.available += amount - cost

    def release(self, held: Sequence[tuple[Balance, int]]) -> None:
        """Ends a hold of which nothing was spent."""
        for balance, amount in held:
            balance.held -= amount
            balance.available += amount

    def balance(self, account: str) -> Balance:
        """The balance of an account; empty when nothing was granted yet."""
        balance = self._balances.get(account)
        if balance is None:
            balance = Balance(account)
            self._balances[account] = balance
        return balance

    def grant(self, account: str, amount: int) -> None:
        """So much more may be spent."""
        self.balance(account).available += amount

    def give_back(self, account: str, keep: int) -> int:
        """Takes out what is available beyond what is to be kept.

        Returns:
            How much that is; the caller records it before anybody counts on it.
        """
        balance = self._balances.get(account)
        if balance is None or balance.available <= keep:
            return 0
        amount = balance.available - keep
        balance.available = keep
        return amount

    def idle(self) -> list[Balance]:
        """The balances of which something is available."""
        return [each for each in self._balances.values() if each.available]

    def forget(self, account: str) -> bool:
        """Drops an account whose window is over.

        Returns:
            False: something is available or held still, so it stays.
        """
        balance = self._balances.get(account)
        if balance is None:
            return True
        if balance.available or balance.held:
            return False
        self._balances.pop(account)
        return True


def _undo(wanted: Sequence[tuple[Balance, int]], count: int) -> None:
    """Gives back the first so many amounts, which were taken."""
    for index in range(count):
        balance, amount = wanted[index]
        balance.available += amount
        balance.held -= amount
        balance.taken -= amount
