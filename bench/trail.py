"""What the trail costs a record: written, read back by the stand-alone verifier.

Appends records of 1.1 kB in batches, each durable, with a checkpoint after every
fourth batch; then verifies all of it. Plain hashing of the same records, in the same
run, is the unit of the last column: a machine that others use moves all alike.
Usage: python bench/trail.py [RECORDS] [FOLDER]
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.verify import Key, Trail

RECORD_BYTES: Final = 1100
KEY: Final = TrailKey("trail.example/bench", bytes(32))


def records(count: int) -> list[bytes]:
    """Records as a worker writes them, of four sources."""
    made = []
    for number in range(count):
        source, sequence = number % 4, number // 4
        head = (
            b'{"specversion":"1.0","id":"%d-settled","source":"/host/w%d/01A",'
            b'"type":"comptroller.request.settled.v1",'
            b'"time":"2026-11-22T10:00:00.000000Z","subject":"request/%d",'
            b'"sequence":"%d","data":{"filling":"'
        ) % (sequence, source, number, sequence)
        made.append(head.ljust(RECORD_BYTES - 3, b"x") + b'"}}')
    return made


def hashed(data: list[bytes]) -> None:
    """What no log can do without."""
    for one in data:
        sha256(b"\x00" + one).digest()


def written(data: list[bytes], folder: Path, batch: int) -> None:
    """A log of all of it."""
    writer = TrailWriter(folder, KEY)
    for place, begin in enumerate(range(0, len(data), batch)):
        part = data[begin : begin + batch]
        writer.append(part, {"/host/w0/01A": [begin, begin, "open"]})
        if place % 4 == 3:
            writer.publish()
    writer.publish()
    writer.close()


def verified(folder: Path) -> None:
    """The same log, by the verifier that others run."""
    trail = Trail(folder)
    trail.verify([Key(str(KEY.key))], [])
    if trail.wrong:
        sys.exit("\n".join(trail.wrong))


def taken(does: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and of the CPU."""
    begun = time.perf_counter(), time.process_time()
    does()
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def main(count: int, place: str | None) -> None:
    """Writes, verifies and prints."""
    data = records(count)
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        folder = Path(temporary)
        ways: dict[str, Callable[[], None]] = {
            "plain hashing": partial(hashed, data),
            "written, batches of 500": partial(written, data, folder / "a", 500),
            "written, batches of 5,000": partial(written, data, folder / "b", 5000),
            "verified": partial(verified, folder / "b"),
        }
        print(f"{count:,} records of {RECORD_BYTES:,} B, load {os.getloadavg()[0]:.1f}")
        print(
            f"{'':<26} {'records/s':>10} {'us/record':>10} {'us CPU':>7} {'ratio':>6}"
        )
        unit = 0.0
        for name, does in ways.items():
            wall, cpu = taken(does)
            unit = unit or cpu
            each = 1e6 / count
            print(
                f"{name:<26} {count / wall:>10,.0f} {wall * each:>10.2f} "
                f"{cpu * each:>7.2f} {cpu / unit:>6.1f}"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MB, the records included")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 200_000,
        sys.argv[2] if len(sys.argv) > 2 else None,
    )
