"""The rows of the ledger, for the one process that writes them.

They stay in memory between runs of records, for nobody else changes them: a run
costs one statement for the accounts and one for the leases that it touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, literal_column, or_, select
from sqlalchemy.dialects.sqlite import insert

from comptroller.adapters.store import schema
from comptroller.adapters.store.spending import spent_in
from comptroller.adapters.store.statements import compiled, keeping_first, replacing
from comptroller.core.account import PARALLEL, Where, parse_account
from comptroller.core.books import AccountState, LeaseState
from comptroller.engine.ledger_rows import (
    AlertRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)

ROWS_MAX: Final = 50_000
"""Kept in memory; beyond it all are let go of, and read again when needed."""
DAY_NS: Final = 24 * 3_600 * 1_000_000_000
SPAN_NS: Final = 3 * DAY_NS
"""Windows that ended before such a span are not kept in mind."""

_a: Final = schema.budget_accounts.c
_l: Final = schema.budget_leases.c
_ACCOUNT_NAMES: Final = tuple(one.name for one in fields(AccountState))
_LEASE_NAMES: Final = tuple(one.name for one in fields(LeaseState))
_of_account: Final = attrgetter(*_ACCOUNT_NAMES)
_of_lease: Final = attrgetter(*_LEASE_NAMES)
ACCOUNTS: Final = select(*(_a[name] for name in _ACCOUNT_NAMES))
LEASES: Final = select(*(_l[name] for name in _LEASE_NAMES))
HOLDERS: Final = select(*(schema.holders.c[name] for name in HolderRow._fields))

_ACCOUNT: Final = compiled(ACCOUNTS.where(_a.id == bindparam("id")))
_MONEY: Final = ACCOUNTS.where(
    _a.scope == bindparam("scope"),
    or_(_a.ends_ns.is_(None), _a.ends_ns > bindparam("since")),
    _a.window != literal_column(f"'{PARALLEL}'"),
)
_MONEY_OF_ALL: Final = compiled(_MONEY)
_MONEY_OF_KEY: Final = compiled(_MONEY.where(_a.key == bindparam("key")))
_LEASE: Final = compiled(
    LEASES.where(_l.holder == bindparam("holder"), _l.account == bindparam("account"))
)
_HOLDER: Final = compiled(HOLDERS.where(schema.holders.c.holder == bindparam("holder")))
_POSITION: Final = compiled(
    select(schema.journals.c.position).where(
        schema.journals.c.source == bindparam("source")
    )
)
_PATH: Final = schema.hold_paths.c.path
_PATH_ID: Final = compiled(
    insert(schema.hold_paths)
    .values(path=bindparam("path"))
    .on_conflict_do_update(index_elements=[_PATH], set_={"path": _PATH})
    .returning(schema.hold_paths.c.id)
)
_KEEP_ACCOUNT: Final = replacing(schema.budget_accounts)
_KEEP_LEASE: Final = replacing(schema.budget_leases)
_KEEP_HOLDER: Final = replacing(schema.holders)
_NOTE_ALERT: Final = keeping_first(schema.budget_alerts)
_NOTE_INCIDENT: Final = keeping_first(schema.incidents)
_NOTE_SETTLEMENT: Final = compiled(insert(schema.suspense_settlements))

_json: Final = msgspec.json.Encoder().encode
_grants: Final = msgspec.json.Decoder(tuple[tuple[str, int], ...]).decode


class _Covering(NamedTuple):
    """The money accounts of some scopes, the same throughout a span of time."""

    from_ns: int
    to_ns: int
    states: list[AccountState]


class SqliteShelf:
    """Rows of the ledger, changed in place, written by `flush`.

    Satisfies `engine.bookkeeping.LedgerShelf`. After a transaction that failed it
    holds what the database does not: let go of it.
    """

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._connection: Connection | None = None
        self._accounts: dict[str, AccountState | None] = {}
        self._spent: dict[str, int] = {}
        self._leases: dict[tuple[str, str], LeaseState] = {}
        self._paths: dict[str, int] = {}
        self._since_ns = 0
        self._scopes: dict[tuple[str, str], list[AccountState]] = {}
        self._coverings: dict[Where, _Covering] = {}
        self._touched: dict[str, AccountState] = {}
        self._touched_leases: dict[tuple[str, str], LeaseState] = {}
        self._touched_coverings: dict[Where, _Covering] = {}

    def begin(self, connection: Connection) -> None:
        """From now on rows are read, and will be written, in this transaction."""
        self._connection = connection
        kept = len(self._accounts) + len(self._leases) + len(self._coverings)
        if kept + len(self._paths) > self._rows_max:
            self._accounts.clear()
            self._spent.clear()
            self._leases.clear()
            self._paths.clear()
            self._forget_scopes()

    def flush(self) -> list[str]:
        """Writes every row that may have changed.

        Returns:
            The accounts of which more, or less, is settled or in suspense now.
        """
        for covering in self._touched_coverings.values():
            for state in covering.states:
                self._touched[state.id] = state
        if self._touched:
            rows = [_account_row(state) for state in self._touched.values()]
            self._sql.exec_driver_sql(_KEEP_ACCOUNT, rows)
        if self._touched_leases:
            leases = [_of_lease(lease) for lease in self._touched_leases.values()]
            self._sql.exec_driver_sql(_KEEP_LEASE, leases)
        moved = []
        for state in self._touched.values():
            spent = state.settled + state.suspense
            if self._spent.get(state.id) != spent:
                self._spent[state.id] = spent
                moved.append(state.id)
        self._touched.clear()
        self._touched_leases.clear()
        self._touched_coverings.clear()
        self._connection = None
        return moved

    # -- core.books.Shelf ----------------------------------------------------

    def account(self, account: str) -> AccountState | None:
        """An account's row."""
        try:
            state = self._accounts[account]
        except KeyError:
            found = self._sql.exec_driver_sql(_ACCOUNT, (account,)).first()
            state = None if found is None else self._one(found)
            self._accounts[account] = state
        if state is not None:
            self._touched[account] = state
        return state

    def add(self, account: AccountState) -> None:
        """Keeps a new account."""
        self._accounts[account.id] = self._touched[account.id] = account
        # At once, for its scope may be read again before the end of the run.
        self._sql.exec_driver_sql(_KEEP_ACCOUNT, _account_row(account))
        name = parse_account(account.id)
        if not name.is_money:
            return
        of = (name.scope, name.key)
        if name.scope == "organization":
            self._forget_scopes()
        self._scopes.pop(of, None)
        for where in [one for one in self._coverings if of in one.scopes()]:
            del self._coverings[where]

    def lease(self, holder: str, account: str) -> LeaseState:
        """The row of a lease; made, with zeroes, when there is none."""
        key = (holder, account)
        lease = self._leases.get(key)
        if lease is None:
            found = self._sql.exec_driver_sql(_LEASE, key).first()
            lease = LeaseState(*(found or (*key, 0, 0, 0, 0, 0)))
            self._leases[key] = lease
        self._touched_leases[key] = lease
        return lease

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """All leases of a holder, or on an account."""
        wanted = LEASES
        if holder is not None:
            wanted = wanted.where(_l.holder == holder)
        if account is not None:
            wanted = wanted.where(_l.account == account)
        kept = {
            key: lease
            for key, lease in self._touched_leases.items()
            if holder in (None, key[0]) and account in (None, key[1])
        }
        for row in self._sql.execute(wanted):
            key = (row.holder, row.account)
            kept[key] = self._leases.setdefault(key, LeaseState(*row))
        self._touched_leases.update(kept)
        return list(kept.values())

    def covering(self, where: Where, at_ns: int) -> Sequence[AccountState]:
        """The money accounts there are of these scopes, whose window holds then."""
        found = self._coverings.get(where)
        if found is None or not found.from_ns <= at_ns < found.to_ns:
            found = self._covering(where, at_ns)
            self._coverings[where] = found
        self._touched_coverings[where] = found
        return found.states

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What ended requests of a scope cost that were decided in a span."""
        return spent_in(self._sql, (scope, key), starts_ns, ends_ns)

    # -- engine.bookkeeping.LedgerShelf --------------------------------------

    def position(self, source: str) -> int:
        """The offset up to which a source was projected before this run."""
        found = self._sql.exec_driver_sql(_POSITION, (source,)).first()
        return 0 if found is None else int(found[0])

    def holder(self, holder: str) -> HolderRow | None:
        """A holder's row."""
        found = self._sql.exec_driver_sql(_HOLDER, (holder,)).first()
        return None if found is None else holder_row(found)

    def keep_holder(self, row: HolderRow) -> None:
        """Keeps a new holder, or what became of one."""
        last = _json(row.last_grants).decode()
        self._sql.exec_driver_sql(_KEEP_HOLDER, (*row[:-1], last))

    def note_alert(self, row: AlertRow) -> None:
        """Keeps the crossing of a threshold; the first one of a percentage counts."""
        self._sql.exec_driver_sql(_NOTE_ALERT, row)

    def note_incident(self, row: IncidentRow) -> None:
        """Keeps an incident; the first one of a request counts."""
        self._sql.exec_driver_sql(_NOTE_INCIDENT, row)

    def note_settlement(self, row: SettlementRow) -> None:
        """Keeps what a named person said."""
        self._sql.exec_driver_sql(_NOTE_SETTLEMENT, row)

    # -- paths ---------------------------------------------------------------

    def path_id(self, path: str) -> int:
        """The row of a path that requests are held on; made when it is new."""
        found = self._paths.get(path)
        if found is None:
            found = int(self._sql.exec_driver_sql(_PATH_ID, (path,)).scalar_one())
            self._paths[path] = found
        return found

    # ------------------------------------------------------------------------

    @property
    def _sql(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("no transaction has begun")
        return self._connection

    def _covering(self, where: Where, at_ns: int) -> _Covering:
        if not self._since_ns <= at_ns < self._since_ns + SPAN_NS:
            self._forget_scopes()
            self._since_ns = at_ns - at_ns % DAY_NS - DAY_NS
        states = []
        from_ns, to_ns = self._since_ns, self._since_ns + SPAN_NS
        for scope, key in where.scopes():
            for state in self._of_scope(scope, key):
                ends_ns = to_ns if state.ends_ns is None else state.ends_ns
                if state.starts_ns > at_ns:
                    to_ns = min(to_ns, state.starts_ns)
                elif ends_ns <= at_ns:
                    from_ns = max(from_ns, ends_ns)
                else:
                    from_ns = max(from_ns, state.starts_ns)
                    to_ns = min(to_ns, ends_ns)
                    states.append(state)
        return _Covering(from_ns, to_ns, states)

    def _of_scope(self, scope: str, key: str) -> list[AccountState]:
        """The money accounts of a scope that matter since `_since_ns`."""
        found, since = self._scopes.get((scope, key)), self._since_ns
        if found is None:
            if scope == "organization":  # a store has one, whatever it was called
                rows = self._sql.exec_driver_sql(_MONEY_OF_ALL, (scope, since))
            else:
                rows = self._sql.exec_driver_sql(_MONEY_OF_KEY, (scope, since, key))
            found = [self._one(row) for row in rows]
            self._scopes[scope, key] = found
        return found

    def _one(self, row: Iterable[Any]) -> AccountState:
        """The state in memory, which may be ahead of the row; else the row's."""
        read = AccountState(*row)
        state = self._accounts.get(read.id)
        if state is None:
            state = self._accounts[read.id] = read
            self._spent[read.id] = read.settled + read.suspense
        return state

    def _forget_scopes(self) -> None:
        self._scopes.clear()
        self._coverings.clear()


def holder_row(row: Sequence[Any]) -> HolderRow:
    """A holder from the columns of `HOLDERS`."""
    holder, sequence, boot, durability, state, last = row
    return HolderRow(holder, sequence, boot, durability, state, _grants(last))


def _account_row(state: AccountState) -> tuple[Any, ...]:
    """A row in the order of the table's columns."""
    name = parse_account(state.id)
    return (state.id, name.scope, name.key, name.window, *_of_account(state)[1:])
