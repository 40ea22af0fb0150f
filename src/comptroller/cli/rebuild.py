"""`comptroller audit rebuild`: the store, worked out again from the trail alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comptroller.cli import options
from comptroller.cli.tables import json_text
from comptroller.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from comptroller.bootstrap.rebuilding import Rebuilt


def rebuild(
    data: options.Data = options.DATA_DEFAULT,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the new store is to stand."),
    ] = None,
    vkey: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The log's public key. [default: its own]"),
    ] = None,
    entries: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A copy or an export of the log from before it was pruned.",
        ),
    ] = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare it with the store in use, row by row."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Work the store out from the trail alone, and compare it."""
    from comptroller.bootstrap import rebuilding

    if to is None and not check:
        raise InvalidArgumentError(
            "say what the rebuilt store is for: --check compares it with the one in"
            " use, --to FILE keeps it"
        )
    begun = time.monotonic()
    is_shown = sys.stderr.isatty() and not as_json

    def tell(count: int, most: int) -> None:
        if is_shown:
            sys.stderr.write(f"\r{count:,} of at most {most:,} records")
            sys.stderr.flush()

    found = rebuilding.rebuild(
        data, to, rebuilding.Log(vkey, entries), tell, check=check
    )
    took = time.monotonic() - begun
    if is_shown:
        sys.stderr.write("\r\x1b[K")
    if as_json:
        typer.echo(json_text(_document(found, took), indent=2))
    else:
        _print(found, to, took)
    if not found.is_sound:
        raise typer.Exit(1)


def _document(found: Rebuilt, took: float) -> dict[str, Any]:
    compared = found.compared
    return {
        "origin": found.origin,
        "size": found.size,
        "sources": found.sources,
        "records": found.records,
        "seconds": round(took, 3),
        "problems": found.problems,
        "waiting": [
            {"source": one.source, "bytes": one.bytes} for one in found.waiting
        ],
        "compared": compared
        and {
            "is_same": not compared.count,
            "tables": compared.tables,
            "rows": compared.rows,
            "differing": compared.count,
            "differences": [one._asdict() for one in compared.differences],
            "explained": [
                {"table": table, "reason": reason, "rows": count}
                for (table, reason), count in compared.explained.items()
            ],
        },
    }


def _print(found: Rebuilt, to: Path | None, took: float) -> None:
    typer.echo(
        f"Rebuilt from {found.records:,} records of {found.sources} journals in"
        f" {took:,.1f} s: {found.origin}, {found.size:,} entries."
    )
    for problem in found.problems:
        typer.echo(f"  problem: {problem}")
    for one in found.waiting:
        typer.echo(
            f"  not in the trail yet: {one.bytes:,} bytes of {one.source}, compared"
            " as its journal has them"
        )
    compared = found.compared
    if compared is not None:
        for (table, reason), count in compared.explained.items():
            typer.echo(f"  may differ: {table}, {count:,} rows: {reason}")
        for table, row, said in compared.differences:
            typer.echo(f"  DIFFERS: {table}, {row}: {said}")
        more = compared.count - len(compared.differences)
        if more:
            typer.echo(f"  DIFFERS: {more:,} rows more")
        same = f"{compared.count:,} rows differ" if compared.count else "the same"
        typer.echo(
            f"Compared with the store in use: {compared.rows:,} rows of"
            f" {compared.tables} tables, {same}."
        )
    if to is not None:
        typer.echo(f"The new store is {to}.")
