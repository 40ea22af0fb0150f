"""Projecting requests: their rows, the spend roll-up, the last use of credentials.

This runs once a request, so rows go to the driver as tuples, many at a time; the
statements are SQLAlchemy's, compiled once.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import astuple, replace
from sqlalchemy import (
    ClauseElement,
    Connection,
    Table,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.reports import HOUR_NS
from comptroller.core.errors import RecordError
from comptroller.core.usage import USAGE_CLASSES
from comptroller.engine.fold import Conflict, Decision, End, Folded

LOOK_UP: Final = 100
"""Ids in one look-up; the statement is compiled for so many."""

_Tuple: TypeAlias = tuple[Any, ...]
_r: Final = schema.requests.c
_json: Final = msgspec.json.Encoder().encode
_SUMS: Final = ("requests", "cost_nano_usd", *(f"usage_{n}" for n in USAGE_CLASSES))
_PLACE: Final = {name: place for place, name in enumerate(USAGE_CLASSES, start=2)}
_NOT_ENDED: Final = (0, "{}", None, None, None, None, None)
_ZEROES: Final = [0] * len(_SUMS)


class _Known(NamedTuple):
    """What the roll-up needs of a request, for one that was decided earlier."""

    request_id: str
    state: str
    time_ns: int
    tenant: str
    unit: str
    service: str
    owner_billing: str
    model: str | None
    credential_id: str


def _compiled(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


def _adding(table: Table, sums: tuple[str, ...]) -> str:
    statement = sqlite.insert(table)
    return _compiled(
        statement.on_conflict_do_update(
            index_elements=table.primary_key.columns,
            set_={name: table.c[name] + statement.excluded[name] for name in sums},
        )
    )


def _latest_use() -> str:
    statement = sqlite.insert(schema.credential_uses)
    last, new = schema.credential_uses.c.last_used_ns, statement.excluded.last_used_ns
    return _compiled(
        statement.on_conflict_do_update(
            index_elements=["credential_id"], set_={"last_used_ns": func.max(last, new)}
        )
    )


def _ending() -> str:
    return _compiled(
        update(schema.requests)
        .ordered_values(
            (_r.state, bindparam("end_state")),
            (_r.model_answered, bindparam("end_model")),
            (_r.usage, bindparam("end_usage")),
            (_r.usage_source, bindparam("end_source")),
            (_r.cost_nano_usd, bindparam("end_cost")),
            (_r.rate_card, func.coalesce(bindparam("end_card"), _r.rate_card)),
            (_r.duration_us, bindparam("end_duration")),
            (_r.ended_journal, bindparam("end_journal")),
            (_r.ended_offset, bindparam("end_offset")),
        )
        .where(_r.request_id == bindparam("end_id"))
    )


_INSERT: Final = _compiled(sqlite.insert(schema.requests))
_END: Final = _ending()
_SPEND: Final = _adding(schema.spend, _SUMS)
_USE: Final = _latest_use()
_LOOK_UP: Final = _compiled(
    select(*(_r[name] for name in _Known._fields)).where(
        _r.request_id.in_([bindparam(f"id_{place}") for place in range(LOOK_UP)])
    )
)


def project_requests(
    connection: Connection, journal: int, folded: Folded
) -> list[Conflict]:
    """Projects decisions and ends of one journal.

    Args:
        connection: in a transaction.
        journal: the row of the journal that they stand in.
        folded: what stands in it.

    Returns:
        The ends of requests that had ended earlier; these are not projected.

    Raises:
        RecordError: a request ended that was never decided.
    """
    spent: dict[_Tuple, list[int]] = {}
    earlier, conflicts = _ends_of_earlier(connection, folded, spent)
    rows: list[_Tuple] = []
    uses: dict[str, int] = {}
    ends = folded.ends
    for request_id, decision in folded.decisions.items():
        end = ends.get(request_id)
        facts = decision.facts
        if end is not None and not facts.is_allowed:
            conflicts.append(Conflict(request_id, end.offset))
            end = None
        rows.append(_row(journal, decision, end))
        if end is not None:
            key = (
                decision.time_ns // HOUR_NS,
                facts.tenant,
                facts.unit,
                facts.service,
                facts.owner_billing,
                facts.model or "",
                facts.credential,
            )
            _add(spent, key, end)
        uses[facts.credential] = decision.time_ns
    if rows:
        connection.exec_driver_sql(_INSERT, rows)
        connection.exec_driver_sql(_USE, list(uses.items()))
    if earlier:
        updates = [_update(journal, end) for end in earlier]
        connection.exec_driver_sql(_END, updates)
    if spent:
        sums = [(*key, *counts) for key, counts in spent.items()]
        connection.exec_driver_sql(_SPEND, sums)
    return conflicts


def _ends_of_earlier(
    connection: Connection, folded: Folded, spent: dict[_Tuple, list[int]]
) -> tuple[list[End], list[Conflict]]:
    """Ends of requests that an earlier run decided; their spend is added up."""
    ids = [one for one in folded.ends if one not in folded.decisions]
    known = _look_up(connection, ids)
    ends: list[End] = []
    conflicts: list[Conflict] = []
    for request_id in ids:
        end = folded.ends[request_id]
        found = known.get(request_id)
        if found is None:
            raise RecordError(
                f"request {request_id} ended (byte {end.offset}) but no decision on "
                "it was projected"
            )
        if found.state != "open":
            conflicts.append(Conflict(request_id, end.offset))
            continue
        ends.append(end)
        key = (found.time_ns // HOUR_NS, *found[3:7], found.model or "", found[8])
        _add(spent, key, end)
    return ends, conflicts


def _look_up(connection: Connection, ids: list[str]) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    for begin in range(0, len(ids), LOOK_UP):
        wanted = ids[begin : begin + LOOK_UP]
        wanted += wanted[-1:] * (LOOK_UP - len(wanted))
        found = connection.exec_driver_sql(_LOOK_UP, tuple(wanted))
        for row in map(_Known._make, found):
            known[row.request_id] = row
    return known


def _add(spent: dict[_Tuple, list[int]], key: _Tuple, end: End) -> None:
    sums = spent.get(key)
    if sums is None:
        sums = spent[key] = _ZEROES.copy()
    sums[0] += 1
    sums[1] += end.cost_nano_usd
    for name, count in end.usage.items():
        sums[_PLACE[name]] += count


def _row(journal: int, decision: Decision, end: End | None) -> _Tuple:
    """A new row in the order of the table's columns, ended already or not."""
    facts, time_ns, offset = decision
    if end is None:
        state = "open" if facts.is_allowed else "refused"
        return (*astuple(facts), time_ns, journal, offset, state, *_NOT_ENDED)
    if end.rate_card not in (None, facts.rate_card):
        facts = replace(facts, rate_card=end.rate_card)
    return (
        *astuple(facts),
        time_ns,
        journal,
        offset,
        end.state,
        end.cost_nano_usd,
        _json(end.usage).decode(),
        end.usage_source,
        end.model_answered,
        end.duration_us,
        journal,
        end.offset,
    )


def _update(journal: int, end: End) -> _Tuple:
    """What `_END` takes, in its order."""
    return (
        end.state,
        end.model_answered,
        _json(end.usage).decode(),
        end.usage_source,
        end.cost_nano_usd,
        end.rate_card,
        end.duration_us,
        journal,
        end.offset,
        end.request_id,
    )
