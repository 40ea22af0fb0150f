"""How many records a second the sequencer brings into the trail, on one core.

Writes journals of real records' size, then sequences them as the process does:
batches, tiles, state and checkpoints, each synced. Prints records a second by the
clock and by the CPU, and what a second of 1,000 records costs.
Usage: python bench/sequencing.py [RECORDS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.engine.sequencing import Sequencer

SOURCES: Final = 3
MEMBERS: Final = (27, 10)
"""Of the data of a decision and of a settlement: about 2.3 and 1.1 kB a record."""
MEMBER: Final = (
    b'{"id":"token_ceiling","version":"1","is_applied":false,"outcome":"pass"}'
)
KEY: Final = TrailKey("bench.example/trail", bytes(32))


def write_journals(folder: Path, count: int) -> None:
    """Journals of several processes, written in large parts."""
    clock = SystemClock()
    ids = UlidIds(clock, SystemEntropy())
    for worker in range(SOURCES):
        name = journal_name("bench", f"w{worker}", ids.new())
        journal = SyncJournal(folder, name, clock, ids)
        part: list[bytes] = []
        for _ in range(count // SOURCES):
            part.append(line(journal.source, journal.sequence + len(part)))
            if len(part) == 1000:
                journal.append_all(part)
                part = []
        journal.append_all(part)
        journal.close()


def line(source: str, sequence: int) -> bytes:
    """A record as large, and of as many parts, as a decision or a settlement."""
    begin = (
        b'{"specversion":"1.0","id":"%026d-decided","source":"%b",'
        b'"type":"comptroller.request.decided.v1","time":"2026-11-22T10:00:00.000000Z",'
        b'"subject":"request/%026d","sequence":"%d","data":{"controls":['
    ) % (sequence, source.encode(), sequence, sequence)
    return begin + b",".join([MEMBER] * MEMBERS[sequence % 2]) + b"]}}"


def main(count: int) -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_journals(folder / "journal", count)
        writer = TrailWriter(folder / "trail", KEY)
        reader = DirectoryJournalReader(folder / "journal")
        places = PlaceIndex(folder / "places")
        sequencer = Sequencer(reader, writer, places, SystemClock())
        wall, cpu = time.perf_counter(), time.process_time()
        steps = []
        begun = wall
        while sequencer.step():
            writer.publish()
            steps.append(time.perf_counter() - begun)
            begun = time.perf_counter()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = writer.size
    steps.sort()
    print(
        f"{size:,} records in {len(steps)} batches: {size / wall:,.0f}/s by the clock,"
        f" {size / cpu:,.0f}/s by the CPU ({cpu / size * 1e6:.1f} us a record,"
        f" {2 * cpu / size * 1e6:.1f} us a request of two); a batch"
        f" {steps[len(steps) // 2] * 1000:.0f} ms p50, {steps[-1] * 1000:.0f} ms most;"
        f" load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
