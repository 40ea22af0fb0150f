"""Reading the database: what all that only read it have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from sqlalchemy import Connection, Engine, Table, select

from comptroller.adapters.store.connecting import reading_engine, translated

_Row = TypeVar("_Row", bound=NamedTuple)
"""Its fields are columns of a table."""


class SqliteReads:
    """Reads of the database; any process may hold one."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the database to read only.

        Raises:
            StoreUnavailableError: there is none, or its schema is not this release's.
        """
        return cls(reading_engine(path), path)

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One consistent view."""
        with translated(self._path), self._engine.begin() as connection:
            yield connection

    def _all(self, kind: type[_Row], table: Table, *order: str) -> list[_Row]:
        """Every row of a table, in the order of some of its columns."""
        columns = [table.c[name] for name in kind._fields]
        wanted = select(*columns).order_by(*(table.c[name] for name in order))
        with self._reading() as connection:
            return [kind._make(row) for row in connection.execute(wanted)]
