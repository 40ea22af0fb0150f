"""Deletions in the store: which journals only the trail has."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, insert, select

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.core.errors import RecordError
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.deletion_records import JournalDeleted


class SqliteDeletions(SqliteReads):
    """Reads of what was deleted.

    Satisfies `engine.deletion_ports.DeletionReports`.
    """

    def deleted_journals(self) -> Sequence[DeletedJournal]:
        """Every one, in the order in which they were deleted.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table = schema.deleted_journals
        columns = [table.c[name] for name in DeletedJournal._fields]
        wanted = select(*columns).order_by(table.c.time_ns, table.c.source)
        with self._reading() as connection:
            return [
                DeletedJournal(*row)._replace(
                    witnesses=msgspec.json.decode(row.witnesses, type=list[str])
                )
                for row in connection.execute(wanted)
            ]


def project_deleted(
    connection: Connection, deleted: JournalDeleted, time_ns: int
) -> None:
    """Projects that a journal was deleted.

    Raises:
        RecordError: not all that it said is projected yet.
    """
    known = schema.journals
    wanted = select(known.c.position).where(known.c.source == deleted.source)
    position = connection.scalar(wanted) or 0
    if position < deleted.bytes:
        raise RecordError(
            f"the journal {deleted.source} was deleted, and of its {deleted.bytes}"
            f" bytes {position} are projected"
        )
    connection.execute(
        insert(schema.deleted_journals).values(
            source=deleted.source,
            bytes=deleted.bytes,
            records=deleted.records,
            size=deleted.size,
            witnesses=msgspec.json.encode(deleted.witnesses).decode(),
            time_ns=time_ns,
        )
    )
