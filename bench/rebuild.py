"""What rebuilding a store from the trail takes, and whether it is the same store.

Records the life of a gateway with every type of record in it, projects the journals
into a store and brings them into a trail while they grow, as `comptroller serve`
does; then rebuilds a store from the trail alone and compares the two row by row.
Usage: python bench/rebuild.py [RECORDS] [FOLDER]
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.store.comparing import StoreImage, compare
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.adapters.tlog.journals import TrailJournals
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.merkle import TreeHead
from comptroller.engine.ports import DurableJournal
from comptroller.engine.rebuilding import project_all
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.testing.lifetime import Lifetime, Site
from comptroller.testing.system import FakeClock, SequentialIds

RECORDS_A_REQUEST: Final = 2.2


def lived(folder: Path, count: int) -> TreeHead:
    """A life of about so many records; its trail's head."""
    clock, ids = FakeClock(), SequentialIds()
    reader = DirectoryJournalReader(folder / "journal")
    store = SqliteStore(folder / "store.sqlite3")
    writer = TrailWriter(folder / "trail", TrailKey("trail.example/bench", bytes(32)))
    places = PlaceIndex(folder / "trail-places")
    sequencer = Sequencer(reader, writer, places, clock)

    def opened(worker: str, boot: str) -> SyncJournal:
        name = journal_name("host", worker, boot)
        return SyncJournal(folder / "journal", name, clock, ids)

    def closed(journal: DurableJournal) -> None:
        assert isinstance(journal, SyncJournal)  # noqa: S101  it was opened above
        journal.close()

    def some() -> None:
        while sequencer.step():
            pass

    Lifetime(Site(opened, closed, closed, reader, store, some)).live(
        int(count / RECORDS_A_REQUEST)
    )
    sequence_all(sequencer, writer)
    head = writer.head
    for one in (places, writer, store, reader):
        one.close()
    return head


def main(count: int, place: str | None) -> None:
    """Lives, rebuilds, compares and prints."""
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        folder = Path(temporary)
        begun = time.perf_counter()
        head = lived(folder, count)
        print(
            f"{head.size:,} entries recorded, projected and sequenced in"
            f" {time.perf_counter() - begun:,.1f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        steps = [time.perf_counter()]
        journals = TrailJournals(TreeReader(folder / "trail", head.size), head)
        steps.append(time.perf_counter())
        store = SqliteStore(folder / "rebuilt.sqlite3")
        done = project_all(journals, store, lambda _: None)
        store.close()
        steps.append(time.perf_counter())
        with (
            StoreImage(folder / "store.sqlite3") as live,
            StoreImage(folder / "rebuilt.sqlite3") as rebuilt,
        ):
            compared = compare(live, rebuilt, 5)
        steps.append(time.perf_counter())
        read, projected, checked = (after - one for one, after in pairwise(steps))
        whole = read + projected
        print(f"trail read and verified  {read:>8.1f} s {head.size / read:>9,.0f} /s")
        print(
            f"store projected          {projected:>8.1f} s"
            f" {done.records / projected:>9,.0f} /s"
        )
        print(f"rebuilt, both together   {whole:>8.1f} s {head.size / whole:>9,.0f} /s")
        print(
            f"compared row by row      {checked:>8.1f} s"
            f" {compared.rows / checked:>9,.0f} rows/s"
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory {peak:,.0f} MB, {before:,.0f} MB before the rebuild")
        for difference in compared.differences:
            print("DIFFERS:", *difference)
        print(
            f"{compared.rows:,} rows of {compared.tables} tables:"
            f" {compared.count or 'none'} differ; load {os.getloadavg()[0]:.1f}"
        )
        if done.stopped or compared.count or compared.explained:
            sys.exit(f"the two stores are not equal: {done.stopped}")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        sys.argv[2] if len(sys.argv) > 2 else None,
    )
