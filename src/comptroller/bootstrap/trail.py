"""Wiring of the trail: whoever writes it, and whoever looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.processes import HOPELESS, Lifeline
from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.adapters.store.held import positions_without_hold
from comptroller.adapters.system import SystemClock
from comptroller.adapters.tlog.keys import TrailKey, open_key, read_key
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.bootstrap.administering import CONTROL_POLL_S, CONTROL_WAIT_S
from comptroller.bootstrap.place import Place, say
from comptroller.bootstrap.trail_status import is_sequenced
from comptroller.bootstrap.witnesses import WitnessTold, open_witnesses
from comptroller.core.errors import (
    ComptrollerError,
    ConfigurationError,
    JournalUnavailableError,
    NoteError,
    StoreUnavailableError,
    TrailDamagedError,
    TrailUnavailableError,
)
from comptroller.engine import snapshot
from comptroller.engine.legal_holds import is_placed_since
from comptroller.engine.ports import JournalReader
from comptroller.engine.sequencing import Sequencer
from comptroller.engine.trail_keeping import Sequencing
from comptroller.engine.trail_ports import WitnessStatus

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]+")


class TrailOptions(msgspec.Struct, frozen=True):
    """What the sequencer is told on its command line, as JSON."""

    data: str
    key: str | None = None
    """The file of the signing key; None: DATA/keys/trail.key."""
    origin: str | None = None
    """The name of a log that is begun; None: of the organization."""
    witnesses: tuple[WitnessTold, ...] = ()
    """Who is asked to sign each checkpoint, too."""
    lifeline: int | None = None


class OpenTrail(NamedTuple):
    """The trail in the hands of the one process that writes it."""

    sequencer: Sequencer
    writer: TrailWriter


def main(options: str) -> None:
    """Runs the sequencer until SIGTERM or the supervisor's death."""
    told = msgspec.json.decode(options, type=TrailOptions)
    place = Place(Path(told.data))
    try:
        asyncio.run(_run(place, told))
    except ComptrollerError as error:
        tell_problem(place, error.message)
        say(f"sequencer: {error.message}")
        # What is damaged stays damaged: a person looks before anything is signed.
        is_final = isinstance(error, TrailDamagedError | ConfigurationError)
        sys.exit(HOPELESS if is_final else 1)


async def _run(place: Place, told: TrailOptions) -> None:
    lifeline = Lifeline(told.lifeline)
    lifeline.watch()
    await _await_lock(place)
    with (
        open_trail(place, told) as (sequencer, writer),
        open_witnesses(place, told.witnesses) as cosigning,
    ):
        tell_problem(place, "")
        keeping = Sequencing(
            sequencer,
            writer,
            SystemClock(),
            lambda text: tell_problem(place, text),
            cosigning,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, keeping.stop)
        lifeline.ready()
        await keeping.run()


async def _await_lock(place: Place) -> None:
    """Gives a command that writes the trail, or looks whether one does, its time."""
    deadline_s = time.monotonic() + CONTROL_WAIT_S
    while is_sequenced(place):
        if time.monotonic() > deadline_s:
            return  # taking the trail up will say who has it
        await asyncio.sleep(CONTROL_POLL_S)


@contextmanager
def open_trail(place: Place, told: TrailOptions) -> Iterator[OpenTrail]:
    """Takes the trail up, or begins it; nobody else writes it meanwhile.

    Raises:
        ConfigurationError: the key or the origin is not that of the log.
        TrailDamagedError: the trail is not what was written, or gone.
        TrailUnavailableError: another process has it, or the disk refuses.
    """
    key = _key(place, told)
    writer = TrailWriter(place.trail, key)
    _publish_key(place, key)
    reader = DirectoryJournalReader(place.journal)
    places = PlaceIndex(place.trail_places)
    try:
        is_held = partial(may_be_held, place, reader)
        sequencer = Sequencer(reader, writer, places, SystemClock(), is_held)
        yield OpenTrail(sequencer, writer)
    finally:
        places.close()
        reader.close()
        writer.close()


def may_be_held(place: Place, reader: JournalReader) -> bool:
    """Whether a legal hold may be in force, by the store and the journals."""
    positions = positions_without_hold(place.store)
    try:
        return positions is None or is_placed_since(reader, positions)
    except JournalUnavailableError:
        return True


def _key(place: Place, told: TrailOptions) -> TrailKey:
    """The key of the log; made with the log, and never anew for the same one."""
    file = Path(told.key) if told.key is not None else place.trail_key
    if (place.trail / "state.json").exists():
        key = read_key(file)
    elif place.trail_vkey.exists():
        # A second log under the same name would contradict what was signed.
        raise TrailDamagedError(
            f"{place.trail} is gone, or has no state.json, and {place.trail_vkey} says"
            " that there was a trail: restore it; to begin another one, move that file"
            " and the key away and choose a new --trail-origin"
        )
    else:
        try:
            key = open_key(file, told.origin or _default_origin(place))
        except NoteError as error:
            raise ConfigurationError(f"--trail-origin: {error.message}") from error
    if told.origin is not None and told.origin != key.key.name:
        raise ConfigurationError(
            f"the key {file} is that of the log {key.key.name}, not of {told.origin}:"
            " a log keeps its name; leave --trail-origin away"
        )
    return key


def _publish_key(place: Place, key: TrailKey) -> None:
    text = f"{key.key}\n"
    try:
        if not place.trail_vkey.exists() or place.trail_vkey.read_text() != text:
            place.trail_vkey.write_text(text, encoding="ascii")
    except (OSError, ValueError) as error:
        raise TrailUnavailableError(
            f"{place.trail_vkey} cannot be written: {error}"
        ) from error


def _default_origin(place: Place) -> str:
    document = FileSnapshotStore(place.snapshot).read_if_changed()
    if document is None:
        raise StoreUnavailableError(
            f"nothing was ever applied in {place.data}: there is nothing to record yet"
        )
    organization = snapshot.decode(document).registry.organization
    name = _FOREIGN.sub("-", organization).strip("-") or "organization"
    return f"comptroller.local/{name}"


def tell_problem(place: Place, text: str) -> None:
    """Leaves word of what keeps the trail from going on, for the status; "": nothing.

    Told as well as it can be: the same trouble may keep it from being written.
    """
    with contextlib.suppress(OSError):
        if text:
            place.trail_problem.write_text(text + "\n", encoding="utf-8")
        else:
            place.trail_problem.unlink(missing_ok=True)


class Sequenced(NamedTuple):
    """What a command brought about."""

    size: int
    """How many records the trail has."""
    witnesses: Sequence[WitnessStatus] = ()
    """What each witness that was asked has signed, or why not."""


def sequence(
    data: Path,
    key: Path | None,
    origin: str | None,
    witnesses: tuple[WitnessTold, ...] = (),
) -> Sequenced:
    """Brings everything that is recorded into the trail, in this process.

    Args:
        data: the data directory.
        key: see `TrailOptions`.
        origin: likewise.
        witnesses: who is asked to sign it, too, once and for a bounded time.

    Raises:
        ConfigurationError: the key or the origin is not that of the log, or what is
            said of a witness cannot be meant.
        TrailDamagedError: the trail is not what was written.
        TrailUnavailableError: another process has it, or the disk refuses.
    """
    from comptroller.engine.sequencing import sequence_all
    from comptroller.engine.trail_keeping import cosign_once

    place = Place(data)
    told = TrailOptions(str(data), _path_text(key), origin)
    if not place.journal.is_dir():
        raise TrailUnavailableError(f"there is nothing recorded in {data}")
    with open_trail(place, told) as (sequencer, writer):
        is_witnessed = bool(witnesses) or place.trail_witnessed.exists()
        sequence_all(sequencer, writer, is_witnessed=is_witnessed)
        statuses: Sequence[WitnessStatus] = ()
        if witnesses:
            with open_witnesses(place, witnesses) as cosigning:
                if cosigning is not None:
                    cosign_once(sequencer, writer, cosigning, time.sleep)
                    statuses = cosigning.statuses
        if sequencer.unreadable:
            raise TrailUnavailableError("; ".join(sequencer.unreadable.values()))
        return Sequenced(writer.size, statuses)


def _path_text(path: Path | None) -> str | None:
    return None if path is None else str(path)
