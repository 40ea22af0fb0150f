"""Answers: `comptroller spend`, `requests` and `explain`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from comptroller.cli import options, readings
from comptroller.cli.tables import json_text, print_page, print_table
from comptroller.core.timestamps import rfc3339

if TYPE_CHECKING:  # --help must not load the engine: each command loads its own part
    from comptroller.engine.reporting import Reporting

OpenReporting: TypeAlias = "Callable[[Path], AbstractContextManager[Reporting]]"
"""Opens a data directory for reading, after everything recorded was projected."""

LIMIT_DEFAULT: Final = 100

By: TypeAlias = Annotated[
    str,
    typer.Option("--by", help="owner (billing), unit, service, model or credential."),
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="From then on: 24h, 7d, 2026-11-01 (a day of the organization).",
    ),
]


def register(
    app: typer.Typer,
    open_reporting: OpenReporting | None = None,
    record: readings.RecordReading = readings.record,
) -> None:
    """Adds the commands.

    Args:
        app: the command line.
        open_reporting: None: as bootstrap wires it, loaded when a command runs.
        record: records a reading before it is answered.
    """
    opener = open_reporting or _open
    app.command("spend")(_spend(opener))
    app.command("requests")(_requests(opener, record))
    app.command("explain")(_explain(opener, record))


def _open(data: Path) -> AbstractContextManager[Reporting]:
    from comptroller import bootstrap

    return bootstrap.open_reporting(data)


def _spend(opener: OpenReporting) -> Callable[..., None]:
    def spend(
        by: By = "owner",
        since: Since = None,
        data: options.Data = options.DATA_DEFAULT,
        *,
        as_json: options.Json = False,
    ) -> None:
        """Show what was spent, dearest first."""
        from comptroller.cli.answer_pages import spend_rows

        with opener(data) as reporting:
            since_ns = reporting.since_ns(since)
            spent = reporting.spend(by, since_ns)
        if as_json:
            typer.echo(json_text(spent))
        elif spent:
            print_table(*spend_rows(by, spent))
            typer.echo(_span(since_ns))
        else:
            typer.echo("Nothing was spent.")

    return spend


def _span(since_ns: int | None) -> str:
    """Which time a sum is of: without it, nobody can compare two."""
    if since_ns is None:
        return "Of all time; narrow it with --since, such as --since 24h."
    return f"Since {rfc3339(since_ns)[:16].replace('T', ' ')} UTC."


def _requests(
    opener: OpenReporting, record: readings.RecordReading
) -> Callable[..., None]:
    def requests(
        service: Annotated[
            str | None, typer.Option("--service", help="Only of this service.")
        ] = None,
        decision: Annotated[
            str | None, typer.Option("--decision", help="Only allow, or only deny.")
        ] = None,
        since: Since = None,
        data: options.Data = options.DATA_DEFAULT,
        limit: Annotated[
            int, typer.Option("--limit", min=1, help="At most so many, newest first.")
        ] = LIMIT_DEFAULT,
        *,
        show_all: Annotated[
            bool, typer.Option("--all", help="All of them, whatever --limit says.")
        ] = False,
        by: options.Reader = None,
        as_json: options.Json = False,
    ) -> None:
        """List requests, newest first."""
        from comptroller.cli.answer_pages import request_rows
        from comptroller.engine.ports import RequestQuery

        most = None if show_all else limit
        with opener(data) as reporting:
            since_ns = reporting.since_ns(since)
            listed = reporting.requests(RequestQuery(service, decision, since_ns, most))
        scope = {
            "service": service,
            "decision": decision,
            "since": None if since_ns is None else rfc3339(since_ns),
            "listed": len(listed),
        }
        record(data, "requests", scope, by)
        if as_json:
            typer.echo(json_text(listed))
            return
        if not listed:
            typer.echo("No request matches.")
            return
        print_table(*request_rows(listed))
        if len(listed) == most:
            typer.echo(f"The newest {most}; --limit N or --all shows more.")

    return requests


def _explain(
    opener: OpenReporting, record: readings.RecordReading
) -> Callable[..., None]:
    def explain(
        request_id: Annotated[
            str,
            typer.Argument(
                metavar="REQUEST_ID", help="From the header x-comptroller-request-id."
            ),
        ],
        data: options.Data = options.DATA_DEFAULT,
        *,
        by: options.Reader = None,
        as_json: options.Json = False,
    ) -> None:
        """Explain one request: who, model, controls, cost, records."""
        from comptroller.cli.answer_pages import explain_lines

        with opener(data) as reporting:
            document = reporting.explain(request_id)
        record(data, "explain", {"request": document["request_id"]}, by)
        print_page(document, explain_lines(document), as_json=as_json)

    return explain
