"""Reads of the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Column, Connection, Row, func, select

from comptroller.adapters.store import schema
from comptroller.adapters.store.deletions import SqliteDeletions
from comptroller.adapters.store.policies import SqlitePolicies
from comptroller.adapters.store.retention import SqliteRetention
from comptroller.adapters.store.spending import HOUR_NS
from comptroller.core.credential import Credential, CredentialId, Secret
from comptroller.core.usage import USAGE_CLASSES, Usage
from comptroller.engine.ports import (
    CredentialRow,
    JournalPosition,
    RegistryObject,
    RequestQuery,
    RequestRow,
    SpendRow,
)

_AnyRow: TypeAlias = Row[Any]
_usage: Final = msgspec.json.Decoder(dict[str, int]).decode
_r: Final = schema.requests.c
_DECIDED: Final = schema.journals.alias("decided")
_ENDED: Final = schema.journals.alias("ended")
_REQUEST_COLUMNS: Final = (
    *(
        _r[name]
        for name in RequestRow._fields
        if name not in {"decided_at", "ended_at"}
    ),
    _DECIDED.c.source.label("decided_source"),
    _r.decided_offset,
    _ENDED.c.source.label("ended_source"),
    _r.ended_offset,
)
_REQUESTS: Final = select(*_REQUEST_COLUMNS).select_from(
    schema.requests.join(_DECIDED, _DECIDED.c.id == _r.decided_journal).outerjoin(
        _ENDED, _ENDED.c.id == _r.ended_journal
    )
)
_SPEND_BY: Final = {
    "owner": "owner_billing",
    "unit": "unit",
    "service": "service",
    "model": "model",
    "credential": "credential_id",
}


class SqliteReports(SqlitePolicies, SqliteRetention, SqliteDeletions):
    """Reads of the database.

    Satisfies `engine.ports.Reports`, `engine.policy_ports.PolicyReports` and
    `engine.retention_ports.RetentionReports`.
    """

    def requests(self, query: RequestQuery) -> Sequence[RequestRow]:
        """The requests that match, newest first.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        wanted = _REQUESTS
        if query.service is not None:
            wanted = wanted.where(_r.service == query.service)
        if query.decision == "deny":
            wanted = wanted.where(schema.is_refused)
        elif query.decision is not None:
            wanted = wanted.where(_r.decision == query.decision)
        if query.since_ns is not None:
            wanted = wanted.where(_r.time_ns >= query.since_ns)
        wanted = wanted.order_by(_r.time_ns.desc(), _r.request_id.desc())
        with self._reading() as connection:
            rows = connection.execute(wanted.limit(query.limit))
            return [_request_row(row) for row in rows]

    def decisions(self) -> Iterator[tuple[str, str, int]]:
        """Every decision, in no order: its id, and source and offset of its record.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        with self._reading() as connection:
            journal = schema.journals.c
            is_its = journal.id == _r.decided_journal
            wanted = select(_r.request_id, journal.source, _r.decided_offset)
            found = connection.execute(
                wanted.join_from(schema.requests, schema.journals, is_its)
            )
            yield from ((name, source, offset) for name, source, offset in found)

    def request(self, request_id: str) -> RequestRow | None:
        """One request.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        with self._reading() as connection:
            return one_request(connection, request_id)

    def spend(self, by: str, since_ns: int | None) -> Sequence[SpendRow]:
        """Spend by `owner` (billing), `unit`, `service`, `model` or `credential`.

        Raises:
            ValueError: by something else.
            StoreUnavailableError: the database cannot be read.
        """
        if by not in _SPEND_BY:
            raise ValueError(f"spend is told by {', '.join(_SPEND_BY)}, not by {by}")
        with self._reading() as connection:
            spent = _spend_of_hours(connection, _SPEND_BY[by], since_ns)
            if since_ns is not None and since_ns % HOUR_NS:
                for row in _spend_of_part(connection, _SPEND_BY[by], since_ns):
                    spent[row.key] = _sum(spent.get(row.key), row)
        return sorted(spent.values(), key=lambda row: (-row.cost_nano_usd, row.key))

    def registry_objects(self) -> Sequence[RegistryObject]:
        """Everything applied, at the revision of `revision()`.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table = schema.registry_objects
        with self._reading() as connection:
            rows = connection.execute(
                select(table.c.kind, table.c.id, table.c.body).order_by(
                    table.c.kind, table.c.id
                )
            )
            return [RegistryObject(*row) for row in rows]

    def revision(self) -> int:
        """The revision of the last applied configuration; 0: none yet.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        with self._reading() as connection:
            return last_revision(connection)

    def credentials(self) -> Sequence[CredentialRow]:
        """Every credential ever issued, oldest first.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table, uses = schema.credentials, schema.credential_uses
        wanted = (
            select(table, uses.c.last_used_ns)
            .outerjoin(uses, uses.c.credential_id == table.c.id)
            .order_by(table.c.issued_ns, table.c.id)
        )
        with self._reading() as connection:
            secrets = _secrets(connection)
            return [
                CredentialRow(
                    Credential(
                        id=CredentialId(row.id),
                        service=row.service,
                        person=row.person,
                        issued_ns=row.issued_ns,
                        secrets=tuple(secrets[row.id]),
                        revoked_ns=row.revoked_ns,
                        revoked_reason=row.revoked_reason,
                        expires_ns=row.expires_ns,
                    ),
                    row.last_used_ns,
                )
                for row in connection.execute(wanted)
            ]


def one_request(connection: Connection, request_id: str) -> RequestRow | None:
    """One request; None: there is none."""
    wanted = _REQUESTS.where(_r.request_id == request_id)
    found = connection.execute(wanted).first()
    return None if found is None else _request_row(found)


def last_revision(connection: Connection) -> int:
    """The revision of the last applied configuration; 0: none yet."""
    return connection.scalar(select(func.max(schema.revisions.c.revision))) or 0


def _request_row(row: _AnyRow) -> RequestRow:
    values = row._asdict()
    decided = JournalPosition(
        values.pop("decided_source"), values.pop("decided_offset")
    )
    ended_source, ended_offset = values.pop("ended_source"), values.pop("ended_offset")
    ended = (
        None if ended_source is None else JournalPosition(ended_source, ended_offset)
    )
    values["usage"] = _usage(values["usage"])
    return RequestRow(**values, decided_at=decided, ended_at=ended)


def _spend_of_hours(
    connection: Connection, column: str, since_ns: int | None
) -> dict[str, SpendRow]:
    """Spend from the roll-up, from the first hour that begins at or after."""
    table = schema.spend
    key: Column[str] = table.c[column]
    counts = [func.sum(table.c[f"usage_{name}"]) for name in USAGE_CLASSES]
    wanted = select(
        key, func.sum(table.c.requests), func.sum(table.c.cost_nano_usd), *counts
    ).group_by(key)
    if since_ns is not None:
        wanted = wanted.where(table.c.hour >= -(-since_ns // HOUR_NS))
    return {
        row[0]: SpendRow(
            row[0],
            row[1],
            {n: c for n, c in zip(USAGE_CLASSES, row[3:], strict=True) if c},
            row[2],
        )
        for row in connection.execute(wanted)
    }


def _spend_of_part(
    connection: Connection, column: str, since_ns: int
) -> Iterator[SpendRow]:
    """Spend of what is left of the hour that had begun, request by request."""
    wanted = select(_r[column], _r.usage, _r.cost_nano_usd).where(
        _r.time_ns >= since_ns,
        _r.time_ns < -(-since_ns // HOUR_NS) * HOUR_NS,
        _r.ended_journal.is_not(None),
    )
    for key, usage, cost in connection.execute(wanted):
        yield SpendRow(key or "", 1, _usage(usage), cost)


def _sum(before: SpendRow | None, row: SpendRow) -> SpendRow:
    if before is None:
        return row
    usage: Usage = dict(before.usage)
    for name, count in row.usage.items():
        usage[name] = usage.get(name, 0) + count
    return SpendRow(
        row.key,
        before.requests + row.requests,
        usage,
        before.cost_nano_usd + row.cost_nano_usd,
    )


def _secrets(connection: Connection) -> dict[str, list[Secret]]:
    table = schema.credential_secrets
    found: dict[str, list[Secret]] = {}
    wanted = select(table).order_by(table.c.credential_id, table.c.ordinal)
    for row in connection.execute(wanted):
        found.setdefault(row.credential_id, []).append(
            Secret(row.sha256, row.not_before_ns, row.not_after_ns)
        )
    return found
