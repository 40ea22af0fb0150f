"""Commands and processes of ours for tests, above all `comptroller serve`."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

READY_S_MAX: Final = 60.0
STOP_S_MAX: Final = 60.0
COMMAND_S_MAX: Final = 120.0
CONTROL_S_MAX: Final = 20.0
DEATH_MS_MAX: Final = 10_000
_READY: Final = "comptroller is ready: "


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of ours in a folder, without a terminal; how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "comptroller", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_S_MAX,
    )


def run_command(folder: Path, *words: str) -> str:
    """Runs a command that must not fail; what it printed.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    done = command(folder, *words)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def told(folder: Path, *words: str) -> Any:  # noqa: ANN401  JSON
    """What a command says with `--json`."""
    return json.loads(run_command(folder, *words, "--json"))


@contextmanager
def control_process(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A control process of a data directory while the block lasts.

    Raises:
        RuntimeError: asked to, it did not end in order; it may have been killed before.
    """
    options = {"data": str(data), "console_host": "127.0.0.1", "console_port": 0}
    socket = data / "control.sock"
    socket.unlink(missing_ok=True)  # of a dead one
    process = subprocess.Popen(
        [sys.executable, "-m", "comptroller", "_control", json.dumps(options)],
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(socket.exists, CONTROL_S_MAX)
        yield process
        process.send_signal(signal.SIGTERM)
        status = process.wait(CONTROL_S_MAX)
        if status not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the control process ended with {status}")
    finally:
        process.kill()
        process.wait()


class ServeTree:
    """One run of `serve` in a folder with a `comptroller.yaml`.

    Args:
        folder: where it runs; its log is `serve.log` there, appended to.
        workers: how many.
        port: to listen at; 0: a free one.
        more: further options.
    """

    def __init__(
        self, folder: Path, workers: int, port: int = 0, more: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self._log = folder / "serve.log"
        self._log_begin = self._log.stat().st_size if self._log.exists() else 0
        words = ["--listen", f"127.0.0.1:{port}", "--console", "127.0.0.1:0"]
        program = [sys.executable, "-m", "comptroller", "serve"]
        self.process = subprocess.Popen(
            [*program, *words, "--workers", str(workers), *more],
            cwd=folder,
            stderr=subprocess.PIPE,
        )
        # Not straight into a file: a test may limit what these processes write.
        with self._log.open("ab") as log:
            self._logger = subprocess.Popen(
                ["/bin/cat"], stdin=self.process.stderr, stdout=log
            )
        if self.process.stderr is not None:
            self.process.stderr.close()
        self.await_said(_READY, READY_S_MAX)
        found = re.search(_READY + r".*?:([0-9]+) ", self.log())
        self.port = int(found.group(1)) if found else 0

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_bytes()[self._log_begin :].decode()

    def await_said(self, text: str, seconds: float) -> None:
        """Waits until it has said something.

        Raises:
            TimeoutError: it did not, or it ended without.
        """

        def is_said() -> bool:
            is_over = self.process.poll() is not None
            if text in self.log():
                return True
            if is_over:
                raise TimeoutError(f"it ended: {self.log()}")
            return False

        try:
            await_true(is_said, seconds)
        except TimeoutError:
            raise TimeoutError(f"serve never said {text!r}: {self.log()}") from None

    def children(self) -> dict[str, int]:
        """Name to process id: `control`, `w0`, `w1` …; those that live now."""
        named = self._children()
        named.pop("sequencer", None)
        return named

    def sequencer(self) -> int | None:
        """The process id of the sequencer, if one lives now."""
        return self._children().get("sequencer")

    def _children(self) -> dict[str, int]:
        pid = self.process.pid
        try:
            listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return {}
        named: dict[str, int] = {}
        for child in listed:
            try:
                words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            except FileNotFoundError:
                continue
            if "_control" in words:
                named["control"] = int(child)
            elif "_sequencer" in words:
                named["sequencer"] = int(child)
            elif "_worker" in words:
                named[str(json.loads(words[-2])["name"])] = int(child)
        return named

    def kill(self) -> None:
        """Kills the supervisor alone; its children notice by themselves."""
        self.process.kill()
        self.process.wait()

    def is_gone(self) -> bool:
        """Whether neither it nor any of its children is left: all hold its log."""
        return self._logger.poll() is not None

    def stop(self) -> int:
        """Stops gracefully, by force where that takes too long; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S_MAX)
        finally:
            self.process.kill()
            self.process.wait()
        self._logger.wait(STOP_S_MAX)
        return status


def kill_dead(pid: int) -> bool:
    """Kills a process and waits until it is dead.

    Returns:
        Whether it lived until then; a process that had ended was not killed by us.

    Raises:
        TimeoutError: it does not die.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if select.select([handle], [], [], 0)[0]:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        if not ended.poll(DEATH_MS_MAX):
            raise TimeoutError(f"process {pid} outlives SIGKILL")
        return True
    finally:
        os.close(handle)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def await_true(condition: Callable[[], bool], seconds: float) -> None:
    """Waits until something is so.

    Raises:
        TimeoutError: it does not come true.
    """
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("it did not come true in time")
        time.sleep(0.01)
