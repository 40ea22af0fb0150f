"""Auditing: every account worked out anew from requests, leases and settlements.

A store hands out rows; what must be true of them stands here once. Everything that
is recorded has to be projected first: until then a lease may look overdrawn, for
its grant is in another journal than what was spent of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import gcd
from typing import Final, NamedTuple

from comptroller.core.account import Account, Where, parse_account
from comptroller.core.books import AccountState, LeaseState
from comptroller.engine.ledger_rows import SettlementRow

HOUR_NS: Final = 3_600 * 1_000_000_000
_INSIDE: Final = (
    ("organization", "tenant"),
    ("organization", "unit"),
    ("organization", "service"),
    ("organization", "credential"),
    ("organization", "run"),
    ("tenant", "unit"),
    ("service", "run"),
)
"""Scopes whose sums are parts of another's; which service a credential is of, and
which unit a service, no account's name says."""


class AuditRows(NamedTuple):
    """What the books say, and what they are checked against."""

    accounts: Sequence[AccountState]
    leases: Sequence[LeaseState]
    settlements: Sequence[SettlementRow]
    spent: Mapping[str, int]
    """Money account to what ended requests of its scope and window cost."""
    consumed: Mapping[tuple[str, str], int]
    """Holder and account to what ended requests took of the lease."""
    held: Mapping[tuple[str, str], int]
    """Holder and account to what open requests hold."""
    lost: frozenset[str]
    """The holders whose journals are lost: what they had open never ends."""


class Cost(NamedTuple):
    """What ended requests of one path and time cost."""

    where: Where
    """Whatever organization it names: a store has one."""
    decided_ns: int
    cost: int


def boundary_ns(accounts: Sequence[AccountState]) -> int:
    """The coarsest step of time at which every window of these begins and ends.

    Costs may be summed within steps of it, counted from the epoch.
    """
    ends = (state.ends_ns or 0 for state in accounts)
    return gcd(HOUR_NS, *(state.starts_ns for state in accounts), *ends)


def spent_of(accounts: Sequence[AccountState], costs: Iterable[Cost]) -> dict[str, int]:
    """What was spent on each money account in its window."""
    spent: dict[str, int] = {}
    scopes = defaultdict[tuple[str, str], list[AccountState]](list)
    for state in accounts:
        name = parse_account(state.id)
        if name.is_money:
            spent[state.id] = 0
            key = "" if name.scope == "organization" else name.key
            scopes[name.scope, key].append(state)
    for where, decided_ns, cost in costs:
        for scope in where._replace(organization="").scopes():
            for state in scopes.get(scope, ()):
                if is_within(state, decided_ns):
                    spent[state.id] += cost
    return spent


def contradictions(rows: AuditRows) -> list[str]:
    """What does not add up, in words; none: the books are balanced.

    For every account: what its leases have left is what is leased; what requests
    cost and persons settled is what is settled; what no lease covered is what is
    unheld; all of it together is within what is in force, and what a part of an
    organization settled is within what the whole did. For every lease: it is not
    overdrawn, not by requests under way either, and requests took from it what it
    says.
    """
    return [*_of_leases(rows), *_of_accounts(rows), *_of_nesting(rows)]


def _of_leases(rows: AuditRows) -> Iterator[str]:
    known = {(lease.holder, lease.account) for lease in rows.leases}
    for lease in rows.leases:
        key = (lease.holder, lease.account)
        name = f"lease of {lease.holder} on {lease.account}"
        consumed = rows.consumed.get(key, 0)
        if lease.consumed != consumed:
            yield (
                f"{name}: {lease.consumed} consumed, but its requests took {consumed}"
            )
        if lease.left < 0:
            yield f"{name}: overdrawn by {-lease.left}"
        held = rows.held.get(key, 0)
        if held > max(0, lease.left) and lease.holder not in rows.lost:
            yield f"{name}: requests under way hold {held}, but {lease.left} is left"
        settled = sum(
            one.spent for one in rows.settlements if (one.holder, one.account) == key
        )
        if lease.adjusted != settled:
            yield f"{name}: {lease.adjusted} adjusted, but persons settled {settled}"
    for kind, sums in (("took", rows.consumed), ("hold", rows.held)):
        for (holder, account), amount in sums.items():
            if amount and (holder, account) not in known and holder not in rows.lost:
                yield f"{account}: requests of {holder} {kind} {amount} without a lease"


def _of_accounts(rows: AuditRows) -> Iterator[str]:
    leases = defaultdict[str, list[LeaseState]](list)
    for lease in rows.leases:
        leases[lease.account].append(lease)
    for state in rows.accounts:
        yield from _of_account(state, leases.pop(state.id, []), rows.spent)
    for account, left in leases.items():
        amount = sum(lease.left for lease in left)
        if amount:
            yield f"{account}: leases have {amount} left of an account there is not"


def _of_account(
    state: AccountState, leases: Sequence[LeaseState], spent: Mapping[str, int]
) -> Iterator[str]:
    adjusted = sum(lease.adjusted for lease in leases)
    settled = spent.get(state.id, 0) + adjusted
    sums = {
        "leased": sum(lease.left for lease in leases),
        "suspense": sum(lease.suspense for lease in leases),
        "settled": settled,
        "unheld": settled - adjusted - sum(lease.consumed for lease in leases),
    }
    for name, expected in sums.items():
        found = getattr(state, name)
        if found != expected:
            yield (
                f"{state.id}: {name} {found}, worked out anew {expected}"
                f" (off by {found - expected})"
            )
    over = state.committed - state.unheld - state.effective
    if over > 0:
        yield (
            f"{state.id}: {state.settled} settled + {state.leased} leased"
            f" + {state.suspense} in suspense - {state.unheld} unheld"
            f" is {over} more than the {state.effective} in force"
        )
    if state.effective < state.limit:
        yield f"{state.id}: less in force, {state.effective}, than its {state.limit}"


def _of_nesting(rows: AuditRows) -> Iterator[str]:
    """What persons settled is left out: they may know more of a part than the whole."""
    adjusted = defaultdict[str, int](int)
    for lease in rows.leases:
        adjusted[lease.account] += lease.adjusted
    named = [(parse_account(state.id), state) for state in rows.accounts]
    windows = defaultdict[object, list[tuple[Account, AccountState]]](list)
    for name, state in named:
        if name.is_money:
            window = (name.window, name.label, state.starts_ns, state.ends_ns)
            windows[window].append((name, state))
    for accounts in windows.values():
        for outer, whole in accounts:
            for inner_scope in (one for scope, one in _INSIDE if scope == outer.scope):
                parts = sum(
                    part.settled - adjusted[part.id]
                    for inner, part in accounts
                    if inner.scope == inner_scope and _is_inside(inner, outer)
                )
                if parts > whole.settled - adjusted[whole.id]:
                    yield (
                        f"{whole.id}: {whole.settled} settled, but its"
                        f" {inner_scope} accounts settled {parts}"
                    )


def is_within(state: AccountState, at_ns: int) -> bool:
    """Whether an account's window holds then."""
    return state.starts_ns <= at_ns and (state.ends_ns is None or at_ns < state.ends_ns)


def _is_inside(inner: Account, outer: Account) -> bool:
    return outer.scope == "organization" or inner.key.startswith(f"{outer.key}/")
