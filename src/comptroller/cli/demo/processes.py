"""The demo's processes: `comptroller` itself, and ports that are free."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from comptroller.core.errors import ComptrollerError

READY_S_MAX: Final = 30.0
STOP_S_MAX: Final = 20.0
COMMAND_S_MAX: Final = 60.0


class DemoError(ComptrollerError):
    """The demo could not go on."""

    code = "demo"


class Commands:
    """`comptroller …` on one data directory and configuration."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "comptroller.yaml"
        self.data = folder / "data"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("COMPTROLLER_")
        }

    def start(self, *arguments: str) -> list[str]:
        """The command line of a command on the demo's data."""
        program = [sys.executable, "-m", "comptroller", *arguments]
        return [*program, "--data", str(self.data)]

    def run(self, *arguments: str) -> str:
        """Runs a command to its end and gives its output.

        Raises:
            DemoError: it failed; with what it said.
        """
        done = subprocess.run(
            self.start(*arguments),
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise DemoError(f"'comptroller {' '.join(arguments)}' failed: {said}")
        return done.stdout

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401  JSON
        """Runs a command with `--json`."""
        return json.loads(self.run(*arguments, "--json"))

    @contextlib.contextmanager
    def serving(self, listen: str, console: str) -> Iterator[None]:
        """Runs `comptroller serve` while the block lasts.

        Raises:
            DemoError: it does not become ready.
        """
        log = self.data.parent / "serve.log"
        command = self.start(
            *("serve", "--config", str(self.config), "--workers", "2"),
            *("--listen", listen, "--console", console),
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                # Ctrl-C is for the demo, which then stops the gateway in order.
                start_new_session=True,
            )
        try:
            wait_until_ready(process, listen, log)
            yield
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stops a process in order, and by force when it takes too long."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], listen: str, log: Path) -> None:
    """Waits until the gateway says that it can serve."""
    deadline = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(listen, timeout=2)
            with contextlib.closing(connection):
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-2000:].strip()
    raise DemoError(f"the gateway did not become ready; it said: {said}")


def address(port: int) -> tuple[str, bool]:
    """An address on the loopback: the port asked for, or a free one.

    Returns:
        `host:port`, and whether the port is the one that was asked for.
    """
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return f"127.0.0.1:{probe.getsockname()[1]}", wanted != 0
    raise DemoError("no free port on 127.0.0.1")
