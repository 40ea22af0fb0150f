"""Budgeting: every limit with what is spent, held and left of it now, for people.

Declared budgets are listed whether any request has touched them or not; credentials
and runs have theirs from their service. See docs/how-to/budgets.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from comptroller.core import credential as credentials
from comptroller.core.account import PARALLEL, SCOPES, Account, parse_account
from comptroller.core.books import AccountState, LeaseState
from comptroller.core.budget_owner import budget_owner
from comptroller.core.budget_path import Limited, declared_limit
from comptroller.core.credential import CredentialState
from comptroller.core.errors import NotFoundError
from comptroller.core.forecast import Pace, forecast, pace
from comptroller.core.money import usd
from comptroller.core.registry import BUDGET_WINDOWS, Registry
from comptroller.core.thresholds import is_reached
from comptroller.core.timestamps import rfc3339
from comptroller.core.window import Span, span_at
from comptroller.engine.explanation import named
from comptroller.engine.ledger_ports import LedgerReports
from comptroller.engine.ports import Clock, Reports
from comptroller.engine.registry_fold import fold

Document: TypeAlias = dict[str, Any]
"""JSON for a person or a program to read."""

NANO_USD: Final = "nano_usd"
REQUESTS: Final = "requests"
_S: Final = 10**9
_MANY: Final = ("service", "credential")
_WINDOWS: Final = (*BUDGET_WINDOWS, PARALLEL)


class Listing(NamedTuple):
    """Budgets, as many as were asked for."""

    rows: list[Document]
    is_cut: bool
    """Whether there are more."""


class _Known(NamedTuple):
    """What is applied, and which service each credential belongs to."""

    registry: Registry
    services: dict[str, str]
    """Of every credential, by its id."""
    active: list[str]
    """The credentials that work now."""

    def limit(self, account: Account) -> Limited | None:
        return declared_limit(self.registry, account, self.services.get)


class _Budget(NamedTuple):
    """A limit at one of its windows."""

    account: Account
    span: Span
    declared: Limited | None
    """None: it is not limited any more."""


class Budgeting:
    """Answers what is left of every limit."""

    def __init__(self, reports: Reports, ledger: LedgerReports, clock: Clock) -> None:
        self._reports = reports
        self._ledger = ledger
        self._now_ns = clock.now_ns()
        self._spent_by: dict[tuple[str, int], dict[str, int]] = {}

    def budgets(self, limit: int, *, with_parallel: bool = False) -> Listing:
        """Every budget at its current window (`budget list`), widest scope first.

        Args:
            limit: at most so many; runs come last.
            with_parallel: limits on requests under way, too.
        """
        known = self._known()
        if known is None:
            return Listing([], is_cut=False)
        found = list(
            islice(self._current(known, with_parallel=with_parallel), limit + 1)
        )
        return Listing(self._rows(known, found[:limit]), len(found) > limit)

    def show(self, what: str) -> list[Document]:
        """What is named, with its leases and alerts (`budget show`).

        Args:
            what: an account, a budget's id, or a scope with or without its kind:
                `service:checkout`, `checkout`.

        Raises:
            NotFoundError: nothing of that name has a limit, or ever had.
        """
        known = self._known()
        found: list[_Budget] = []
        current: list[_Budget] = []
        if known is not None:
            current = list(self._current(known, with_parallel=True))
            found = [one for one in current if what in _names(one.account)]
            found = found or self._past(known, what)
        if known is None or not found:
            names = [name for one in current for name in _names(one.account)]
            raise NotFoundError(_unknown(what, names))
        rows = self._rows(known, found)
        return [row | self._inside(row["account"]) for row in rows]

    def warnings(self, after: Registry) -> list[str]:
        """What a configuration would make stop, in words.

        Of limits that it declares anew or lowers below what is spent and held.
        """
        known = self._known()
        if known is None:
            return []
        tighter = [
            one
            for one in self._current(known._replace(registry=after))
            if _is_tighter(known.limit(one.account), one.declared)
        ]
        return [
            f"{row['budget_id']}: {usd(row['over_nano_usd'])} USD more are spent and"
            " held already; it takes effect as soon as it fits, and until then"
            " nothing more is let through"
            for row in self._rows(known, tighter)
            if row["over_nano_usd"]
        ]

    def suspense(self) -> list[Document]:
        """What lost holders may have spent (`budget suspense list`)."""
        rows = []
        for lease in self._ledger.suspense():
            account = parse_account(lease.account)
            holder = self._ledger.holder(lease.holder)
            row: Document = {
                "holder": lease.holder,
                "account": lease.account,
                "unit": NANO_USD if account.is_money else REQUESTS,
                "state": holder.state if holder else None,
                "granted": lease.granted,
                "consumed": lease.consumed,
            }
            rows.append(row | _amounts(account, suspense=lease.suspense))
        return rows

    def contradictions(self) -> Sequence[str]:
        """Where the books do not balance, in words (`audit books`)."""
        return self._ledger.books_check()

    def _known(self) -> _Known | None:
        registry = fold(self._reports.registry_objects())
        if registry is None:
            return None
        issued = [row.credential for row in self._reports.credentials()]
        return _Known(
            registry,
            {str(one.id): one.service for one in issued},
            [
                str(one.id)
                for one in issued
                if credentials.state(one, self._now_ns) == CredentialState.ACTIVE
            ],
        )

    def _current(
        self, known: _Known, *, with_parallel: bool = False
    ) -> Iterator[_Budget]:
        """Every limit at its current window; in an order that stays the same."""
        zone = ZoneInfo(known.registry.timezone)
        windows = _WINDOWS if with_parallel else BUDGET_WINDOWS
        spans = {one: span_at(one, zone, self._now_ns) for one in windows}
        for scope, key in _scopes(known):
            for window, span in spans.items():
                account = Account(scope, key, window, span.label)
                declared = known.limit(account)
                if declared is not None:
                    yield _Budget(account, span, declared)
        for account in self._opened("run"):
            declared = known.limit(account)
            if declared is not None:
                yield _Budget(account, spans[account.window], declared)

    def _opened(self, scope: str) -> Iterator[Account]:
        """The accounts of a scope that requests opened, in the order of their ids."""
        opened = (
            parse_account(one.id) for one in self._ledger.accounts_of(self._now_ns)
        )
        return iter(sorted(one for one in opened if one.scope == scope))

    def _past(self, known: _Known, what: str) -> list[_Budget]:
        """An account of another window, or of a limit that is declared no more."""
        return [
            _Budget(account, Span(account.label, state.starts_ns, state.ends_ns), limit)
            for name, state in self._ledger.accounts([what]).items()
            for account in [parse_account(name)]
            for limit in [known.limit(account)]
        ]

    def _rows(self, known: _Known, budgets: Sequence[_Budget]) -> list[Document]:
        names = [one.account.id for one in budgets]
        states = self._ledger.accounts(names)
        held = self._ledger.held_on(names)
        return [
            self._row(known, one, states.get(one.account.id), held[one.account.id])
            for one in budgets
        ]

    def _row(
        self, known: _Known, one: _Budget, state: AccountState | None, held: int
    ) -> Document:
        account, span, declared = one
        limit = declared.limit if declared else (state.limit if state else 0)
        spent = state.settled if state else self._spent(account, span)
        leased = state.leased if state else 0
        suspense = state.suspense if state else 0
        left = limit - spent - held - suspense
        owner = budget_owner(
            known.registry, account.scope, account.key, known.services.get
        )
        row: Document = {
            "budget_id": account.id.rpartition("@")[0],
            "account": account.id,
            "scope": account.scope,
            "key": account.key,
            "window": account.window,
            "label": account.label,
            "starts": rfc3339(span.starts_ns) if span.starts_ns else None,
            "ends": None if span.ends_ns is None else rfc3339(span.ends_ns),
            "unit": NANO_USD if account.is_money else REQUESTS,
            "is_declared": declared is not None,
            "percent": 100 * spent // limit if limit else 0,
            "owner": named(known.registry, owner),
            "alert_at": list(declared.alert_at_percent) if declared else [],
            "on_shortfall": declared.on_shortfall if declared else None,
            "hold": declared.hold if declared else None,
            "on_threshold": [
                {
                    "percent": step.percent,
                    "use": step.use,
                    "is_reached": is_reached(spent + suspense, limit, step.percent),
                }
                for step in (declared.on_threshold if declared else ())
            ],
        }
        row |= _amounts(
            account,
            limit=limit,
            effective_limit=max(limit, state.effective) if state else limit,
            spent=spent,
            held=held,
            leased=leased,
            suspense=suspense,
            left=max(0, left),
            over=max(0, -left),
        )
        return row | self._forecast(account, span, spent, left)

    def _spent(self, account: Account, span: Span) -> int:
        """Of an account that no request has opened: what was spent without it."""
        if not account.is_money:
            return 0
        if span.ends_ns is None or span.ends_ns > self._now_ns:
            return self._spent_since(account, span.starts_ns)
        return self._ledger.spent_in(
            account.scope, account.key, span.starts_ns, span.ends_ns
        )

    def _spent_since(self, account: Account, since_ns: int) -> int:
        """What ended requests of a scope cost that were decided since then.

        There may be thousands of services and credentials: all are asked for at once.
        """
        scope, key = account.scope, account.key
        if scope not in _MANY:
            return self._ledger.spent_in(scope, key, since_ns, None)
        if (scope, since_ns) not in self._spent_by:
            rows = self._reports.spend(scope, since_ns)
            self._spent_by[scope, since_ns] = {
                one.key: one.cost_nano_usd for one in rows
            }
        return self._spent_by[scope, since_ns].get(key, 0)

    def _forecast(
        self, account: Account, span: Span, spent: int, left: int
    ) -> Document:
        is_over = span.ends_ns is not None and span.ends_ns <= self._now_ns
        if is_over or not account.is_money:
            return dict.fromkeys(
                ("forecast_nano_usd", "forecast_basis_s", "exhausted_at")
            )

        def spent_in_last(span_ns: int) -> int:
            since_ns = max(0, self._now_ns - span_ns)
            return self._spent_since(account, since_ns)

        at: Pace | None = pace(account.window, spent_in_last)
        told = forecast(self._now_ns, span.ends_ns, spent, left, at)
        exhausted = told.exhausted_ns
        return {
            "forecast_nano_usd": told.at_end,
            "forecast_basis_s": at.span_ns // _S if at else None,
            "exhausted_at": None if exhausted is None else rfc3339(exhausted),
        }

    def _inside(self, account: str) -> Document:
        """What an account is made of, and what happened to it."""
        leases = self._ledger.leases(account=account)
        return {
            "leases": [self._lease(one) for one in leases if one.left or one.suspense],
            "alerts": [
                {
                    "percent": one.percent,
                    "time": rfc3339(one.time_ns),
                    "spent_nano_usd": one.spent,
                    "limit_nano_usd": one.limit,
                }
                for one in self._ledger.alerts(account)
            ],
            "settlements": [
                {
                    "holder": one.holder,
                    "spent_nano_usd": one.spent,
                    "time": rfc3339(one.time_ns),
                    "person": one.person,
                    "reason": one.reason,
                }
                for one in self._ledger.settlements()
                if one.account == account
            ],
        }

    def _lease(self, lease: LeaseState) -> Document:
        holder = self._ledger.holder(lease.holder)
        return {
            "holder": lease.holder,
            "state": holder.state if holder else None,
            "granted": lease.granted,
            # A lease in suspense is closed in the books, and was not given back.
            "returned": lease.returned - lease.suspense,
            "consumed": lease.consumed,
            "left": lease.left,
            "suspense": lease.suspense,
        }


def _is_tighter(before: Limited | None, after: Limited | None) -> bool:
    if after is None:
        return False
    return before is None or after.limit < before.limit


def _amounts(account: Account, **amounts: int) -> Document:
    """Names amounts by their unit: no count of requests is called nano-USD."""
    suffix = "_nano_usd" if account.is_money else ""
    return {f"{name}{suffix}": amount for name, amount in amounts.items()}


def _scopes(known: _Known) -> Iterator[tuple[str, str]]:
    """Scope and key of everything that can have a limit; runs are in the store."""
    registry = known.registry
    keys: dict[str, Sequence[str]] = {
        "organization": [registry.organization],
        "tenant": sorted(registry.tenants),
        "unit": sorted(registry.units),
        "service": sorted(registry.services),
        "credential": known.active,
        "model": sorted(registry.models),
    }
    return chain.from_iterable(
        ((scope, key) for key in keys.get(scope, ())) for scope in SCOPES
    )


def _names(account: Account) -> tuple[str, ...]:
    """Everything that a person may call it."""
    return (
        account.id,
        account.id.rpartition("@")[0],
        f"{account.scope}:{account.key}",
        account.key,
    )


def _unknown(what: str, names: Sequence[str]) -> str:
    near = get_close_matches(what, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "comptroller budget list shows all"
    return f"nothing called {what!r} has a budget; {hint}"
