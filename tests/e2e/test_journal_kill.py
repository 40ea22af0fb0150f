"""Kill -9 of real workers and of the projecting process, at random moments.

This file is also the program of those processes: `worker` and `control`.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random  # noqa: TID251  the seed is printed
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import GroupCommitJournal, SyncJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.engine import records
from comptroller.engine.ports import JournalReader, RequestQuery
from comptroller.engine.projection import Projector
from comptroller.engine.recovery import recover
from comptroller.testing.script import Script

if TYPE_CHECKING:
    from comptroller.adapters.store.sqlite import SqliteStore

KILLS = 45
WORKERS = ("w0", "w1")
IN_FLIGHT = 8


async def _request(
    journal: GroupCommitJournal, script: Script, ids: UlidIds, chance: random.Random
) -> None:
    """Decides, forwards when that is durable, then settles or releases."""
    request_id = ids.new()
    durable = asyncio.get_running_loop().create_future()
    noting = _Noting(journal, durable.set_result)
    Script(noting, SystemClock(), ids).decided(request_id)
    if not await durable:
        raise SystemExit("the journal failed")
    os.write(1, f"{request_id}\n".encode())  # this is the provider being called
    await asyncio.sleep(chance.random() * 0.02)
    if chance.random() < 0.1:
        script.released(request_id)
    else:
        script.settled(request_id, chance.randrange(1000), {"input": 10, "output": 5})


class _Noting:
    """A journal whose every append tells when it is durable."""

    def __init__(
        self,
        journal: GroupCommitJournal,
        on_durable: Callable[[bool], None],
    ) -> None:
        self.source = journal.source
        self.failed = journal.failed
        self.sequence = journal.sequence
        self._journal = journal
        self._on_durable = on_durable

    def append(
        self,
        record: bytes,
        on_durable: Callable[[bool], None] | None = None,
    ) -> None:
        self._journal.append(record, on_durable or self._on_durable)

    def close(self) -> None:
        self._journal.close()


async def _worker(directory: Path, worker: str) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    ids = UlidIds(clock, entropy)
    chance = random.Random(entropy.token(8))  # noqa: S311  no secret
    name = journal_name("node", worker, ids.new())
    journal = GroupCommitJournal(directory / "journal", name, clock, ids)
    script = Script(journal, clock, ids)

    (directory / f"ready-{os.getpid()}").touch()

    async def client() -> None:
        while True:
            await _request(journal, script, ids, chance)

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))


def _open_control(
    directory: Path,
) -> tuple[JournalReader, SqliteStore, SyncJournal, SystemClock, UlidIds]:
    from comptroller.adapters.store.sqlite import SqliteStore  # noqa: PLC0415  not for workers

    clock = SystemClock()
    ids = UlidIds(clock, SystemEntropy())
    name = journal_name("node", "control", ids.new())
    return (
        DirectoryJournalReader(directory / "journal"),
        SqliteStore(directory / "store.sqlite3"),
        SyncJournal(directory / "journal", name, clock, ids),
        clock,
        ids,
    )


def _control(directory: Path) -> None:
    reader, store, journal, clock, ids = _open_control(directory)
    projector = Projector(reader, store)
    for _ in projector.catch_up():
        pass
    (directory / f"ready-{os.getpid()}").touch()
    while True:
        projector.step(256 * 1024)
        recover(reader, store, lambda: journal, clock, ids)
        time.sleep(0.01)


def _start(role: str, directory: Path) -> subprocess.Popen[bytes]:
    # Starting is most of this test's time: let the first start compile for all.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with (directory / "forwarded").open("ab") as forwarded:
        return subprocess.Popen(
            [sys.executable, __file__, role, str(directory)],
            stdout=forwarded,
            env=environment,
        )


def _kill_at_random(directory: Path, chance: random.Random) -> None:
    roles = [*WORKERS, "control"]
    running = {role: _start(role, directory) for role in roles}
    try:
        for kill in range(KILLS):
            # Now and then one that is just starting, mostly one that works.
            ready = roles if kill % 5 == 0 else _until_ready(directory, running)
            role = chance.choice(ready)
            time.sleep(chance.random() * 0.2)
            assert running[role].poll() is None, f"{role} ended by itself"
            running[role].kill()
            running[role].wait()
            running[role] = _start(role, directory)
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _until_ready(
    directory: Path, running: dict[str, subprocess.Popen[bytes]]
) -> list[str]:
    """Waits until some process works; which ones do."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready = [
            role
            for role, process in running.items()
            if (directory / f"ready-{process.pid}").exists()
        ]
        if ready:
            return ready
        time.sleep(0.01)
    raise TimeoutError("no process becomes ready")


def _recorded(reader: JournalReader) -> dict[str, dict[str, list[int]]]:
    """Request to record type to costs, read from the journals alone."""
    found: dict[str, dict[str, list[int]]] = {}
    for source in reader.sources():
        offset, sequence = 0, 0
        while run := reader.read(source, offset, 1 << 20):
            for record in run:
                envelope = msgspec.json.decode(record.line, type=records.Envelope)
                assert envelope.source == source
                assert int(envelope.sequence) == sequence, "a gap in a journal"
                sequence += 1
                if envelope.type.startswith("comptroller.request."):
                    data = msgspec.json.decode(envelope.data)
                    by_type = found.setdefault(data["decision_id"], {})
                    costs = by_type.setdefault(envelope.type, [])
                    costs.append(data.get("comptroller.cost.nano_usd", 0))
            offset = run[-1].offset + len(run[-1].line) + 1
    return found


def test_nothing_is_lost_or_counted_twice_however_processes_are_killed(
    tmp_path: Path,
) -> None:
    """Forwarded ⊆ recorded; every decision ends once; the store says the same."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    _kill_at_random(tmp_path, random.Random(seed))  # noqa: S311  no secret

    reader, store, journal, clock, ids = _open_control(tmp_path)
    for _ in Projector(reader, store).catch_up():
        pass
    recover(reader, store, lambda: journal, clock, ids)
    journal.close()

    found = _recorded(reader)
    forwarded = (tmp_path / "forwarded").read_text().split()
    assert len(forwarded) == len(set(forwarded)) > 100
    assert set(forwarded) <= set(found)

    states = {
        records.SETTLED: "settled",
        records.RELEASED: "released",
        records.ABANDONED: "abandoned",
    }
    rows = {row.request_id: row for row in store.requests(RequestQuery(limit=None))}
    assert rows.keys() == found.keys()
    for request_id, by_type in found.items():
        assert len(by_type.pop(records.DECIDED)) == 1
        ((kind, costs),) = by_type.items()
        assert len(costs) == 1
        row = rows[request_id]
        assert (row.state, row.cost_nano_usd) == (states[kind], costs[0])
    ended = collections.Counter(row.state for row in rows.values())
    print(f"{KILLS} kills, {len(forwarded)} forwarded, {dict(ended)}")
    assert ended["abandoned"] > 0
    (spent,) = store.spend("owner", None)
    assert spent.requests == len(rows)
    assert spent.cost_nano_usd == sum(row.cost_nano_usd for row in rows.values())
    assert store.conflicts() == 0
    assert store.open_sources() == []
    store.close()


if __name__ == "__main__":
    if sys.argv[1] == "control":
        _control(Path(sys.argv[2]))
    else:
        asyncio.run(_worker(Path(sys.argv[2]), sys.argv[1]))
