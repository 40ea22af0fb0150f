"""The books of limits: accounts and leases, and what each record does to them.

The one place where the rule stands. A store keeps the rows (port: Shelf) and its
database checks the same sum again. Nothing here depends on the order in which the
journals of different processes are read: what a holder spent and returned may come
before the grant that it spent from.

For every account, always:

    settled + leased + suspense - unheld <= effective

`settled` is what ended requests cost, `leased` what holders may still spend,
`suspense` what lost holders may have spent, `unheld` the part of `settled` that no
lease covered: more than the hold, or from before the account existed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from comptroller.core.account import Where, is_money, parse_account
from comptroller.core.errors import RecordError

SUM_MAX: Final = 1 << 62
"""More than this a lease's sums do not grow to: a store adds up 64-bit numbers."""


@dataclass(slots=True)
class AccountState:
    """An account's row; amounts in nano-USD, or in requests under way."""

    id: str
    starts_ns: int
    """Where its window begins; 0: at no time."""
    ends_ns: int | None
    """Where it ends; None: never."""
    limit: int
    """As declared when it was first granted from, or changed since."""
    effective: int
    """What is in force: at least the limit, more while more is committed."""
    settled: int
    leased: int
    suspense: int
    unheld: int

    @property
    def spent(self) -> int:
        """What is spent, as thresholds count it; of lost holders all it may be."""
        return self.settled + self.suspense

    @property
    def committed(self) -> int:
        """What counts against the limit."""
        return self.settled + self.leased + self.suspense

    @property
    def free(self) -> int:
        """What may still be granted; never less than 0."""
        return max(0, self.limit - self.committed)


@dataclass(slots=True)
class LeaseState:
    """What one holder has of one account, in sums that only grow (up to SUM_MAX)."""

    holder: str
    account: str
    granted: int
    returned: int
    """By the holder itself, by the closing of it, or moved to suspense."""
    consumed: int
    """Of the lease, by requests that ended."""
    suspense: int
    adjusted: int
    """What a named person booked as spent by a holder that was lost."""

    @property
    def left(self) -> int:
        """What it may still spend; below 0 only while a grant is yet to be read."""
        return self.granted - self.returned - self.consumed


class Grant(NamedTuple):
    """One account's part of a grant."""

    account: str
    amount: int
    limit: int
    starts_ns: int
    ends_ns: int | None


class Ending(NamedTuple):
    """How an allowed request ended, for the books."""

    holder: str
    """Source of the journal that decided it."""
    where: Where
    decided_ns: int
    cost: int
    held: Sequence[tuple[str, int]]
    """Every account that it was held on, permits included, with the amount."""


class Shelf(Protocol):
    """Where the rows are kept; what it hands out may be changed in place."""

    def account(self, account: str) -> AccountState | None:
        """An account's row."""

    def add(self, account: AccountState) -> None:
        """Keeps a new account."""

    def lease(self, holder: str, account: str) -> LeaseState:
        """The row of a lease; made, with zeroes, when there is none."""

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """All leases of a holder, or on an account."""

    def covering(self, where: Where, at_ns: int) -> Sequence[AccountState]:
        """The money accounts there are of these scopes, whose window holds then."""

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What ended requests of a scope cost that were decided in a span."""


class Books:
    """What each record does to accounts and leases.

    Who calls this makes it all or nothing: after an error the shelf's rows are as
    they were before the run of records.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def grant(self, holder: str, grants: Sequence[Grant]) -> None:
        """A holder may spend so much more.

        Raises:
            RecordError: it does not fit. A grant that was made did fit: what gave
                room to it is in another journal, and is yet to be read.
        """
        for grant in grants:
            state = self._opened(grant)
            lease = self._shelf.lease(holder, grant.account)
            lease.granted += grant.amount
            if lease.granted > SUM_MAX:
                # What went to and fro says nothing any more.
                went = min(lease.granted, lease.returned)
                lease.granted -= went
                lease.returned -= went
            state.leased += grant.amount
            _check(state)

    def give_back(self, holder: str, returns: Sequence[tuple[str, int]]) -> None:
        """A holder returned so much, or it was closed and this was left."""
        for account, amount in returns:
            self._shelf.lease(holder, account).returned += amount
            state = self._shelf.account(account)
            if state is not None:
                state.leased -= amount

    def end(self, ending: Ending) -> None:
        """An allowed request ended: its hold becomes spent, the rest is the lease's.

        The accounts that it was held on are booked whatever the time says. Other
        accounts of its scopes, whose window it was decided in, came into being after
        that, and count it as if they had been there: what they opened with counts
        it, too, where it ended before.
        """
        shelf = self._shelf
        booked = set[str]()
        cost = ending.cost
        for account, amount in ending.held:
            if not is_money(account):
                continue
            used = min(cost, amount)
            shelf.lease(ending.holder, account).consumed += used
            booked.add(account)
            state = shelf.account(account)
            if state is not None:
                state.leased -= used
                state.settled += cost
                state.unheld += cost - used
        if not cost:
            return
        for state in shelf.covering(ending.where, ending.decided_ns):
            if state.id not in booked:
                state.settled += cost
                state.unheld += cost

    def suspend(self, holder: str, leases: Sequence[tuple[str, int]]) -> None:
        """A holder is lost: what it may have spent counts as spent."""
        self.give_back(holder, leases)
        for account, amount in leases:
            self._shelf.lease(holder, account).suspense += amount
            state = self._shelf.account(account)
            if state is not None:
                state.suspense += amount

    def settle_suspense(self, holder: str, account: str, spent: int) -> None:
        """A named person says what a lost holder spent; the rest is free again.

        Raises:
            RecordError: more than is in suspense, or nothing is.
        """
        lease = self._shelf.lease(holder, account)
        state = self._shelf.account(account)
        if state is None or not 0 <= spent <= lease.suspense or not lease.suspense:
            raise RecordError(
                f"{holder} has {lease.suspense} in suspense on {account}, not {spent}"
            )
        state.suspense -= lease.suspense
        state.settled += spent
        lease.suspense = 0
        lease.adjusted += spent

    def change_limit(self, account: str, limit: int, effective: int) -> None:
        """An account's limit was declared anew, or more of it took effect.

        Raises:
            RecordError: more is committed; see `grant`.
        """
        state = self._shelf.account(account)
        if state is not None:
            state.limit, state.effective = limit, effective
            _check(state)

    def _opened(self, grant: Grant) -> AccountState:
        state = self._shelf.account(grant.account)
        if state is not None:
            return state
        leases = self._shelf.leases(account=grant.account)
        settled = consumed = sum(lease.consumed for lease in leases)
        if is_money(grant.account):
            scope, key, _, _ = parse_account(grant.account)
            spent = self._shelf.spent_in(scope, key, grant.starts_ns, grant.ends_ns)
            # A window that moved with the time zone was held on outside of it, too.
            settled = max(spent, consumed)
        state = AccountState(
            id=grant.account,
            starts_ns=grant.starts_ns,
            ends_ns=grant.ends_ns,
            limit=grant.limit,
            effective=grant.limit,
            settled=settled,
            leased=sum(lease.left for lease in leases),
            suspense=sum(lease.suspense for lease in leases),
            unheld=settled - consumed,
        )
        self._shelf.add(state)
        return state


def _check(state: AccountState) -> None:
    if state.committed - state.unheld > state.effective:
        raise RecordError(
            f"{state.id}: {state.committed - state.unheld} would be committed, more"
            f" than the {state.effective} in force; another journal has to be read"
            " first"
        )
