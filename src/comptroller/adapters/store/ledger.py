"""Reads of the ledger: accounts, leases, holders, and the check of the books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    TextClause,
    func,
    literal,
    or_,
    select,
)

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.adapters.store.shelf import ACCOUNTS, HOLDERS, LEASES, holder_row
from comptroller.adapters.store.spending import HOUR_NS, spent_in
from comptroller.core.account import Where, is_money
from comptroller.core.books import AccountState, LeaseState
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, total
from comptroller.engine.auditing import (
    AuditRows,
    Cost,
    boundary_ns,
    contradictions,
    spent_of,
)
from comptroller.engine.bookkeeping import SUSPENDED
from comptroller.engine.fold import held_accounts
from comptroller.engine.ledger_rows import (
    AdmissionRow,
    AlertRow,
    ExcessRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)

LOOK_UP: Final = 500
"""Ids in one look-up, well below what SQLite takes as parameters."""

EXCESSES_MAX: Final = 1000
"""Told at a time."""

_Sums: TypeAlias = dict[tuple[str, str], int]
_r: Final = schema.requests.c
_usage: Final = msgspec.json.Decoder(dict[str, int]).decode
_ROLL_UP_KEY: Final = (
    "hour",
    "tenant",
    "unit",
    "service",
    "owner_billing",
    "model",
    "credential_id",
)


class SqliteLedger(SqliteReads):
    """Reads of the ledger in the database.

    Satisfies `engine.ledger_ports.Ledger`. Every method raises StoreUnavailableError
    when the database cannot be read.
    """

    def accounts(self, ids: Sequence[str]) -> dict[str, AccountState]:
        """The accounts that there are, of these."""
        found: dict[str, AccountState] = {}
        column = schema.budget_accounts.c.id
        with self._reading() as connection:
            for begin in range(0, len(ids), LOOK_UP):
                wanted = ACCOUNTS.where(column.in_(ids[begin : begin + LOOK_UP]))
                for row in connection.execute(wanted):
                    found[row.id] = AccountState(*row)
        return found

    def accounts_of(self, now_ns: int | None) -> Sequence[AccountState]:
        """All accounts whose window is open then, by id; None: all that there are."""
        with self._reading() as connection:
            return _accounts(connection, now_ns)

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """The leases of a holder, of an account, of both, or all; ordered."""
        table = schema.budget_leases.c
        wanted = LEASES
        if holder is not None:
            wanted = wanted.where(table.holder == holder)
        if account is not None:
            wanted = wanted.where(table.account == account)
        with self._reading() as connection:
            return _leases(connection, wanted)

    def holder(self, holder: str) -> HolderRow | None:
        """A holder, whatever its state."""
        wanted = HOLDERS.where(schema.holders.c.holder == holder)
        with self._reading() as connection:
            found = connection.execute(wanted).first()
        return None if found is None else holder_row(found)

    def live_holders(self) -> Sequence[HolderRow]:
        """The holders that are neither closed nor suspended, by name."""
        wanted = HOLDERS.where(schema.is_live).order_by(schema.holders.c.holder)
        with self._reading() as connection:
            return [holder_row(row) for row in connection.execute(wanted)]

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What the ended requests of a scope cost that were decided in a span."""
        with self._reading() as connection:
            return spent_in(connection, (scope, key), starts_ns, ends_ns)

    def held_on(self, accounts: Sequence[str]) -> dict[str, int]:
        """What open requests hold on each of these accounts; 0 where none does."""
        held = dict.fromkeys(accounts, 0)
        with self._reading() as connection:
            for (_, account), amount in _held(connection).items():
                if account in held:
                    held[account] += amount
        return held

    def suspense(self) -> Sequence[LeaseState]:
        """The leases of lost holders that a named person has yet to settle."""
        with self._reading() as connection:
            return _leases(connection, LEASES.where(schema.is_suspended))

    def settlements(self) -> Sequence[SettlementRow]:
        """Every suspense that a named person settled, oldest first."""
        with self._reading() as connection:
            return _settlements(connection)

    def alerted(self, account: str) -> frozenset[int]:
        """The percentages whose crossing is recorded."""
        return frozenset(row.percent for row in self.alerts(account))

    def alerts(self, account: str) -> Sequence[AlertRow]:
        """The crossings that are recorded, lowest percentage first."""
        table = schema.budget_alerts
        wanted = _rows(table).where(table.c.account == account)
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(table.c.percent))
            return [AlertRow(*row) for row in rows]

    def incidents(self, since_ns: int) -> Sequence[IncidentRow]:
        """The requests since then that cost more than was held, oldest first."""
        table = schema.incidents
        wanted = _rows(table).where(table.c.time_ns >= since_ns)
        with self._reading() as connection:
            rows = connection.execute(
                wanted.order_by(table.c.time_ns, table.c.decision_id)
            )
            return [IncidentRow(*row) for row in rows]

    def excesses(self) -> Sequence[ExcessRow]:
        """Settled requests that cost more than their hold, at most 1000, oldest first.

        Without those whose incident is projected.
        """
        noted = schema.incidents.c.decision_id
        names = ExcessRow._fields
        wanted = (
            select(*(_r[name] for name in names))
            .where(schema.has_exceeded, _r.request_id.not_in(select(noted)))
            .order_by(_r.time_ns, _r.request_id)
            .limit(EXCESSES_MAX)
        )
        with self._reading() as connection:
            return [ExcessRow(*row) for row in connection.execute(wanted)]

    def admissions(self, since_ns: int) -> Sequence[AdmissionRow]:
        """The allowed requests decided since then, oldest first."""
        wanted = (
            select(
                _r.time_ns,
                _r.service,
                _r.credential_id,
                func.coalesce(_r.model, ""),
                _r.state,
                _r.usage,
                _r.hold_input_tokens + _r.hold_output_tokens,
            )
            .where(_r.time_ns >= since_ns, _r.decision == "allow")
            .order_by(_r.time_ns, _r.request_id)
        )
        with self._reading() as connection:
            return [
                AdmissionRow(*row[:4], _tokens(*row[4:]))
                for row in connection.execute(wanted)
            ]

    def books_check(self) -> Sequence[str]:
        """Works every account out anew; each contradiction in words, none: balanced."""
        with self._reading() as connection:
            return [*contradictions(_audited(connection)), *_roll_up(connection)]


def _rows(table: Table) -> Select[Any]:
    return select(*table.columns)


def _accounts(connection: Connection, now_ns: int | None) -> list[AccountState]:
    table = schema.budget_accounts.c
    wanted = ACCOUNTS.order_by(table.id)
    if now_ns is not None:
        ends = or_(table.ends_ns.is_(None), table.ends_ns > now_ns)
        wanted = wanted.where(table.starts_ns <= now_ns, ends)
    return [AccountState(*row) for row in connection.execute(wanted)]


def _leases(connection: Connection, wanted: Select[Any]) -> list[LeaseState]:
    table = schema.budget_leases.c
    rows = connection.execute(wanted.order_by(table.holder, table.account))
    return [LeaseState(*row) for row in rows]


def _settlements(connection: Connection) -> list[SettlementRow]:
    table = schema.suspense_settlements
    order = (table.c.time_ns, table.c.holder, table.c.account)
    rows = connection.execute(_rows(table).order_by(*order))
    return [SettlementRow(*row) for row in rows]


def _tokens(state: str, usage: str, held: int) -> int:
    """What a request counts on a limit of tokens."""
    if state == "open":
        return held
    if state == "released":
        return 0
    used = _usage(usage)
    return total(used, PROMPT_CLASSES) + total(used, GENERATED_CLASSES)


def _held(connection: Connection) -> _Sums:
    """Holder and account to what open requests hold."""
    return _by_path(
        connection,
        schema.is_open,
        (func.sum(_r.hold_nano_usd), func.sum(_r.slice_nano_usd)),
    )


def _consumed(connection: Connection) -> _Sums:
    """Holder and money account to what ended requests took of the lease."""
    cost = _r.cost_nano_usd
    sums = (
        func.sum(func.min(cost, _r.hold_nano_usd)),
        func.sum(func.min(cost, _r.slice_nano_usd)),
    )
    taken = _by_path(connection, _r.ended_journal.is_not(None), sums)
    return {key: amount for key, amount in taken.items() if is_money(key[1])}


def _by_path(
    connection: Connection,
    which: ColumnElement[bool] | TextClause,
    sums: tuple[ColumnElement[int], ColumnElement[int]],
) -> _Sums:
    """Sums over requests by holder and account: of holds, and of slices."""
    journals, paths = schema.journals, schema.hold_paths
    wanted = (
        select(journals.c.source, paths.c.path, func.count(), *sums)
        .select_from(schema.requests)
        .join(journals, journals.c.id == _r.decided_journal)
        .join(paths, paths.c.id == _r.hold_path)
        .where(which)
        .group_by(journals.c.source, paths.c.path)
    )
    found = defaultdict[tuple[str, str], int](int)
    for source, text, count, whole, a_slice in connection.execute(wanted):
        path = held_accounts(text.encode())
        for account in path.accounts:
            found[source, account] += whole
        for account in path.permits:
            found[source, account] += count
        for account in path.progressive:
            found[source, account] += a_slice
    return found


def _audited(connection: Connection) -> AuditRows:
    accounts = _accounts(connection, None)
    lost = select(schema.holders.c.holder).where(schema.holders.c.state == SUSPENDED)
    return AuditRows(
        accounts=accounts,
        leases=_leases(connection, LEASES),
        settlements=_settlements(connection),
        spent=spent_of(accounts, _costs(connection, boundary_ns(accounts))),
        consumed=_consumed(connection),
        held=_held(connection),
        lost=frozenset(connection.scalars(lost)),
    )


def _costs(connection: Connection, bucket_ns: int) -> Iterator[Cost]:
    """What ended requests cost, summed where no window's boundary is between them."""
    bucket = _r.time_ns // bucket_ns
    whose = (_r.tenant, _r.unit, _r.service, _r.credential_id, _r.run)
    wanted = (
        select(bucket, func.sum(_r.cost_nano_usd), *whose)
        .where(_r.ended_journal.is_not(None))
        .group_by(bucket, *whose)
    )
    for number, cost, *path in connection.execute(wanted):
        yield Cost(Where("", *path), number * bucket_ns, cost)


def _roll_up(connection: Connection) -> Iterator[str]:
    """Where the hourly sums of spend are not those of the requests."""
    table = schema.spend.c
    rolled = select(
        *(table[name] for name in _ROLL_UP_KEY), table.requests, table.cost_nano_usd
    )
    asked = select(
        (_r.time_ns // HOUR_NS).label("hour"),
        *(_r[name] for name in _ROLL_UP_KEY[1:-2]),
        func.coalesce(_r.model, "").label("model"),
        _r.credential_id,
        literal(-1).label("requests"),
        (-_r.cost_nano_usd).label("cost_nano_usd"),
    ).where(_r.ended_journal.is_not(None))
    both = rolled.union_all(asked).subquery().c
    key = [both[name] for name in _ROLL_UP_KEY]
    requests, cost = func.sum(both.requests), func.sum(both.cost_nano_usd)
    wanted = (
        select(*key, requests, cost)
        .group_by(*key)
        .having(or_(requests != 0, cost != 0))
        .order_by(*key)
    )
    for *names, count_off, cost_off in connection.execute(wanted):
        yield (
            f"spend in hour {names[0]} of {'/'.join(names[1:])}: off by {count_off}"
            f" requests and {cost_off}"
        )
