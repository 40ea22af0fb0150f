"""`comptroller audit anchor` and `audit anchors`: checkpoints in a git repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from comptroller.cli import options
from comptroller.cli.tables import json_text, printable
from comptroller.core.cosignature import OUTSIDERS_ONLY

Git: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--git",
        metavar="DIR",
        help="A clone of a repository whose history the operator cannot rewrite.",
    ),
]
Vkey: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--vkey",
        metavar="VKEY",
        help="The trail's public key; may be repeated. [default: the one in --data]",
    ),
]


def add_to(audit: typer.Typer) -> None:
    """Adds the commands to the group `audit`."""
    audit.command("anchor")(anchor)
    audit.command("anchors")(anchors)


def anchor(
    git: Git,
    data: options.Data = options.DATA_DEFAULT,
    vkey: Vkey = None,
    *,
    push: Annotated[bool, typer.Option("--push", help="Push the commit, too.")] = False,
    as_json: options.Json = False,
) -> None:
    """Commit the newest checkpoint, and nothing else, into a git repository."""
    from comptroller.bootstrap import anchoring

    done = anchoring.anchor(data, git, vkey or [], push=push)
    if as_json:
        typer.echo(json_text(done))
    elif done["commit"] is None:
        typer.echo(f"{done['size']} records are anchored already.")
    else:
        typer.echo(f"{done['size']} records are anchored in {done['commit']}.")


def anchors(
    git: Git,
    data: options.Data = options.DATA_DEFAULT,
    vkey: Vkey = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 where the trail contradicts one."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare every checkpoint that was ever anchored with the trail."""
    from comptroller.bootstrap import anchoring

    found = anchoring.check_anchors(data, git, vkey or [])
    if as_json:
        typer.echo(json_text(found))
    elif found["first_wrong"] is not None:
        wrong = found["first_wrong"]
        typer.echo(printable(f"NOT as anchored: commit {wrong['commit']}"))
        typer.echo(printable(f"  of {wrong['time']}: {wrong['problem']}"))
        typer.echo(f"  {found['checked']} older ones fit.")
    elif found["last"] is None:
        typer.echo(f"Nothing of {found['origin']} is anchored: {OUTSIDERS_ONLY}.")
    else:
        last = found["last"]
        typer.echo(
            f"All {found['checked']} checkpoints fit: the first {last['size']} of"
            f" {found['size']} records are as anchored at {last['time']}."
        )
    if check and not found["ok"]:
        raise typer.Exit(1)
