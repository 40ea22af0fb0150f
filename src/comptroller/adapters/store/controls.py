"""Controls in the store: who configured them, and which worker enforced them when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.adapters.store.reports import one_request
from comptroller.engine.control_ports import (
    BEATS_MAX,
    LIVES_MAX,
    BeatRow,
    ChangeRow,
    LifeRow,
    RecordPlace,
    RevisionRow,
)
from comptroller.engine.control_records import (
    Heartbeat,
    HeartbeatState,
    JournalClosed,
    JournalStarted,
)
from comptroller.engine.fold import Sign
from comptroller.engine.ports import RequestRow
from comptroller.engine.projection import is_administrative

_AnyRow: TypeAlias = Row[Any]
_state: Final = msgspec.json.Decoder(HeartbeatState).decode
_r: Final = schema.requests.c
_b: Final = schema.heartbeats.c
_BEATS: Final = (
    select(schema.journals.c.source, _b.sequence, _b.time_ns, schema.heartbeat_states)
    .select_from(schema.heartbeats)
    .join(schema.journals, schema.journals.c.id == _b.journal)
    .join(schema.heartbeat_states, schema.heartbeat_states.c.id == _b.state)
)


class SqliteControls(SqliteReads):
    """Reads of the database.

    Satisfies `engine.control_ports.ControlReports`. Every method raises
    StoreUnavailableError when the database cannot be read.
    """

    def positions(self) -> dict[str, int]:
        """How far each journal was projected, in bytes of its stream."""
        journals = schema.journals.c
        with self._reading() as connection:
            rows = connection.execute(select(journals.source, journals.position))
            return {row.source: row.position for row in rows}

    def revisions(self) -> Sequence[RevisionRow]:
        """Every applied configuration, in order."""
        table, journals = schema.revisions, schema.journals
        wanted = (
            select(table, journals.c.source)
            .outerjoin(journals, journals.c.id == table.c.journal)
            .order_by(table.c.revision)
        )
        with self._reading() as connection:
            return [
                RevisionRow(
                    row.revision,
                    row.time_ns,
                    row.digest,
                    row.person,
                    row.account,
                    _place(row),
                )
                for row in connection.execute(wanted)
            ]

    def registry_changes(self, kinds: Sequence[str]) -> Sequence[ChangeRow]:
        """What revisions made of objects of these kinds, in order of revision."""
        table = schema.registry_history
        columns = [table.c[name] for name in ChangeRow._fields]
        wanted = (
            select(*columns)
            .where(table.c.kind.in_(list(kinds)))
            .order_by(table.c.revision, table.c.kind, table.c.id)
        )
        with self._reading() as connection:
            return [ChangeRow(*row) for row in connection.execute(wanted)]

    def activation_places(self) -> dict[int, RecordPlace]:
        """Where the records of policy activations stand, by their numbers."""
        table, journals = schema.policy_activations, schema.journals
        wanted = select(table.c.number, table.c.sequence, journals.c.source).join(
            journals, journals.c.id == table.c.journal
        )
        with self._reading() as connection:
            return {
                row.number: RecordPlace(row.source, row.sequence)
                for row in connection.execute(wanted)
            }

    def lives(self, begin_ns: int, end_ns: int) -> Sequence[LifeRow]:
        """The workers that may have lived in a span, oldest first."""
        table, journals = schema.lives, schema.journals
        wanted = (
            select(journals.c.source, table.c.started_ns, table.c.closed_ns)
            .join(journals, journals.c.id == table.c.journal)
            .where(
                table.c.started_ns <= end_ns,
                or_(table.c.closed_ns.is_(None), table.c.closed_ns >= begin_ns),
            )
            .order_by(table.c.started_ns, journals.c.source)
        )
        with self._reading() as connection:
            rows = [LifeRow(*row) for row in connection.execute(wanted)]
        return [one for one in rows if not is_administrative(one.source)][:LIVES_MAX]

    def beat_ends(
        self, source: str, begin_ns: int, end_ns: int
    ) -> tuple[int, int] | None:
        """Sequences of a worker's first and last heartbeat of a span; None: none."""
        journals = schema.journals.c
        wanted = (
            select(func.min(_b.sequence), func.max(_b.sequence))
            .join(schema.journals, journals.id == _b.journal)
            .where(
                journals.source == source, _b.time_ns >= begin_ns, _b.time_ns <= end_ns
            )
        )
        with self._reading() as connection:
            first, last = connection.execute(wanted).one()
        return None if first is None else (first, last)

    def heartbeat_run(self, source: str, first: int, last: int) -> Sequence[BeatRow]:
        """A worker's heartbeats from one sequence to another, both included."""
        wanted = _of(source).where(_b.sequence >= first, _b.sequence <= last)
        return self._beats(wanted.order_by(_b.sequence).limit(BEATS_MAX))

    def heartbeat_before(self, source: str, time_ns: int) -> BeatRow | None:
        """The last of a worker's heartbeats, in sequence, with an earlier time."""
        wanted = _of(source).where(_b.time_ns < time_ns)
        found = self._beats(wanted.order_by(_b.sequence.desc()).limit(1))
        return found[0] if found else None

    def heartbeat_after(self, source: str, time_ns: int) -> BeatRow | None:
        """The first of a worker's heartbeats, in sequence, with a later time."""
        wanted = _of(source).where(_b.time_ns > time_ns)
        found = self._beats(wanted.order_by(_b.sequence).limit(1))
        return found[0] if found else None

    def last_decision_ns(self, source: str, begin_ns: int, end_ns: int) -> int | None:
        """When a worker last decided in a span; None: it did not."""
        wanted = (
            select(_r.time_ns)
            .join(schema.journals, schema.journals.c.id == _r.decided_journal)
            .where(
                schema.journals.c.source == source,
                _r.time_ns >= begin_ns,
                _r.time_ns <= end_ns,
            )
            .order_by(_r.time_ns.desc())
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(wanted)

    def decisions_near(
        self, service: str, time_ns: int
    ) -> tuple[RequestRow | None, RequestRow | None]:
        """The last decision on a service's request not after a time, and the next."""
        ours = select(_r.request_id).where(_r.service == service).limit(1)
        before = ours.where(_r.time_ns <= time_ns).order_by(_r.time_ns.desc())
        after = ours.where(_r.time_ns > time_ns).order_by(_r.time_ns)
        with self._reading() as connection:
            found = [connection.scalar(one) for one in (before, after)]
            rows = [one and one_request(connection, one) for one in found]
        return rows[0] or None, rows[1] or None

    def _beats(self, wanted: Select[Any]) -> list[BeatRow]:
        states: dict[int, HeartbeatState] = {}
        found: list[BeatRow] = []
        with self._reading() as connection:
            for source, sequence, time_ns, number, text in connection.execute(wanted):
                state = states.get(number)
                if state is None:
                    state = states[number] = _state(text)
                found.append(BeatRow(RecordPlace(source, sequence), time_ns, state))
        return found


def project_signs(connection: Connection, journal: int, signs: Sequence[Sign]) -> None:
    """Projects the signs of life of one process.

    Args:
        connection: in a transaction.
        journal: the row of its journal.
        signs: of that journal, in its order.
    """
    beats: list[dict[str, int]] = []
    states: dict[HeartbeatState, int] = {}
    for sign in signs:
        match sign.data:
            case JournalStarted():
                connection.execute(
                    insert(schema.lives).values(
                        journal=journal, started_ns=sign.time_ns
                    )
                )
            case JournalClosed():
                connection.execute(
                    update(schema.lives)
                    .where(schema.lives.c.journal == journal)
                    .values(closed_ns=sign.time_ns)
                )
            case Heartbeat(state=state):
                if state not in states:
                    states[state] = _number(connection, state)
                beats.append(
                    {
                        "journal": journal,
                        "sequence": sign.sequence,
                        "time_ns": sign.time_ns,
                        "state": states[state],
                    }
                )
    if beats:
        connection.execute(insert(schema.heartbeats), beats)


def _number(connection: Connection, state: HeartbeatState) -> int:
    """The row of a state; made when it is new."""
    table = schema.heartbeat_states
    text = msgspec.json.encode(state).decode()
    connection.execute(sqlite.insert(table).values(state=text).on_conflict_do_nothing())
    number = connection.scalar(select(table.c.id).where(table.c.state == text))
    return int(number or 0)


def _of(source: str) -> Select[Any]:
    return _BEATS.where(schema.journals.c.source == source)


def _place(row: _AnyRow) -> RecordPlace | None:
    return None if row.source is None else RecordPlace(row.source, row.sequence)
