"""Stored objects in the database: who made what a provider has stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple
from sqlalchemy import Connection, select
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.reading import SqliteReads
from comptroller.adapters.store.statements import compiled
from comptroller.engine.objects import Owned

_KEEP: Final = compiled(sqlite.insert(schema.objects).on_conflict_do_nothing())


def project_objects(connection: Connection, objects: Sequence[Owned]) -> None:
    """Keeps what requests made; who made an id first has it."""
    if objects:
        connection.exec_driver_sql(_KEEP, [astuple(one) for one in objects])


class SqliteObjects(SqliteReads):
    """Reads of the stored objects."""

    def objects(self, ids: Sequence[str]) -> Sequence[Owned]:
        """The stored objects with these ids, whoever made them.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table = schema.objects
        wanted = select(table).where(table.c.id.in_(ids))
        with self._reading() as connection:
            return [Owned(*row) for row in connection.execute(wanted)]
