"""`comptroller audit controls`: was a control active, and who says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from comptroller.cli import options, readings
from comptroller.cli.tables import print_page
from comptroller.core.errors import InvalidArgumentError

if TYPE_CHECKING:  # --help must not load the engine: each command loads its own part
    from comptroller.engine.control_auditing import ControlAuditing

OpenAuditing: TypeAlias = "Callable[[Path], AbstractContextManager[ControlAuditing]]"
"""Opens a data directory for reading, after everything recorded was projected."""

ServiceOption: TypeAlias = Annotated[
    str | None, typer.Option("--service", metavar="ID", help="Whose requests.")
]
At: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="2026-11-01T09:30, how long ago (2h), or now."
    ),
]
Request: TypeAlias = Annotated[
    str | None,
    typer.Option("--request", metavar="ID", help="The moment of one request."),
]
Between: TypeAlias = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--between", metavar="FROM TO", help="A span: how much of it is covered."
    ),
]


def add_to(
    audit: typer.Typer,
    open_auditing: OpenAuditing | None = None,
    record: readings.RecordReading = readings.record,
) -> None:
    """Adds the command to `comptroller audit`.

    Args:
        audit: the group.
        open_auditing: None: as bootstrap wires it, loaded when the command runs.
        record: records a reading before it is answered.
    """
    audit.command("controls")(_controls(open_auditing or _open, record))


def _open(data: Path) -> AbstractContextManager[ControlAuditing]:
    from comptroller import bootstrap

    return bootstrap.open_control_auditing(data)


def _controls(
    opener: OpenAuditing, record: readings.RecordReading
) -> Callable[..., None]:
    def controls(
        service: ServiceOption = None,
        at: At = None,
        request: Request = None,
        between: Between = None,
        data: options.Data = options.DATA_DEFAULT,
        *,
        by: options.Reader = None,
        as_json: options.Json = False,
    ) -> None:
        """Show which controls were active, since when, approved by whom."""
        from comptroller.cli.control_pages import coverage_lines, moment_lines

        if [at, request, between].count(None) != 2:
            raise InvalidArgumentError(
                "ask about one thing: --at TIME, --request ID, or --between FROM TO"
            )
        if (service is None) == (request is None):
            raise InvalidArgumentError(
                "--service ID says whose controls; with --request it is known"
            )
        with opener(data) as auditing:
            if between is not None:
                found = auditing.between(service or "", *between)
            elif at is not None:
                found = auditing.at(service or "", at)
            else:
                found = auditing.request(request or "")
        # A time is recorded as it was read: "now" and "2h" mean nothing later.
        scope = {
            name: found[name]
            for name in ("service", "request_id", "at", "begin", "end")
            if found.get(name) is not None
        }
        record(data, "audit controls", scope, by)
        page = coverage_lines if between is not None else moment_lines
        print_page(found, page(found), as_json=as_json)

    return controls
