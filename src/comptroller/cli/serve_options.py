"""The options of `comptroller serve`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Durability(StrEnum):
    """What a record that was waited for survives."""

    DISK = "disk"
    PROCESS = "process"


Listen: TypeAlias = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where clients connect.")
]
Console: TypeAlias = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where the status is shown.")
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Gateway processes. [default: one a core]"),
]
DurabilityOption: TypeAlias = Annotated[
    Durability,
    typer.Option(
        help="A decision is on disk before its request goes on, or handed to the"
        " operating system: then it survives a kill, not a power loss."
    ),
]
TlsCert: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Certificate chain (PEM) for clients."),
]
TlsKey: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")
]
TrailKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The key that signs the trail. [default: keys/trail.key in --data,"
        " made at first]",
    ),
]
TrailOrigin: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The trail's name when it is begun, such as example.org/gateway."
        " [default: comptroller.local/ORGANIZATION]",
    ),
]
Witness: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="A witness that signs each checkpoint of the trail; repeat for more,"
        " each with its --witness-key.",
    ),
]
WitnessKey: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="VKEY", help="The public key of that witness."),
]
KeepJournals: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long a worker's journal stays after it has ended; then the trail"
        " alone has its records.",
    ),
]
Grace: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="SECONDS",
        help="How long requests under way may take to end after SIGTERM.",
    ),
]
