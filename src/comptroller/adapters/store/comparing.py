"""Comparing two stores, row by row.

The numbers by which rows name a journal, a path or a state are of each store's own
making: what they stand for is compared. Every other column is compared as it is; a
new table or column is so without a line here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias

from sqlalchemy import Column, Table, bindparam, select
from sqlalchemy.sql.elements import ColumnElement

from comptroller.adapters.store import schema
from comptroller.adapters.store.statements import compiled
from comptroller.core.errors import StoreUnavailableError
from comptroller.engine.rebuilding import Compared, Difference

_Row: TypeAlias = tuple[Any, ...]
_NUMBERED: Final[Mapping[str, str]] = {
    "journals": "source",
    "hold_paths": "path",
    "heartbeat_states": "state",
}
"""Tables whose `id` is a number of the store's own, and what stands for it."""
_NAMED: Final[Mapping[tuple[str, str], str]] = {
    ("requests", "decided_journal"): "journals",
    ("requests", "ended_journal"): "journals",
    ("requests", "hold_path"): "hold_paths",
    ("conflicts", "journal"): "journals",
    ("registry_changes", "journal"): "journals",
    ("revisions", "journal"): "journals",
    ("policy_activations", "journal"): "journals",
    ("policy_loads", "journal"): "journals",
    ("lives", "journal"): "journals",
    ("heartbeats", "journal"): "journals",
    ("heartbeats", "state"): "heartbeat_states",
}
"""Columns that hold such a number, and of which table."""
_EVIDENCE: Final = frozenset(
    {"lives", "heartbeats", "heartbeat_states", "registry_history"}
)
"""What a store that an older release began has only from its migration on."""
_OLDER: Final = "an older release began the store, and did not keep this"
_ORDER: Final = (
    "two requests named the same object, and their journals were read in another order"
)


class StoreImage:
    """One moment of a store: what others write meanwhile is not seen."""

    def __init__(self, path: Path) -> None:
        """Opens the database to read.

        Raises:
            StoreUnavailableError: it cannot be read, or has another schema.
        """
        self._path = path
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
            self._connection.execute("PRAGMA busy_timeout = 10000")
            self._connection.execute("BEGIN")
            version = self._connection.execute(
                "SELECT version_num FROM alembic_version"
            ).fetchone()
        except sqlite3.Error as error:
            raise _unavailable(path, error) from error
        if version != (schema.HEAD,):
            raise StoreUnavailableError(
                f"the store {path} has schema {version}, not {schema.HEAD}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the moment."""
        self._connection.close()

    def positions(self) -> dict[str, int]:
        """How far each journal is projected.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        wanted = select(schema.journals.c.source, schema.journals.c.position)
        return dict(self._rows(compiled(wanted)))

    def rate_cards(self) -> list[str]:
        """The rate cards that requests were priced by.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        column = schema.requests.c.rate_card
        wanted = select(column).where(column.is_not(None)).distinct()
        return [row[0] for row in self._rows(compiled(wanted))]

    def has_requests(self, ids: set[str]) -> bool:
        """Whether there are all of these requests.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        column = schema.requests.c.request_id
        wanted = compiled(select(column).where(column == bindparam("id")))
        return all(next(self._rows(wanted, one), None) for one in ids)

    def rows(self, table: Table) -> Iterator[_Row]:
        """The rows of a table as they are compared, by their keys.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        wanted = select(*(_shown(one) for one in columns(table)))
        return self._rows(compiled(wanted.order_by(*map(_shown, key(table)))))

    def _rows(self, statement: str, *values: str) -> Iterator[_Row]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error


def columns(table: Table) -> list[Column[Any]]:
    """The columns of a table that are compared."""
    own = "id" if table.name in _NUMBERED else None
    return [one for one in table.columns if one.name != own]


def key(table: Table) -> list[Column[Any]]:
    """What tells a table's rows apart in every store."""
    if table.name in _NUMBERED:
        return [table.c[_NUMBERED[table.name]]]
    return list(table.primary_key.columns)


def _shown(column: Column[Any]) -> ColumnElement[Any]:
    """What is compared of a column."""
    named = _NAMED.get((column.table.description, column.name))
    if named is None:
        return column
    table = schema.metadata.tables[named].alias()
    # The number itself, where it stands for nothing: that is a difference, too.
    found = select(table.c[_NUMBERED[named]]).where(table.c.id == column)
    return found.scalar_subquery().label(column.name)


def compare(live: StoreImage, rebuilt: StoreImage, most: int) -> Compared:
    """Compares all tables.

    Args:
        live: the store that is in use.
        rebuilt: what the records say.
        most: differences that are told of a table; all are counted.

    Raises:
        StoreUnavailableError: one of them cannot be read.
    """
    compared = Compared(tables=len(schema.metadata.tables))
    older = _is_older(live)
    for table in schema.metadata.sorted_tables:
        names = tuple(one.name for one in columns(table))
        places = tuple(names.index(one.name) for one in key(table))
        found = 0
        for rows, both in _merged(live.rows(table), rebuilt.rows(table), places):
            compared.rows += rows
            if both is None:
                continue
            reason = _explained(table.name, both, names, older=older)
            if table is schema.objects and _is_order(both, names, live):
                reason = _ORDER
            if reason is not None:
                compared.explained[table.name, reason] = (
                    compared.explained.get((table.name, reason), 0) + 1
                )
                continue
            compared.count += 1
            found += 1
            if found <= most:
                compared.differences.append(_told(table.name, both, names, places))
    return compared


class _Both(NamedTuple):
    """A row that is not the same in both."""

    live: _Row | None
    rebuilt: _Row | None


def _merged(
    live: Iterator[_Row], rebuilt: Iterator[_Row], places: tuple[int, ...]
) -> Iterator[tuple[int, _Both | None]]:
    """How many rows are alike, and each that is not."""
    alike = 0
    ours, theirs = next(live, None), next(rebuilt, None)
    while ours is not None or theirs is not None:
        if ours == theirs:
            alike += 1
            ours, theirs = next(live, None), next(rebuilt, None)
            continue
        first = _first(ours, theirs, places)
        yield 1, _Both(ours if first <= 0 else None, theirs if first >= 0 else None)
        if first <= 0:
            ours = next(live, None)
        if first >= 0:
            theirs = next(rebuilt, None)
    yield alike, None


def _first(ours: _Row | None, theirs: _Row | None, places: tuple[int, ...]) -> int:
    """Which of two rows comes first: below 0 ours, above 0 theirs; 0: one key."""
    if ours is None:
        return 1
    if theirs is None:
        return -1
    # SQLite has null before everything.
    left = [(ours[one] is not None, ours[one]) for one in places]
    right = [(theirs[one] is not None, theirs[one]) for one in places]
    if left == right:
        return 0
    return -1 if left < right else 1


def _is_older(live: StoreImage) -> bool:
    """Whether the store has revisions from before they said where they stand."""
    names = [one.name for one in columns(schema.revisions)]
    place = names.index("journal")
    return any(row[place] is None for row in live.rows(schema.revisions))


def _explained(
    table: str, both: _Both, names: tuple[str, ...], *, older: bool
) -> str | None:
    """Why two stores that are both right may differ so; None: they may not."""
    if older and both.live is None and table in _EVIDENCE:
        return _OLDER
    if both.live is None or both.rebuilt is None:
        return None
    differing = {
        name
        for name, one, other in zip(names, both.live, both.rebuilt, strict=True)
        if one != other
    }
    if table in {"revisions", "policy_activations"}:
        lacking = {
            name
            for name, one in zip(names, both.live, strict=True)
            if one is None and name in {"journal", "sequence"}
        }
        return _OLDER if differing <= lacking else None
    return None


def _is_order(both: _Both, names: tuple[str, ...], live: StoreImage) -> bool:
    """Whether two known requests of one tenant named an object; the first counts."""
    if both.live is None or both.rebuilt is None:
        return False
    ours = dict(zip(names, both.live, strict=True))
    theirs = dict(zip(names, both.rebuilt, strict=True))
    may = {"request_id", "service", "model"}
    if any(ours[name] != theirs[name] for name in names if name not in may):
        return False
    makers = {ours["request_id"], theirs["request_id"]}
    return len(makers) > 1 and live.has_requests(makers)


def _told(
    table: str, both: _Both, names: tuple[str, ...], places: tuple[int, ...]
) -> Difference:
    row = both.live or both.rebuilt or ()
    name = ", ".join(f"{names[one]} {row[one]}" for one in places)
    if both.live is None or both.rebuilt is None:
        where = "live" if both.rebuilt is None else "rebuilt"
        return Difference(table, name, f"only in the {where} store")
    said = "; ".join(
        f"{column} is {_short(one)}, rebuilt {_short(other)}"
        for column, one, other in zip(names, both.live, both.rebuilt, strict=True)
        if one != other
    )
    return Difference(table, name, said)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store {path} cannot be read: {error}")
