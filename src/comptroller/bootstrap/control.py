"""Wiring of the control process."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from comptroller.adapters.control import ControlLock, ControlServer
from comptroller.adapters.processes import HOPELESS, Lifeline
from comptroller.adapters.system import LoopTimers
from comptroller.bootstrap.administering import CONTROL_POLL_S, CONTROL_WAIT_S
from comptroller.bootstrap.deleting import journal_deletion
from comptroller.bootstrap.place import Place, say
from comptroller.bootstrap.site import Site
from comptroller.bootstrap.trail_status import trail_status
from comptroller.console import StatusServer, TrailView
from comptroller.core.errors import (
    ComptrollerError,
    ConfigurationError,
    ControlUnavailableError,
)
from comptroller.engine.control import Control, ControlParts
from comptroller.engine.ledger import Ledger


class ControlOptions(msgspec.Struct, frozen=True):
    """What the control process is told on its command line, as JSON."""

    data: str
    console_host: str
    console_port: int
    keep_journals_s: float = 7 * 24 * 3600
    """How long a journal stays after it was last written to."""
    witnesses: tuple[tuple[str, str], ...] = ()
    """URL and key of those who sign each checkpoint of the trail, too; one of them
    must have signed what has a journal before it goes."""
    lifeline: int | None = None


def main(options: str) -> None:
    """Runs the control process until SIGTERM or the supervisor's death."""
    told = msgspec.json.decode(options, type=ControlOptions)
    try:
        asyncio.run(_run(told))
    except ConfigurationError as error:
        say(f"control process: {error.message}")
        sys.exit(HOPELESS)
    except ComptrollerError as error:
        say(f"control process: {error.message}")
        sys.exit(1)


async def _run(told: ControlOptions) -> None:
    place = Place(Path(told.data))
    lifeline = Lifeline(told.lifeline)
    lifeline.watch()
    lock = ControlLock(place.lock)
    deadline_s = time.monotonic() + CONTROL_WAIT_S
    while not lock.take():  # a command may hold it for a moment
        if time.monotonic() > deadline_s:
            raise ControlUnavailableError(
                f"another process holds {place.lock}: does another comptroller serve"
                " this directory?"
            )
        await asyncio.sleep(CONTROL_POLL_S)
    with Site.open(place, "control") as site:
        await _administer(site, place, told, lifeline)


async def _administer(
    site: Site, place: Place, told: ControlOptions, lifeline: Lifeline
) -> None:
    def recover() -> Sequence[str]:
        problems = site.recover()
        site.seal()  # recovery looks once a second, whether anything is recorded or not
        return problems

    control = Control(
        ControlParts(
            administration=site.administration,
            store=site.store,
            reader=site.reader,
            projector=site.projector,
            recover=recover,
            ledger=Ledger(site.ledger, LoopTimers()),
            journal_failed=site.journal_failed,
            clock=site.clock,
            deletion=journal_deletion(
                site, place, told.keep_journals_s, told.witnesses
            ),
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stop)
    server = ControlServer(place.socket, control.answer)
    console = StatusServer(
        control.status, TrailView(place.trail, lambda: trail_status(place))
    )
    await server.start()
    try:
        await _open_console(console, told)
        lifeline.ready()
        await control.run()
    finally:
        await server.close()
        await console.close()
    if control.failed is not None:
        raise control.failed
    # Workers stop before this process does: their last records are in by this.
    site.sync()


async def _open_console(console: StatusServer, told: ControlOptions) -> None:
    try:
        await console.start(told.console_host, told.console_port)
    except OSError as error:
        raise ConfigurationError(
            f"the console cannot listen at {told.console_host}:{told.console_port}:"
            f" {error.strerror}; choose another address with --console"
        ) from error
