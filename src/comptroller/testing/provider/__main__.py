"""`python -m comptroller.testing.provider`: prints its address, serves until told."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys

import uvloop

from comptroller.testing.provider.behaviour import Behaviour
from comptroller.testing.provider.process import READY
from comptroller.testing.provider.server import ProviderSettings, SimulatedProvider


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m comptroller.testing.provider")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--key", help="the only credential to accept")
    parser.add_argument("--first-ms", type=float, default=0.0)
    parser.add_argument("--chunk-ms", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--until-eof", action="store_true", help="stop with stdin")
    return parser.parse_args()


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """TLS as a server, when a certificate was given."""
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


async def serve(options: argparse.Namespace) -> None:
    """Serves until a signal comes or, where asked for, standard input ends."""
    behaviour = Behaviour(
        first_ms=options.first_ms, chunk_ms=options.chunk_ms, jitter=options.jitter
    )
    provider = SimulatedProvider(ProviderSettings(options.seed, options.key, behaviour))
    tls = tls_context(options)
    port = await provider.start(options.host, options.port, tls)
    scheme = "http" if tls is None else "https"
    sys.stdout.write(f"{READY}{scheme}://{options.host}:{port}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    await stopped.wait()
    await provider.stop()


uvloop.run(serve(arguments()))
