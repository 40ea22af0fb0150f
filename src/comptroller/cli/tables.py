"""Tables of text: fitted to a terminal, whole in a pipe."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import typer

_GAP: Final = "  "
_CELL_MIN: Final = 6
_CELL_CRAMPED: Final = 12
"""Rather than cut cells to less than this, a column that may give way does."""


class Column(NamedTuple):
    """A column's heading and how it is laid out."""

    heading: str
    is_number: bool = False
    may_shrink: bool = False
    """Whether a narrow terminal may cut it; a pipe never does."""
    may_give_way: bool = False
    """Whether a terminal where all else would be cramped may do without it."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows: fitted and with a bold heading on a terminal, else whole."""
    if not sys.stdout.isatty():
        for line in plain(columns, rows):
            typer.echo(line)
        return
    heading, *lines = plain(columns, rows, shutil.get_terminal_size().columns)
    typer.secho(heading, bold=True)
    for line in lines:
        typer.echo(line)


def print_page(document: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Prints a document.

    Args:
        document: what is told.
        lines: its page; not made where it is not printed, if a generator.
        as_json: whether to print the document itself.
    """
    for line in (json_text(document),) if as_json else lines:
        typer.echo(line)


def plain(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """Lays a heading and rows out as aligned text.

    Args:
        columns: what the cells are.
        rows: cells of text.
        width: columns give way or are cut to fit it, as far as possible; None: none.
    """
    if width is not None:
        columns, rows = _without_spare(columns, rows, width)
    headings = [column.heading for column in columns]
    lines = [headings, *([printable(cell) for cell in row] for row in rows)]
    widths = _widths(lines)
    if width is not None:
        _shrink(columns, widths, width)
    return [
        _GAP.join(
            _fit(cell, space, is_number=column.is_number)
            for column, space, cell in zip(columns, widths, row, strict=True)
        ).rstrip()
        for row in lines
    ]


def printable(text: str) -> str:
    """Shows control characters instead of obeying them.

    A model's name comes from whoever asked: it must not move the cursor.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def json_text(document: object, indent: int | None = None) -> str:
    """Writes JSON as people can read it, and as a terminal can show it.

    What controls a terminal, or turns the direction of text, is escaped.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1]
        for one in text
    )


def _without_spare(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    """Leaves out what may give way where the rest would be cramped beside it."""
    widths = _widths([[column.heading for column in columns], *rows])
    least = [
        min(space, _CELL_CRAMPED) if column.may_shrink else space
        for column, space in zip(columns, widths, strict=True)
    ]
    if sum(least) + len(_GAP) * (len(least) - 1) <= width:
        return columns, rows
    kept = [place for place, column in enumerate(columns) if not column.may_give_way]
    return [columns[place] for place in kept], [
        [row[place] for place in kept] for row in rows
    ]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*lines, strict=True)]


def _shrink(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Takes from the widest shrinkable column until all fit."""
    places = [place for place, column in enumerate(columns) if column.may_shrink]
    while places and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(places, key=lambda place: widths[place])
        if widths[widest] <= _CELL_MIN:
            return
        widths[widest] -= 1


def _fit(cell: str, width: int, *, is_number: bool) -> str:
    if len(cell) > width:
        cell = cell[: width - 1] + "…"
    return cell.rjust(width) if is_number else cell.ljust(width)
