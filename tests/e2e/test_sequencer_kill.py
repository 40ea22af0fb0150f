"""Kill -9 of workers, control process and sequencer: the trail has all, once."""

from __future__ import annotations

import asyncio
import os
import random  # noqa: TID251  the seed is printed
import re
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.testing.load import Load
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, kill_dead, run_command, told

KILLS = 80
EVERY_S = 0.3
REST_S = 6.0
"""After the last kill: who was killed again and again before it was ready waits 5 s."""
CALM_S = 5.0
CLIENTS = 30
WORKERS = 3
LAG_S_MAX = 2.0
MODELS = {
    "chat": "price: {input: 1, output: 2}, max_output_tokens: 999999",
    "claude": "price: {input: 3, output: 5}, max_output_tokens: 999999",
}


class Watcher:
    """Keeps every checkpoint that it sees, with when it saw it first."""

    def __init__(self, trail: Path) -> None:
        self._path = trail / "checkpoint"
        self.seen: list[tuple[float, Checkpoint]] = []
        self._stopped = threading.Event()

    def watch(self) -> None:
        """Looks until stopped."""
        last = b""
        while not self._stopped.wait(0.005):
            try:
                note = self._path.read_bytes()
            except FileNotFoundError:
                continue
            if note != last:
                last = note
                self.seen.append((time.time(), Checkpoint.from_text(note.decode())))  # noqa: TID251

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks while the block lasts."""
        thread = threading.Thread(target=self.watch)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()


async def kill_at_random(tree: ServeTree, chance: random.Random) -> Counter[str]:
    """Kills one living process at a time; how often which."""
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        await asyncio.sleep(chance.random() * 2 * EVERY_S)
        children = await asyncio.to_thread(tree.children)
        sequencer = await asyncio.to_thread(tree.sequencer)
        if sequencer is not None:
            children["sequencer"] = sequencer
        if children:
            name = chance.choice(sorted(children))
            killed[name] += await asyncio.to_thread(kill_dead, children[name])
    return killed


async def kill_under_load(
    tree: ServeTree, load: Load, chance: random.Random
) -> tuple[Counter[str], float]:
    """Kills, and then lets all run on; when the calm began."""
    running = asyncio.create_task(load.run(CLIENTS))
    try:
        killed = await kill_at_random(tree, chance)
        await asyncio.sleep(REST_S)
        calm_s = time.time()  # noqa: TID251
        await asyncio.sleep(CALM_S)
    finally:
        load.stop()
        await running
    return killed, calm_s


def all_lines(data: Path) -> Counter[bytes]:
    """Every whole record of every journal."""
    lines: Counter[bytes] = Counter()
    reader = DirectoryJournalReader(data / "journal")
    for source in reader.sources():
        offset = 0
        while run := reader.read(source, offset, 1 << 20):
            lines.update(record.line for record in run)
            offset = run[-1].offset + len(run[-1].line) + 1
    reader.close()
    return lines


def check_log(data: Path, seen: list[tuple[float, Checkpoint]]) -> list[bytes]:
    """Signature, root and every checkpoint, by another's code; all entries."""
    reader = TilesReader(LocalBackend(data / "trail"))
    last = reader.get_checkpoint()
    key = Vkey.from_string((data / "trail.vkey").read_text().strip())
    last.verify(key)
    assert reader.calculate_root_hash() == last.root_hash
    for _, one in seen:
        one.verify(key)
        proof = reader.get_consistency_proof(one.size, last.size)
        proof.check(one.root_hash, last.root_hash)
    return [reader.get_entry(index) for index in range(last.size)]


def check_entries(data: Path, entries: list[bytes]) -> None:
    """Each line once; what the trail itself adds is no loss."""
    lines, logged = all_lines(data), Counter[bytes]()
    own: list[dict[str, Any]] = []
    for entry in entries:
        if b'"source":"/trail"' in entry[:200]:
            own.append(msgspec.json.decode(entry))
        else:
            logged[entry] += 1
    assert not lines - logged, "missing"
    assert not logged - lines, "twice, or not of a journal"
    told_of = [one["data"] for one in own if one["type"].endswith("trail.gap.v1")]
    assert {one["reason"] for one in told_of} <= {"torn"}, told_of
    assert [int(one["sequence"]) for one in own] == [*range(len(own))]
    vkey = (data / "trail.vkey").read_text().strip()
    verified = subprocess.run(
        [sys.executable, "-m", "comptroller.verify", data / "trail", "--vkey", vkey],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert re.search(rf"\b{len(entries)} records", verified.stdout)


def lags(
    entries: list[bytes], seen: list[tuple[float, Checkpoint]]
) -> list[tuple[float, float]]:
    """Of each record: its time, and how long after it a checkpoint had it."""
    sizes = [one.size for _, one in seen]
    found = []
    for index, entry in enumerate(entries):
        place = bisect_right(sizes, index)
        if place < len(seen):
            time_s = datetime.fromisoformat(msgspec.json.decode(entry)["time"])
            found.append((time_s.timestamp(), seen[place][0] - time_s.timestamp()))
    return found


def test_nothing_is_missing_or_twice_in_the_trail(tmp_path: Path) -> None:
    """Every durable record is in it once, and every checkpoint in the next."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  no secret
    data = tmp_path / "comptroller-data"
    watcher = Watcher(data / "trail")
    with running_provider() as origin, watcher.watching():
        provider = f"{{base_url: {origin}, speaks: [openai, anthropic]}}"
        text = small_configuration(provider, MODELS)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(tmp_path, WORKERS)
        try:
            load = Load(tree.port, key, chance)
            killed, calm_s = asyncio.run(kill_under_load(tree, load, chance))
        finally:
            status = tree.stop()
    assert status == 0, tree.log()
    entries = check_log(data, watcher.seen)
    check_entries(data, entries)
    measured = lags(entries, watcher.seen)
    calm = sorted(lag for at_s, lag in measured if at_s > calm_s)
    storm = max(lag for at_s, lag in measured if at_s <= calm_s)
    print(
        f"{dict(killed)} kills, {dict(load.counts)}, {len(entries)} entries,"
        f" {len(watcher.seen)} checkpoints; lag of {len(calm)} records while nobody"
        f" was killed: median {calm[len(calm) // 2]:.2f} s, most {calm[-1]:.2f} s;"
        f" most while killing {storm:.2f} s; load {os.getloadavg()[0]:.1f}"
    )
    assert killed.total() >= KILLS
    assert killed["sequencer"] >= KILLS / 16
    assert len(calm) > 500
    assert calm[-1] <= LAG_S_MAX
    audited = told(tmp_path, "audit", "verify")
    assert audited["ok"], audited
    decisions = audited["compared"]["decisions"]
    assert decisions == audited["compared"]["in_store"] > 500
