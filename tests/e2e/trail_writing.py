"""A process that writes a trail until it is killed; run by test_trail_kill.py.

Three sources give numbered records; a seed decides how they are mixed and batched,
so a new start mixes what was not durable in another way. Every published note is
told on standard output. Now and then a record prunes what is old.
Usage: python trail_writing.py FOLDER SEED [STEP COUNT: dies when STEP was done COUNT
times]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from random import Random  # noqa: TID251  seeded, for a test
from typing import Final

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.engine.trail_ports import Pruning

KEY: Final = TrailKey("trail.example/kill", bytes(32))
SOURCES: Final = ("/host/w0/01A", "/host/w1/01B", "/host/control/01C")


def record(source: str, sequence: int, below: int | None = None) -> bytes:
    """The one record of a source with that number, or one that prunes the log."""
    kind = b"x.v1" if below is None else b"comptroller.trail.pruned.v1"
    return (
        b'{"specversion":"1.0","id":"%d-x","source":"%b","type":"%b",'
        b'"time":"2026-11-22T10:00:00.000000Z","subject":"x","sequence":"%d",'
        b'"data":{"below":%d,"filling":"%b"}}'
    ) % (sequence, source.encode(), kind, sequence, below or 0, b"x" * (sequence % 700))


class Death:
    """Kills the process, as the kernel does, at a step."""

    def __init__(self, step: str, count: int) -> None:
        self._step = step
        self._left = count

    def passing(self, step: str) -> None:
        """Counts a step that is done."""
        self._left -= step == self._step
        if step == self._step and not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, seed: int, death: Death) -> None:
    """Writes for ever."""
    random = Random(seed)  # noqa: S311  which records come when, not a secret
    writer = TrailWriter(folder, KEY, passing=death.passing)
    following = {one: writer.positions.get(one, 0) for one in SOURCES}
    sys.stdout.write("open\n")
    sys.stdout.flush()
    while True:
        batch = []
        for _ in range(random.choice((1, 3, 40, 255, 256, 257, 700))):
            source = random.choice(SOURCES)
            batch.append(record(source, following[source]))
            following[source] += 1
        while len(batch) > 200 and random.random() < 0.5:
            writer.extend(batch[:200])
            del batch[:200]
        prunings = []
        if random.random() < 0.3:
            below = max(0, writer.size - random.choice((0, 300, 900))) // 256 * 256
            act = record(SOURCES[2], following[SOURCES[2]], below)
            following[SOURCES[2]] += 1
            prunings = [Pruning(writer.size + len(batch), below)] if below else []
            batch.append(act)
        writer.append(batch, following, prunings)
        if random.random() < 0.7:
            sys.stdout.write(writer.publish().hex() + "\n")
            sys.stdout.flush()
        writer.prune(writer.size)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        Death(sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else Death("", 0),
    )
