"""The simulated provider as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

READY = "simulated provider listening on "


@contextmanager
def running_provider(*arguments: str) -> Iterator[str]:
    """Runs a simulated provider on a free port of 127.0.0.1 while the block lasts.

    Args:
        arguments: of `python -m comptroller.testing.provider`, such as
            `--key`, `SECRET`.

    Yields:
        Its origin, such as `http://127.0.0.1:43211`.

    Raises:
        RuntimeError: it did not start; its own words are on standard error.
    """
    command = [sys.executable, "-m", "comptroller.testing.provider", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--until-eof", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith(READY):
            raise RuntimeError(f"the simulated provider did not start: {line!r}")
        yield line.removeprefix(READY).strip()
    finally:
        # It also ends by itself when its parent dies: the pipe closes with it.
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
