"""`comptroller audit reads`: who was shown what of single records."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from comptroller.cli import options, readings
from comptroller.cli.tables import Column, json_text, print_table, printable
from comptroller.cli.times import time_ns
from comptroller.core.timestamps import rfc3339


def add_to(audit: typer.Typer) -> None:
    """Adds the command to the group `audit`."""
    audit.command("reads")(reads)


def reads(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="From then on: 24h, 7d, 2026-11-01 (in UTC)."
        ),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """List who read which records, in the order of the trail."""
    from comptroller.bootstrap.reads import recorded_readings

    since_ns = None if since is None else time_ns(since, "--since")
    found = recorded_readings(data, since_ns)
    scope = {
        "since": None if since_ns is None else rfc3339(since_ns),
        "listed": len(found),
    }
    readings.record(data, "audit reads", scope, by)
    if as_json:
        typer.echo(json_text(found))
    elif found:
        columns = ("TIME", "PERSON", "ACCOUNT", "COMMAND", "OF", "RECORD")
        print_table([Column(heading) for heading in columns], list(map(_row, found)))
    else:
        typer.echo("No reading is in the trail.")


def _row(one: dict[str, Any]) -> list[str]:
    actor = one["actor"]
    scope = ", ".join(f"{k} {v}" for k, v in one["scope"].items() if v is not None)
    texts = (one["time"], actor["person"] or "-", actor["account"], one["what"], scope)
    return [*map(printable, texts), str(one["index"])]
