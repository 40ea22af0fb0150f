"""`comptroller demo`: everything at once, with a simulated provider."""

from __future__ import annotations

from typing import Annotated, Final

import typer

SECONDS: Final = 30.0
SECONDS_MIN: Final = 2.0
SECONDS_MAX: Final = 3600.0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    *,
    seconds: Annotated[
        float,
        typer.Option(
            envvar="DEMO_SECONDS",
            min=SECONDS_MIN,
            max=SECONDS_MAX,
            help="How long the traffic lasts.",
        ),
    ] = SECONDS,
    keep: Annotated[
        bool,
        typer.Option("--keep", envvar="KEEP", help="Leave it running until Ctrl-C."),
    ] = False,
) -> None:
    """Show it all: teams, traffic, a policy, spend, a revocation.

    Needs no key and no network: a simulated provider speaks all three dialects.
    """
    from comptroller.cli.demo import story

    story.run(seconds, keep=keep)
