"""Retention in the store: legal holds, and how far the trail is pruned."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.core.errors import RecordError
from comptroller.engine.retention_ports import LegalHoldRow, PruningRow
from comptroller.engine.retention_records import (
    LegalHoldLifted,
    LegalHoldPlaced,
    TrailPruned,
)


class SqliteRetention(SqliteReads):
    """Reads of what is kept, and until when.

    Satisfies `engine.retention_ports.RetentionReports`.
    """

    def legal_holds(self) -> Sequence[LegalHoldRow]:
        """Every legal hold ever placed, oldest first.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        return self._all(LegalHoldRow, schema.legal_holds, "placed_ns", "id")

    def prunings(self) -> Sequence[PruningRow]:
        """Every pruning, oldest first, so that the last has the minimum index.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        return self._all(PruningRow, schema.prunings, "below")


def project_pruned(connection: Connection, pruned: TrailPruned, time_ns: int) -> None:
    """Projects that the trail is to be pruned.

    Raises:
        RecordError: it was pruned that far before.
    """
    table = schema.prunings
    minimum = connection.scalar(select(func.max(table.c.below))) or 0
    if pruned.below <= minimum:
        raise RecordError(
            f"the trail is pruned below {pruned.below}, and was below {minimum} before"
        )
    connection.execute(
        insert(table).values(
            below=pruned.below,
            before=pruned.before,
            reason=pruned.reason,
            person=pruned.actor.person,
            approved_by=pruned.approved_by,
            account=pruned.actor.account,
            time_ns=time_ns,
        )
    )


def project_placed(
    connection: Connection, placed: LegalHoldPlaced, time_ns: int
) -> None:
    """Projects a new legal hold."""
    connection.execute(
        insert(schema.legal_holds).values(
            id=placed.legal_hold_id,
            reason=placed.reason,
            end_user_trace=placed.end_user_trace,
            placed_ns=time_ns,
            placed_by=placed.actor.person,
            placed_account=placed.actor.account,
        )
    )


def project_lifted(
    connection: Connection, lifted: LegalHoldLifted, time_ns: int
) -> None:
    """Projects that a legal hold is in force no more.

    Raises:
        RecordError: it was not in force.
    """
    table = schema.legal_holds
    changed = connection.execute(
        update(table)
        .where(table.c.id == lifted.legal_hold_id, table.c.lifted_ns.is_(None))
        .values(
            lifted_ns=time_ns,
            lifted_reason=lifted.reason,
            lifted_by=lifted.actor.person,
            lifted_account=lifted.actor.account,
        )
    )
    if changed.rowcount != 1:
        raise RecordError(f"legal hold {lifted.legal_hold_id} was not in force")
