"""Options that many commands share, so that they read the same everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

Data: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="COMPTROLLER_DATA",
        help="Where the state lives: journals, store and snapshot.",
    ),
]
Config: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="Configuration file or folder of *.yaml; may be repeated."
        " [default: comptroller.yaml]",
    ),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs.")
]
By: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="PERSON", help="The declared person who does this, for records."
    ),
]
Reader: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="PERSON",
        help="The declared person who reads this, for records.",
    ),
]

DATA_DEFAULT: Final = Path("comptroller-data")
CONFIG_DEFAULT: Final = Path("comptroller.yaml")


def config_paths(config: list[Path] | None) -> list[Path]:
    """The configuration paths that were asked for, or the default one."""
    return config or [CONFIG_DEFAULT]


def said_or_read(value: str) -> str:
    """What an option says; for `-`, a line of standard input.

    So a personal value is in no list of processes.
    """
    return sys.stdin.readline().rstrip("\n") if value == "-" else value
