"""Projecting requests: their rows, the spend roll-up, the last use of credentials.

This runs once a request, so rows go to the driver as tuples, many at a time; the
statements are SQLAlchemy's, compiled once.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import astuple, replace
from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.objects import project_objects
from comptroller.adapters.store.shelf import SqliteShelf
from comptroller.adapters.store.spending import HOUR_NS
from comptroller.adapters.store.statements import adding, compiled
from comptroller.core.account import Where
from comptroller.core.books import Ending
from comptroller.core.errors import RecordError
from comptroller.core.usage import USAGE_CLASSES
from comptroller.engine.bookkeeping import Bookkeeping
from comptroller.engine.fold import Conflict, Decision, End, Folded, held_accounts
from comptroller.engine.objects import Maker, Owned, made

LOOK_UP: Final = 100
"""Ids in one look-up; the statement is compiled for so many."""

_Tuple: TypeAlias = tuple[Any, ...]
_r: Final = schema.requests.c
_json: Final = msgspec.json.Encoder().encode
_SUMS: Final = ("requests", "cost_nano_usd", *(f"usage_{n}" for n in USAGE_CLASSES))
_PLACE: Final = {name: place for place, name in enumerate(USAGE_CLASSES, start=2)}
_NOT_ENDED: Final = (0, "{}", None, None, None, None, None)
_FACTS: Final = list(_r.keys()).index("time_ns")
"""So many columns are the first facts of a decision, in their order."""
_ZEROES: Final = [0] * len(_SUMS)


class Writing(NamedTuple):
    """Where a run of records of one journal is written to."""

    connection: Connection
    """In a transaction."""
    journal: int
    """The row of the journal."""
    source: str
    shelf: SqliteShelf
    keeping: Bookkeeping


class _Known(NamedTuple):
    """What roll-up and books need of a request, for one that was decided earlier."""

    request_id: str
    state: str
    time_ns: int
    tenant: str
    unit: str
    service: str
    owner_billing: str
    model: str | None
    credential_id: str
    run: str | None
    hold_nano_usd: int
    slice_nano_usd: int
    source: str
    path: str | None


def _latest_use() -> str:
    statement = sqlite.insert(schema.credential_uses)
    last, new = schema.credential_uses.c.last_used_ns, statement.excluded.last_used_ns
    return compiled(
        statement.on_conflict_do_update(
            index_elements=["credential_id"], set_={"last_used_ns": func.max(last, new)}
        )
    )


def _ending() -> str:
    return compiled(
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


_INSERT: Final = compiled(sqlite.insert(schema.requests))
_END: Final = _ending()
_SPEND: Final = adding(schema.spend, _SUMS)
_USE: Final = _latest_use()
_LOOK_UP: Final = compiled(
    select(
        *(_r[name] for name in _Known._fields[:-2]),
        schema.journals.c.source,
        schema.hold_paths.c.path,
    )
    .select_from(schema.requests)
    .join(schema.journals, schema.journals.c.id == _r.decided_journal)
    .outerjoin(schema.hold_paths, schema.hold_paths.c.id == _r.hold_path)
    .where(_r.request_id.in_([bindparam(f"id_{place}") for place in range(LOOK_UP)]))
)
_EXTEND: Final = compiled(
    update(schema.requests)
    .values(slice_nano_usd=bindparam("slice"))
    .where(_r.request_id == bindparam("of_id"))
)


def project_requests(writing: Writing, folded: Folded) -> list[Conflict]:
    """Projects decisions, extensions and ends of one journal, and books the ends.

    Args:
        writing: where to.
        folded: what stands in the journal.

    Returns:
        The ends of requests that had ended earlier; these are not projected.

    Raises:
        RecordError: a request ended, or was extended, that was never decided.
    """
    spent: dict[_Tuple, list[int]] = {}
    earlier, conflicts = _ends_of_earlier(writing, folded, spent)
    rows: list[_Tuple] = []
    uses: dict[str, int] = {}
    objects: list[Owned] = []
    ends, slices = folded.ends, folded.slices
    for request_id, decision in folded.decisions.items():
        end = ends.get(request_id)
        facts = decision.facts
        if end is not None and not facts.is_allowed:
            conflicts.append(Conflict(request_id, end.offset))
            end = None
        a_slice = slices.get(request_id, facts.hold_slice_nano_usd)
        path = decision.path
        path_id = writing.shelf.path_id(path.text) if path.text else None
        row = _row(writing.journal, decision, end)
        rows.append((*row, facts.run, path_id, a_slice))
        if end is not None:
            time_ns = decision.time_ns
            tenant, unit, service = facts.tenant, facts.unit, facts.service
            credential = facts.credential
            billing, model = facts.owner_billing, facts.model or ""
            hour = time_ns // HOUR_NS
            key = (hour, tenant, unit, service, billing, model, credential)
            _add(spent, key, end)
            where = Where("", tenant, unit, service, credential, facts.run)
            if end.stored is not None:
                maker = Maker(tenant, service, request_id)
                objects += made(end.stored, maker)
            held = path.held(facts.hold_nano_usd, a_slice)
            writing.keeping.end(
                Ending(writing.source, where, time_ns, end.cost_nano_usd, held)
            )
        uses[facts.credential] = decision.time_ns
    connection = writing.connection
    if rows:
        connection.exec_driver_sql(_INSERT, rows)
        connection.exec_driver_sql(_USE, list(uses.items()))
    if earlier:
        updates = [_update(writing.journal, end) for end in earlier]
        connection.exec_driver_sql(_END, updates)
    project_objects(connection, objects)
    if spent:
        sums = [(*key, *counts) for key, counts in spent.items()]
        connection.exec_driver_sql(_SPEND, sums)
    return conflicts


def _ends_of_earlier(
    writing: Writing, folded: Folded, spent: dict[_Tuple, list[int]]
) -> tuple[list[End], list[Conflict]]:
    """Ends of requests that an earlier run decided; they are added up and booked."""
    slices = folded.slices
    ids = [one for one in folded.ends if one not in folded.decisions]
    known = _look_up(writing.connection, ids)
    if slices:
        _extend(writing.connection, folded, known)
    ends: list[End] = []
    conflicts: list[Conflict] = []
    objects: list[Owned] = []
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
        _book(writing.keeping, found, end, slices.get(request_id))
        if end.stored is not None:
            maker = Maker(found.tenant, found.service, request_id)
            objects += made(end.stored, maker)
    project_objects(writing.connection, objects)
    return ends, conflicts


def _book(keeping: Bookkeeping, found: _Known, end: End, a_slice: int | None) -> None:
    """Books the end of a request that was decided earlier."""
    if a_slice is None:
        a_slice = found.slice_nano_usd
    where = Where(
        "", found.tenant, found.unit, found.service, found.credential_id, found.run
    )
    held: list[tuple[str, int]] = []
    if found.path is not None:
        held = held_accounts(found.path.encode()).held(found.hold_nano_usd, a_slice)
    cost = end.cost_nano_usd
    keeping.end(Ending(found.source, where, found.time_ns, cost, held))


def _extend(connection: Connection, folded: Folded, known: dict[str, _Known]) -> None:
    """Keeps how far requests that were decided earlier were extended."""
    ids = [one for one in folded.slices if one not in folded.decisions]
    known |= _look_up(connection, [one for one in ids if one not in known])
    for one in ids:
        if one not in known:
            raise RecordError(
                f"request {one} was extended but no decision on it was projected"
            )
    rows = [(folded.slices[one], one) for one in ids if known[one].state == "open"]
    if rows:
        connection.exec_driver_sql(_EXTEND, rows)


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
    """A new row up to `ended_offset`, in the order of the table's columns."""
    facts, time_ns, offset, _ = decision
    if end is None:
        state = "open" if facts.is_allowed else "refused"
        known = astuple(facts)[:_FACTS]
        return (*known, time_ns, journal, offset, state, *_NOT_ENDED)
    if end.rate_card not in (None, facts.rate_card):
        facts = replace(facts, rate_card=end.rate_card)
    return (
        *astuple(facts)[:_FACTS],
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
