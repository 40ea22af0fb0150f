"""Wiring of `comptroller witness`: nothing of the gateway's data is needed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from comptroller.adapters.system import SystemClock
from comptroller.adapters.tlog.files import DurableFiles
from comptroller.adapters.tlog.keys import WitnessKey, open_witness_key, verifier
from comptroller.adapters.witness.server import WitnessServer
from comptroller.adapters.witness.states import FolderStates, PutFile
from comptroller.bootstrap.place import say
from comptroller.bootstrap.serving import Address
from comptroller.core.checkpoint import Verifier, parse_vkey
from comptroller.core.cosignature import check_log_key
from comptroller.core.errors import (
    ConfigurationError,
    NoteError,
    TrailUnavailableError,
)
from comptroller.engine.witnessing import Witness

KEY_FILE: Final = "witness.key"


def _files(folder: Path) -> PutFile:
    return DurableFiles(folder).put


def witness_key(data: Path, name: str | None) -> WitnessKey:
    """The witness's key; made where there is none yet.

    Args:
        data: the witness's own directory.
        name: of a new key; None: after this machine. One that is there keeps its
            own, and no other may be asked for.

    Raises:
        ConfigurationError: the directory or the name cannot be the witness's.
        TrailUnavailableError: the key cannot be read or made.
    """
    for taken in ("journal", "trail"):
        if (data / taken).exists():
            raise ConfigurationError(
                f"{data} is a gateway's directory: a witness is another team's, with"
                " a directory and a machine of its own"
            )
    default = f"{os.uname().nodename}/witness"
    try:
        key = open_witness_key(data / KEY_FILE, name or default)
    except NoteError as error:
        raise ConfigurationError(f"--name: {error.message}") from error
    if name is not None and name != key.key.name:
        raise ConfigurationError(
            f"the witness in {data} is {key.key.name}, not {name}: a key keeps its"
            " name; leave --name away"
        )
    return key


def log_keys(vkeys: Sequence[str]) -> dict[str, list[Verifier]]:
    """The keys of the logs to watch, by origin.

    Raises:
        ConfigurationError: one is not a log's.
    """
    logs: dict[str, list[Verifier]] = {}
    for text in vkeys:
        try:
            key = parse_vkey(text)
            check_log_key(key.algorithm, key.name)
            logs.setdefault(key.name, []).append(verifier(key))
        except NoteError as error:
            raise ConfigurationError(f"--log: {error.message}") from error
    if not logs:
        raise ConfigurationError("--log VKEY: name at least one log to watch")
    return logs


def serve_witness(
    data: Path, listen: Address, logs: Sequence[str], name: str | None
) -> None:
    """Runs a witness until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: an address, a key or the directory cannot be used.
        ConflictError: another witness runs on the directory.
        TrailDamagedError: what it remembers is not what it wrote.
        TrailUnavailableError: the disk refuses.
    """
    key, watched = witness_key(data, name), log_keys(logs)
    asyncio.run(run_witness(data, listen, key, watched))


async def run_witness(
    data: Path,
    listen: Address,
    key: WitnessKey,
    logs: dict[str, list[Verifier]],
    open_files: Callable[[Path], PutFile] = _files,
) -> None:
    """Runs a witness until SIGTERM or SIGINT.

    Args:
        data: its directory.
        listen: where.
        key: its own.
        logs: whom it watches.
        open_files: what writes its memory: for tests that die there.

    Raises:
        ConfigurationError: the address cannot be used.
        ConflictError: another witness runs on the directory.
        TrailDamagedError: what it remembers is not what it wrote.
        TrailUnavailableError: the disk refuses.
    """
    try:
        states = FolderStates(data / "logs", open_files)
    except OSError as error:
        raise TrailUnavailableError(f"{data} cannot be used: {error}") from error
    try:
        witness = Witness(key, logs, states, SystemClock(), _say)
        for origin in logs:
            _say(f"{origin}: {witness.latest(origin)[0].size} records signed so far")
        server = WitnessServer(witness.add_checkpoint, _say)
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await _open(server, listen, key)
        await stopped.wait()
        await server.close()
    except OSError as error:
        raise TrailUnavailableError(f"{data} cannot be used: {error}") from error
    finally:
        states.close()


async def _open(server: WitnessServer, listen: Address, key: WitnessKey) -> None:
    try:
        port = await server.start(listen.host, listen.port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen at {listen.host}:{listen.port}: {error.strerror}; choose"
            " another address with --listen"
        ) from error
    _say(f"ready at {listen._replace(port=port).url()}, key {key.key}")


def _say(line: str) -> None:
    say(f"witness: {line}")
