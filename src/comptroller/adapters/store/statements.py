"""Statements for the driver: SQLAlchemy's, compiled once.

What runs once a request, or for many rows, goes to the driver as text and tuples.
"""

from __future__ import annotations

from sqlalchemy import ClauseElement, Table
from sqlalchemy.dialects import sqlite


def compiled(statement: ClauseElement) -> str:
    """The text of a statement; its parameters are `?`, in their order."""
    return str(statement.compile(dialect=sqlite.dialect()))


def adding(table: Table, sums: tuple[str, ...]) -> str:
    """An insert of whole rows; where there is one, these columns are added to it."""
    statement = sqlite.insert(table)
    return compiled(
        statement.on_conflict_do_update(
            index_elements=table.primary_key.columns,
            set_={name: table.c[name] + statement.excluded[name] for name in sums},
        )
    )


def replacing(table: Table) -> str:
    """An insert of whole rows, each in place of the one with its key."""
    statement = sqlite.insert(table)
    key = table.primary_key.columns
    return compiled(
        statement.on_conflict_do_update(
            index_elements=key,
            set_={
                column.name: statement.excluded[column.name]
                for column in table.columns
                if column.name not in key
            },
        )
    )


def keeping_first(table: Table) -> str:
    """An insert of a whole row that changes nothing where there is one."""
    return compiled(sqlite.insert(table).on_conflict_do_nothing())
