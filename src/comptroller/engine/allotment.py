"""Allotments: what each of several asks gets, worked out before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from comptroller.core.account import Account, parse_account
from comptroller.core.books import AccountState
from comptroller.core.errors import InvalidArgumentError
from comptroller.core.granting import grant
from comptroller.core.window import Span
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.declared import Declared
from comptroller.engine.leasing import AskLeases, Granted, Lack, LeaseNeed
from comptroller.engine.ports import Store

NEEDS_MAX: Final = 128
ACCOUNT_CHARS_MAX: Final = 300
"""So that every `lease.granted` fits into a record."""


@dataclass(slots=True)
class Share:
    """What one ask gets if it is answered now."""

    grants: list[records.GrantedLease] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    short: dict[str, int] = field(default_factory=dict)
    """Accounts that lack, and by how much more than is free."""

    def granted(self) -> list[Granted]:
        """The grants, as the holder is told of them."""
        return [Granted(one.account, one.amount) for one in self.grants]


@dataclass(slots=True)
class _Purse:
    """What may still be granted from an account in this allotment."""

    limit: int
    free: int
    spent: int
    span: Span
    state: AccountState | None
    taken: int = 0
    """Of what is free, by this allotment."""
    is_noted: bool = False
    """Whether a limit that was declared anew is in the batch already."""


def check(asked: AskLeases) -> None:
    """Refuses an ask that no worker of this release sends.

    Raises:
        InvalidArgumentError: an account is none, an amount is negative, or there are
            too many needs for one record.
    """
    if asked.sequence < 1 or len(asked.needs) > NEEDS_MAX:
        raise InvalidArgumentError(f"an ask is numbered and has {NEEDS_MAX} needs")
    for need in asked.needs:
        try:
            parse_account(need.account)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from error
        if len(need.account) > ACCOUNT_CHARS_MAX or need.amount < 0:
            raise InvalidArgumentError(f"{need.account[:80]} cannot be asked for")
    if any(need.units < 0 for need in asked.rates):
        raise InvalidArgumentError("units are not negative")


class Allotment:
    """Shares out what is free among asks, first come first served.

    Args:
        store: what is committed now.
        declared: what the limits are now.
        now_ns: the time, for the accounts' windows.
        holders: how many holders there are.
        contested: accounts that somebody waits for: nobody takes ahead of them.
    """

    def __init__(
        self,
        store: Store,
        declared: Declared,
        now_ns: int,
        holders: int,
        contested: set[str],
    ) -> None:
        self._store = store
        self._declared = declared
        self._now_ns = now_ns
        self._holders = holders
        self._contested = contested
        self._purses: dict[str, _Purse | None] = {}

    def share(self, needs: Sequence[LeaseNeed]) -> Share:
        """What an ask would get; nothing is taken yet.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        share = Share()
        self._open({need.account for need in needs})
        taken: dict[str, int] = {}
        for need in needs:
            purse = self._purses[need.account]
            if purse is None:
                if need.amount:
                    # It is not declared any more: it is not granted from.
                    share.lacks.append(Lack(need.account, 0, 0, 0, 0, 0, None))
                continue
            free = purse.free - purse.taken - taken.get(need.account, 0)
            want = need.amount if need.account in self._contested else need.want
            amount = grant(free, need.amount, want, self._holders)
            if amount:
                taken[need.account] = taken.get(need.account, 0) + amount
                share.grants.append(_granted(need.account, amount, purse))
            elif need.amount > free:
                share.lacks.append(_lack(need.account, purse, free))
                share.short[need.account] = need.amount - free
        return share

    def take(self, share: Share, batch: Batch) -> None:
        """Takes a share, and notes limits that were declared anew before it."""
        for one in share.grants:
            purse = self._purses[one.account]
            if purse is None:
                continue
            purse.taken += one.amount
            state = purse.state
            if state is not None and state.limit != purse.limit and not purse.is_noted:
                purse.is_noted = True
                note_limit(state, purse.limit, batch)

    def look_again(self, accounts: Iterable[str]) -> None:
        """Reads accounts anew, because another journal was projected meanwhile.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        before = {name: self._purses.pop(name, None) for name in accounts}
        self._open(set(before))
        for name, old in before.items():
            new = self._purses[name]
            if old is not None and new is not None:
                new.taken, new.is_noted = old.taken, old.is_noted

    def _open(self, accounts: set[str]) -> None:
        new = [one for one in sorted(accounts) if one not in self._purses]
        states = self._store.accounts(new) if new else {}
        for name in new:
            self._purses[name] = self._purse(parse_account(name), states.get(name))

    def _purse(self, account: Account, state: AccountState | None) -> _Purse | None:
        limited = self._declared.limit(account)
        if limited is None:
            return None
        span = self._declared.span(account, self._now_ns)
        if span is None and state is not None and state.leased > 0:
            # A stream that is held in it goes on, and its hold may grow.
            span = Span(account.label, state.starts_ns, state.ends_ns)
        if span is None:
            # Its window is neither open nor just over: nothing is granted from it.
            span = Span(account.label, 0, self._now_ns)
            spent = state.settled if state is not None else 0
            return _Purse(limited.limit, 0, spent, span, state)
        if state is not None:
            spent, committed = state.settled, state.committed
        else:
            spent = committed = 0
            if account.is_money:
                spent = committed = self._store.spent_in(
                    account.scope, account.key, span.starts_ns, span.ends_ns
                )
        free = max(0, limited.limit - committed)
        return _Purse(limited.limit, free, spent, span, state)


def note_limit(state: AccountState, limit: int, batch: Batch) -> int:
    """Records what is in force of a limit as declared: more, while more is committed.

    Returns:
        What is in force.
    """
    effective = max(limit, state.committed - state.unheld)
    if (limit, effective) != (state.limit, state.effective):
        data = records.LimitChanged(account=state.id, limit=limit, effective=effective)
        batch.add(records.LIMIT_CHANGED, f"account/{state.id}", data)
    return effective


def _granted(account: str, amount: int, purse: _Purse) -> records.GrantedLease:
    return records.GrantedLease(
        account=account,
        amount=amount,
        limit=purse.limit,
        starts_ns=purse.span.starts_ns,
        ends_ns=purse.span.ends_ns,
    )


def _lack(account: str, purse: _Purse, free: int) -> Lack:
    state = purse.state
    return Lack(
        account=account,
        limit=purse.limit,
        spent=purse.spent,
        leased=state.leased if state is not None else 0,
        suspense=state.suspense if state is not None else 0,
        free=max(0, free),
        resets_ns=purse.span.ends_ns,
    )
