"""`comptroller serve`: gateway workers and the control process."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comptroller.cli import options

if TYPE_CHECKING:
    from comptroller.bootstrap.serving import Address


class Durability(StrEnum):
    """What a record that was waited for survives."""

    DISK = "disk"
    PROCESS = "process"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(  # noqa: PLR0917  typer's options
    config: options.Config = None,
    data: options.Data = options.DATA_DEFAULT,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where clients connect.")
    ] = "127.0.0.1:4000",
    console: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the status is shown.")
    ] = "127.0.0.1:4001",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Gateway processes. [default: one a core]"),
    ] = None,
    durability: Annotated[
        Durability,
        typer.Option(
            help="A decision is on disk before its request goes on, or handed to the"
            " operating system: then it survives a kill, not a power loss."
        ),
    ] = Durability.DISK,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate chain (PEM) for clients."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")
    ] = None,
    trail_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The key that signs the trail. [default: keys/trail.key in --data,"
            " made at first]",
        ),
    ] = None,
    trail_origin: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The trail's name when it is begun, such as example.org/gateway."
            " [default: comptroller.local/ORGANIZATION]",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long requests under way may take to end after SIGTERM.",
        ),
    ] = 30.0,
) -> None:
    """Serve: gateway workers, control process and trail, until SIGTERM.

    Applies the configuration first when nothing was ever applied. Later changes
    take effect by `comptroller apply` only.
    """
    from comptroller.bootstrap import serving

    status = serving.serve(
        serving.ServeOptions(
            data=data,
            config=options.config_paths(config),
            listen=address(listen, "--listen"),
            console=address(console, "--console"),
            workers=workers or serving.default_workers(),
            durability=durability.value,
            grace_s=grace,
            tls_cert=tls_cert,
            tls_key=tls_key,
            trail_key=trail_key,
            trail_origin=trail_origin,
        )
    )
    raise typer.Exit(status)


def address(text: str, option: str) -> Address:
    """Reads HOST:PORT.

    Raises:
        BadParameter: it is something else.
    """
    from comptroller.bootstrap.serving import Address

    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit()) or int(port) > 65535:
        raise typer.BadParameter(
            f"{text!r} is not HOST:PORT, such as 127.0.0.1:4000", param_hint=option
        )
    return Address(host, int(port))
