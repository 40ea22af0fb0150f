"""`comptroller witness`: another team's signature under a gateway's trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from comptroller.cli.serve import address

DATA_DEFAULT: Final = Path("comptroller-witness")

Data: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The witness's own directory: its key, and what it signed last.",
    ),
]
Name: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The witness's name when its key is made, such as audit.example.org/w1."
        " [default: MACHINE/witness]",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    group = typer.Typer(
        help="Watch another team's trail: sign what continues it, refuse the rest.",
        rich_markup_mode=None,
        invoke_without_command=True,
    )
    group.callback()(serve)
    group.command("key")(show_key)
    app.add_typer(group, name="witness")


def serve(
    context: typer.Context,
    data: Data = DATA_DEFAULT,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the trail's owner asks.")
    ] = "127.0.0.1:4100",
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY", help="The public key of a trail to watch; repeat for more."
        ),
    ] = None,
    name: Name = None,
) -> None:
    """Watch another team's trail: sign what continues it, refuse the rest.

    It speaks C2SP tlog-witness and needs nothing of the gateway but the trail's
    public key.
    """
    if context.invoked_subcommand is not None:
        return
    from comptroller.bootstrap.witness import serve_witness

    serve_witness(data, address(listen, "--listen"), log or [], name)


def show_key(data: Data = DATA_DEFAULT, name: Name = None) -> None:
    """Print the witness's public key; make the key when there is none yet."""
    from comptroller.bootstrap.witness import witness_key

    typer.echo(str(witness_key(data, name).key))
