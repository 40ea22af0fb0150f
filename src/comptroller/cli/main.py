"""The command line: `comptroller …`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from comptroller import __version__
from comptroller.cli import answers, configuration, keys, serve
from comptroller.core.errors import ComptrollerError

_PIPE_CLOSED: Final = 141
"""What a shell reports of a program that a closed pipe ended."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 it failed, 2 it was asked wrongly."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build_app()(args=given, prog_name="comptroller")
    except ComptrollerError as error:
        _print_error(error, as_json="--json" in given)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`head`, a pager) has gone; the interpreter must not flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_CLOSED)


def build_app() -> typer.Typer:
    """Puts the commands together; each loads what it needs when it runs."""
    app = typer.Typer(
        help="The AI gateway that can account for every request.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    configuration.register(app)
    serve.register(app)
    keys.register(app)
    answers.register(app)
    return app


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True),
    ] = False,
) -> None:
    if version:
        typer.echo(f"comptroller {__version__}")
        raise typer.Exit


def _print_error(error: ComptrollerError, *, as_json: bool) -> None:
    if as_json:
        document = {"error": {"code": error.code, "message": error.message}}
        typer.echo(json.dumps(document, ensure_ascii=False), err=True)
    else:
        typer.echo(f"error: {error.message}", err=True)
