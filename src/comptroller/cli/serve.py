"""`comptroller serve`: gateway workers and the control process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from comptroller.cli import options, serve_options
from comptroller.core.quantities import QuantityError, duration_s

if TYPE_CHECKING:
    from comptroller.bootstrap.serving import Address


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(  # noqa: PLR0917  typer's options
    config: options.Config = None,
    data: options.Data = options.DATA_DEFAULT,
    listen: serve_options.Listen = "127.0.0.1:4000",
    console: serve_options.Console = "127.0.0.1:4001",
    workers: serve_options.Workers = None,
    durability: serve_options.DurabilityOption = serve_options.Durability.DISK,
    tls_cert: serve_options.TlsCert = None,
    tls_key: serve_options.TlsKey = None,
    trail_key: serve_options.TrailKey = None,
    trail_origin: serve_options.TrailOrigin = None,
    witness: serve_options.Witness = None,
    witness_key: serve_options.WitnessKey = None,
    keep_journals: serve_options.KeepJournals = "7d",
    grace: serve_options.Grace = 30.0,
) -> None:
    """Serve: gateway, control process and trail, until SIGTERM.

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
            witnesses=witness or [],
            witness_keys=witness_key or [],
            keep_journals_s=_duration_s(keep_journals, "--keep-journals"),
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


def _duration_s(text: str, option: str) -> int:
    try:
        return duration_s(text)
    except QuantityError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
