"""The command line: `comptroller …`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Final, NoReturn

import typer

from comptroller import __version__
from comptroller.cli.tables import json_text
from comptroller.core.errors import ComptrollerError

_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "comptroller.cli.demo": ("demo",),
    "comptroller.cli.configuration": ("init", "check", "schema", "plan", "apply"),
    "comptroller.cli.serve": ("serve",),
    "comptroller.cli.witness": ("witness",),
    "comptroller.cli.keys": ("key",),
    "comptroller.cli.budgets": ("budget", "audit"),
    "comptroller.cli.policy": ("policy",),
    "comptroller.cli.privacy": ("privacy",),
    "comptroller.cli.answers": ("spend", "requests", "explain"),
}
"""Where each command is; only what is asked for is loaded, so that it starts soon."""
_PIPE_CLOSED: Final = 141
"""What a shell reports of a program that a closed pipe ended."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 it failed, 2 it was asked wrongly."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build_app(given[0] if given else None)(args=given, prog_name="comptroller")
    except ComptrollerError as error:
        _print_error(error, as_json="--json" in given)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`head`, a pager) has gone; the interpreter must not flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)


def build_app(command: str | None = None) -> typer.Typer:
    """Puts the command line together.

    Args:
        command: the only one that is needed; all are there where it is none of ours.
    """
    app = typer.Typer(
        help="The AI gateway that can account for every request.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    wanted = [module for module, names in _COMMANDS.items() if command in names]
    for module in wanted or _COMMANDS:
        import_module(module).register(app)
    return app


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=lambda asked: _print_version() if asked else None,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Takes the options before a command; typer has called back for each."""


def _print_version() -> NoReturn:
    typer.echo(f"comptroller {__version__}")
    raise typer.Exit


def _print_error(error: ComptrollerError, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"code": error.code, "message": error.message}}
        typer.echo(json_text(document), err=True)
    else:
        typer.echo(f"error: {error.message}", err=True)
