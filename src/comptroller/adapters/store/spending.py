"""What a scope spent in a span of time: from the roll-up, and from requests."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    false,
    func,
    select,
    true,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from comptroller.adapters.store import schema

HOUR_NS: Final = 3_600 * 1_000_000_000
Scope: TypeAlias = tuple[str, str]
_r: Final = schema.requests.c
_s: Final = schema.spend.c


def spent_in(
    connection: Connection, of: Scope, starts_ns: int, ends_ns: int | None
) -> int:
    """What the ended requests of a scope cost that were decided in a span.

    Exact to the nanosecond: whole hours come from the roll-up, what the span has of
    other hours from its requests. The roll-up does not know runs.

    Args:
        connection: in a transaction.
        of: scope and key, as an account has them.
        starts_ns: where the span begins.
        ends_ns: where it ends, exclusive; None: never.
    """
    first = -(-starts_ns // HOUR_NS)
    last = None if ends_ns is None else ends_ns // HOUR_NS
    if of[0] == "run" or (last is not None and last <= first):
        return _spent(connection, of, starts_ns, ends_ns)
    hours = select(func.sum(_s.cost_nano_usd)).where(_is_of(_s, of), _s.hour >= first)
    spent = _spent(connection, of, starts_ns, first * HOUR_NS)
    if last is not None:
        hours = hours.where(_s.hour < last)
        spent += _spent(connection, of, last * HOUR_NS, ends_ns)
    return spent + (connection.scalar(hours) or 0)


def ended_in(of: Scope, starts_ns: int, ends_ns: int | None) -> ColumnElement[bool]:
    """The ended requests of a scope that were decided in a span."""
    wanted = and_(
        _is_of(_r, of), _r.ended_journal.is_not(None), _r.time_ns >= starts_ns
    )
    return wanted if ends_ns is None else and_(wanted, _r.time_ns < ends_ns)


def _spent(
    connection: Connection, of: Scope, starts_ns: int, ends_ns: int | None
) -> int:
    if starts_ns == ends_ns:
        return 0
    wanted = select(func.sum(_r.cost_nano_usd)).where(ended_in(of, starts_ns, ends_ns))
    return connection.scalar(wanted) or 0


def _is_of(
    columns: ReadOnlyColumnCollection[str, Column[Any]], of: Scope
) -> ColumnElement[bool]:
    """The rows of a scope, in the roll-up or among requests."""
    wanted: ColumnElement[bool]
    scope, key = of
    outer, _, inner = key.partition("/")
    match scope:
        case "organization":
            wanted = true()  # a store has one, whatever it was called
        case "tenant":
            wanted = columns.tenant == key
        case "unit":
            wanted = and_(columns.tenant == outer, columns.unit == inner)
        case "service":
            wanted = columns.service == key
        case "credential":
            wanted = columns.credential_id == key
        case "run":
            # The word is for the index of runs, which answers only with it.
            ours = and_(columns.service == outer, columns.run == inner)
            wanted = and_(ours, schema.has_run)
        case _:
            wanted = false()  # no money is counted by model
    return wanted
