"""A witness and a gateway that asks it, as real processes."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import await_true

CONFIGURATION: Final = small_configuration(
    "{base_url: http://127.0.0.1:9, speaks: [openai]}",
    {"small": "price: {input: 1, output: 2}, max_output_tokens: 100"},
)


class Running(NamedTuple):
    """A process and what it said when it was ready."""

    process: subprocess.Popen[str]
    log: Path
    ports: Sequence[int]

    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(words: Sequence[str], folder: Path, ready: str) -> Iterator[Running]:
    """Runs a program until it has said that it is ready, and ends it at last."""
    log = folder / f"{time.monotonic_ns()}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, stderr=file, text=True
        )
    try:
        wait_for(lambda: ready in log.read_text() or process.poll() is not None)
        line = next(one for one in log.read_text().splitlines() if ready in one)
        ports = [int(one) for one in re.findall(r"127\.0\.0\.1:([0-9]+)", line)]
        yield Running(process, log, ports)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Waits until something is so.

    Raises:
        TimeoutError: it was not in time.
    """
    await_true(lambda: bool(condition()), seconds)


class Post:
    """Another team's witness on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        words = ("witness", "key", "--data", "w", "--name", "audit.example/w1")
        self.vkey = subprocess.run(
            [sys.executable, "-m", "comptroller", *words],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    @contextmanager
    def running(self, *logs: str, port: int = 0) -> Iterator[Running]:
        """The command, for as long as this is open."""
        words = ["-m", "comptroller", "witness", "--data", "w"]
        words += ["--listen", f"127.0.0.1:{port}"]
        for one in logs:
            words += ["--log", one]
        with running(words, self.folder, "ready at") as witness:
            yield witness


class Gateway:
    """`comptroller serve` with a witness, in a folder."""

    def __init__(self, folder: Path, url: str, vkey: str) -> None:
        self.folder = folder
        self.trail = folder / "comptroller-data" / "trail"
        self.key_file = self.trail.parent / "keys" / "trail.key"
        self._words = ["-m", "comptroller", "serve", "--workers", "1"]
        self._words += ["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0"]
        self._words += ["--witness", url, "--witness-key", vkey]
        self._witness = vkey.partition("+")[0]
        (folder / "comptroller.yaml").write_text(CONFIGURATION)

    @contextmanager
    def running(self) -> Iterator[Running]:
        """It, for as long as this is open."""
        with running(self._words, self.folder, "comptroller is ready") as served:
            yield served

    def cosigned(self) -> int:
        """The size of the published checkpoint, if the witness's name is on it.

        0: it is not. Whether the signature is right is not looked at.
        """
        try:
            note = parse_note((self.trail / "checkpoint").read_bytes())
        except FileNotFoundError:
            return 0
        is_there = any(one.name == self._witness for one in note.signatures)
        return parse_checkpoint(note.body).head.size if is_there else 0

    def size(self) -> int:
        """The size of the published checkpoint."""
        note = parse_note((self.trail / "checkpoint").read_bytes())
        return parse_checkpoint(note.body).head.size

    def status(self, served: Running) -> dict[str, Any]:
        """The trail, as the status address shows it."""
        port = served.ports[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/api/status")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        trail: dict[str, Any] = found["trail"]
        return trail


class Begun(NamedTuple):
    """A gateway that runs, and whose witness may be started."""

    gateway: Gateway
    served: Running
    vkey: str
    """Of its log."""
    port: int
    """Where it looks for its witness."""


@contextmanager
def begun_gateway(folder: Path, post: Post) -> Iterator[Begun]:
    """A gateway with a witness that does not run yet."""
    with reserved_port() as port:
        gateway = Gateway(folder, f"http://127.0.0.1:{port}", post.vkey)
        with gateway.running() as served:
            vkey = gateway.trail.parent / "trail.vkey"
            wait_for(vkey.exists)
            yield Begun(gateway, served, vkey.read_text().strip(), port)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that no other test is given, for a witness that comes and goes."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    yield port
