"""Wiring of `comptroller serve`: the supervisor, its children, the first apply."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from comptroller.adapters.control import ControlClient
from comptroller.adapters.processes import ChildSpec, Supervisor
from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.adapters.system import EnvFileSecretResolver
from comptroller.bootstrap.compiled import refuse_stale
from comptroller.bootstrap.place import Place, say
from comptroller.bootstrap.tls import tls_context
from comptroller.core.errors import ConfigurationError, ConflictError
from comptroller.core.provider_credential import credential_needs
from comptroller.engine import snapshot


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def url(self, scheme: str = "http") -> str:
        """As people open it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


class ServeOptions(NamedTuple):
    """What `serve` was asked."""

    data: Path
    config: Sequence[Path]
    listen: Address
    console: Address
    workers: int
    durability: Literal["disk", "process"]
    grace_s: float
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trail_key: Path | None = None
    trail_origin: str | None = None
    witnesses: Sequence[str] = ()
    witness_keys: Sequence[str] = ()
    keep_journals_s: float = 7 * 24 * 3600


def serve(options: ServeOptions) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit status.

    Raises:
        ConfigurationError: an address, a certificate or a file cannot be used.
        ConflictError: another `serve` runs on the same directory.
    """
    refuse_stale()
    return asyncio.run(_Serving(options).run())


def default_workers() -> int:
    """One a core that this process may use."""
    return len(os.sched_getaffinity(0))


class _Serving:
    """One run of `serve`."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._place = Place(options.data)
        self._applied = asyncio.Event()
        self._listen = options.listen
        self._console = options.console
        self._witnesses = _witnesses(options)

    async def run(self) -> int:
        options = self._options
        self._place.prepare()
        if ControlClient(self._place.socket).ask(b'{"type":"ping"}') is not None:
            raise ConflictError(
                f"comptroller serves {options.data} already; stop that one first"
            )
        is_first = not self._place.snapshot.exists()
        if is_first:
            self._check_configuration()
        self._check_certificate()
        with _reserve(options.listen, "--listen") as reserved:
            self._listen = options.listen._replace(port=reserved.getsockname()[1])
            # The console's port is only looked at: one process opens it itself.
            with _reserve(options.console, "--console") as looked:
                self._console = options.console._replace(port=looked.getsockname()[1])
            supervisor = Supervisor(self._children(), say, options.grace_s)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, supervisor.stop)
            return await self._supervise(supervisor, is_first=is_first)

    async def _supervise(self, supervisor: Supervisor, *, is_first: bool) -> int:
        starting = asyncio.create_task(supervisor.start())
        status = 0
        if is_first:
            status = await self._apply()
        if status:
            supervisor.stop()
        else:
            self._applied.set()
        await starting
        if supervisor.is_stopping:
            await supervisor.run()
            return 1 if status or supervisor.is_hopeless else 0
        for line in self._missing_secrets():
            say(line)
        say(self._ready_line())
        comparing = None if is_first else asyncio.create_task(self._compare())
        await supervisor.run()
        if comparing is not None:
            comparing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await comparing
        return 1 if supervisor.is_hopeless else 0

    def _children(self) -> list[ChildSpec]:
        workers = [
            ChildSpec(f"worker w{number}", self._worker_command(f"w{number}"), 0)
            for number in range(self._options.workers)
        ]
        control = ChildSpec(
            "control process", self._control_command, 1, gate=self._applied
        )
        # It ends last, when everything is recorded; nobody waits for it before.
        sequencer = ChildSpec(
            "sequencer",
            self._sequencer_command,
            2,
            gate=self._applied,
            is_vital=False,
        )
        return [*workers, control, sequencer]

    def _worker_command(self, name: str) -> Callable[[int], list[str]]:
        options = self._options
        told = {
            "data": str(options.data),
            "name": name,
            "host": self._listen.host,
            "port": self._listen.port,
            "durability": options.durability,
            "grace_s": options.grace_s,
            "tls_cert": _text(options.tls_cert),
            "tls_key": _text(options.tls_key),
        }
        return lambda lifeline: _child("_worker", {**told, "lifeline": lifeline})

    def _control_command(self, lifeline: int) -> list[str]:
        console = self._console
        told = {
            "data": str(self._options.data),
            "console_host": console.host,
            "console_port": console.port,
            "keep_journals_s": self._options.keep_journals_s,
            "witnesses": self._witnesses,
            "lifeline": lifeline,
        }
        return _child("_control", told)

    def _sequencer_command(self, lifeline: int) -> list[str]:
        told = {
            "data": str(self._options.data),
            "key": _text(self._options.trail_key),
            "origin": self._options.trail_origin,
            "witnesses": self._witnesses,
            "lifeline": lifeline,
        }
        return _child("_sequencer", told)

    async def _apply(self) -> int:
        """Applies the configuration for the first time; its exit status."""
        status, output = await self._command("apply", "--yes")
        if status:
            say(output.rstrip())
            return status
        say(output.rstrip().rpartition("\n")[2])
        return 0

    async def _compare(self) -> None:
        """Says so when the configuration is not what is applied."""
        if not all(path.exists() for path in self._options.config):
            return
        names = ", ".join(str(path) for path in self._options.config)
        status, output = await self._command("plan", "--json")
        if status:
            say(f"{names} is not valid; serving what is applied: see comptroller check")
            return
        plan = json.loads(output)
        if plan["changes"]:
            count = len(plan["changes"])
            say(
                f"{names} differs from what is applied in {count}"
                f" object{'s' if count > 1 else ''}; serving revision"
                f" {plan['revision']}: see comptroller plan"
            )

    async def _command(self, *words: str) -> tuple[int, str]:
        """Runs a command of ours on the same files; status, and all it printed."""
        command = [sys.executable, "-m", "comptroller", *words]
        command += ["--data", str(self._options.data)]
        for path in self._options.config:
            command += ["--config", str(path)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    def _check_configuration(self) -> None:
        absent = [str(path) for path in self._options.config if not path.exists()]
        if absent:
            raise ConfigurationError(
                f"nothing is applied in {self._options.data} and there is no"
                f" {', '.join(absent)}: write one with comptroller init, or name it"
                " with --config"
            )

    def _check_certificate(self) -> None:
        options = self._options
        if options.tls_cert is None and options.tls_key is not None:
            raise ConfigurationError("--tls-key needs --tls-cert")
        tls_context(_text(options.tls_cert), _text(options.tls_key))

    def _missing_secrets(self) -> Iterator[str]:
        """What the workers, whose environment is ours, will look for in vain."""
        document = FileSnapshotStore(self._place.snapshot).read_if_changed()
        if document is None:
            return
        resolver = EnvFileSecretResolver(os.environ, Path.cwd())
        for need in credential_needs(snapshot.decode(document).registry):
            try:
                resolver.resolve(need.reference)
            except ConfigurationError as error:
                yield (
                    f"warning: {need.subject()} has no credential, so its"
                    f" requests are refused: {error.message}"
                )

    def _ready_line(self) -> str:
        scheme = "http" if self._options.tls_cert is None else "https"
        count = self._options.workers
        workers = "1 worker" if count == 1 else f"{count} workers"
        return (
            f"comptroller is ready: {self._listen.url(scheme)} ({workers}),"
            f" status {self._console.url()}/api/status"
        )


def _reserve(address: Address, option: str) -> socket.socket:
    """Binds the port for as long as we live, so that no stranger shares it.

    The socket does not listen: connections go to the workers' own sockets.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        # SO_REUSEPORT would also succeed beside another comptroller: look first.
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            place = probe.getsockname()
        reserved = socket.socket(family, kind)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(place)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen at {address.host}:{address.port}: {error.strerror};"
            f" choose another address with {option}"
        ) from error
    return reserved


def _child(kind: str, told: Mapping[str, object]) -> list[str]:
    return [sys.executable, "-m", "comptroller", kind, json.dumps(told)]


def _witnesses(options: ServeOptions) -> Sequence[tuple[str, str]]:
    """URL and key of each; what reads keys is loaded only where there are some."""
    if not options.witnesses and not options.witness_keys:
        return ()
    from comptroller.bootstrap.witnesses import check_witnesses

    return check_witnesses(options.witnesses, options.witness_keys)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
