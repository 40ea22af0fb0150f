"""Reads of the store for a replay: where decisions stand, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads

_r = schema.requests.c
_OPEN = "open"


class SqliteReplays(SqliteReads):
    """Reads of the database.

    Satisfies `engine.replaying.RecordedDecisions`.
    """

    def decisions_begin(self, since_ns: int) -> dict[str, int]:
        """By journal where the first decision of a span stands; without others.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        journals = schema.journals.c
        first = (
            select(_r.decided_journal, func.min(_r.decided_offset).label("offset"))
            .where(_r.time_ns >= since_ns)
            .group_by(_r.decided_journal)
            .subquery()
        )
        wanted = (
            select(journals.source, first.c.offset)
            .join(first, first.c.decided_journal == journals.id)
            .order_by(journals.source)
        )
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}

    def ended_costs(self, ids: Sequence[str]) -> dict[str, int]:
        """What requests cost, in nano-USD; without those that have not ended.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        wanted = select(_r.request_id, _r.cost_nano_usd).where(
            _r.request_id.in_(list(ids)), _r.state != _OPEN
        )
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}
