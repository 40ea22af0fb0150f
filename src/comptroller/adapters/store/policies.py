"""Policies in the store: projecting what happened to them, and reading it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.core.errors import RecordError
from comptroller.engine.fold import PolicyAct
from comptroller.engine.policy_ports import ActivationRow, PolicyLoadRow, PolicyRow
from comptroller.engine.policy_records import (
    PolicyActivated,
    PolicyDeactivated,
    PolicyLoaded,
    PolicyPublished,
)


class SqlitePolicies(SqliteReads):
    """Reads of what happened to policies.

    Satisfies `engine.policy_ports.PolicyReports`.
    """

    def policies(self) -> Sequence[PolicyRow]:
        """Every published bundle, oldest first.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        return self._all(PolicyRow, schema.policies, "time_ns", "revision")

    def policy_activations(self) -> Sequence[ActivationRow]:
        """Every change of the bundle that decides, oldest first.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        return self._all(ActivationRow, schema.policy_activations, "number")

    def policy_loads(self) -> Sequence[PolicyLoadRow]:
        """The last load of each worker that ever loaded one, by source.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table, journals = schema.policy_loads, schema.journals
        last = (
            select(table.c.journal, func.max(table.c.offset).label("offset"))
            .group_by(table.c.journal)
            .subquery()
        )
        wanted = (
            select(
                journals.c.source,
                table.c.offset,
                table.c.revision,
                table.c.previous,
                table.c.time_ns,
            )
            .join(journals, journals.c.id == table.c.journal)
            .join(
                last,
                (last.c.journal == table.c.journal) & (last.c.offset == table.c.offset),
            )
            .order_by(journals.c.source)
        )
        with self._reading() as connection:
            return [PolicyLoadRow(*row) for row in connection.execute(wanted)]


def project_policies(
    connection: Connection, journal: int, acts: Sequence[PolicyAct]
) -> None:
    """Projects what happened to policies, in its order.

    Args:
        connection: in a transaction.
        journal: the row of the journal that it stands in.
        acts: of that journal.

    Raises:
        RecordError: something does not follow from what was projected before.
    """
    for act in acts:
        match act.data:
            case PolicyPublished() as published:
                _publish(connection, published, act.time_ns)
            case PolicyActivated() as activated:
                known = select(schema.policies.c.revision).where(
                    schema.policies.c.revision == activated.revision
                )
                if connection.scalar(known) is None:
                    raise RecordError(
                        f"policy {activated.revision} was never published"
                    )
                _change(connection, journal, activated, act)
            case PolicyDeactivated() as deactivated:
                _change(connection, journal, deactivated, act)
            case PolicyLoaded(revision=revision, previous=previous):
                connection.execute(
                    insert(schema.policy_loads).values(
                        journal=journal,
                        offset=act.offset,
                        revision=revision,
                        previous=previous,
                        time_ns=act.time_ns,
                    )
                )


def _publish(connection: Connection, published: PolicyPublished, time_ns: int) -> None:
    """Keeps a bundle; one that is published anew says what workers get now."""
    values = {
        "author": published.author,
        "note": published.note,
        "time_ns": time_ns,
        "file_count": len(published.files),
        "part_count": published.parts_count,
        "case_count": published.cases,
        "sets_digest": published.sets_digest,
    }
    statement = sqlite.insert(schema.policies).values(
        revision=published.revision, **values
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["revision"], set_=values)
    )


def _change(
    connection: Connection,
    journal: int,
    change: PolicyActivated | PolicyDeactivated,
    act: PolicyAct,
) -> None:
    revision, note = None, ""
    if isinstance(change, PolicyDeactivated):
        note = change.note
    else:
        revision = change.revision
    table = schema.policy_activations
    last = connection.execute(
        select(table.c.number, table.c.revision).order_by(table.c.number.desc())
    ).first()
    number, active = (0, None) if last is None else (last.number, last.revision)
    if change.previous != active:
        raise RecordError(
            f"policy {revision} replaces {change.previous}, but {active} was active"
        )
    connection.execute(
        insert(table).values(
            number=number + 1,
            revision=revision,
            previous=change.previous,
            author=change.author,
            approver=change.approver,
            note=note,
            is_separated=change.separation_of_duties,
            time_ns=act.time_ns,
            journal=journal,
            sequence=act.sequence,
        )
    )
