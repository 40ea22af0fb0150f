"""Planted bugs: each is found by some seed, and by the invariant that it breaks.

Every bug is the real part with one faulty step. docs/reference/simulation.md lists
them with the number of seeds that it took.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import comptroller
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.closing import close_dead
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.holding import Holding
from comptroller.engine.leasing import AskLeases, Leased
from comptroller.engine.ledger import Ledger, LedgerParts
from comptroller.engine.ledger_rows import HolderRow
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Ids,
    JournalPosition,
    JournalReader,
    JournalRecord,
    Store,
    Timers,
)
from comptroller.engine.projection import Projector, is_administrative
from comptroller.engine.rate_keeper import RateKeeper
from comptroller.engine.recording import Recorder
from comptroller.testing.simulation.disk import Disk
from comptroller.testing.simulation.parts import Parts
from comptroller.testing.simulation.run import run
from comptroller.testing.simulation.seeds import seeds_of
from comptroller.testing.simulation.store import WatchedStore

SEEDS_MAX = 500


class Passing:
    """Passes on whatever it has not got itself."""

    def __init__(self, behind: object) -> None:
        self._behind: Any = behind

    def __getattr__(self, name: str) -> object:
        return getattr(self._behind, name)


# -- a lease is taken back by a timer ------------------------------------------


class ImpatientReader(Passing):
    """Takes a journal that has not grown for two seconds for a dead one."""

    def __init__(
        self, reader: JournalReader, seen: dict[str, Any], now_s: float
    ) -> None:
        super().__init__(reader)
        self._seen = seen
        self._now_s = now_s

    def is_dead(self, source: str) -> bool:
        """Also where nothing was written for a while."""
        size = self._behind.size(source)
        if self._seen.get(source, (0, 0.0))[0] != size:
            self._seen[source] = (size, self._now_s)
        is_silent = self._now_s - self._seen[source][1] > 2.0
        return bool(self._behind.is_dead(source)) or is_silent


def reclaims_by_time() -> Parts:
    seen: dict[str, Any] = {}

    def close(parts: LedgerParts) -> Sequence[str]:
        reader: Any = ImpatientReader(parts.reader, seen, parts.clock.monotonic_s())
        return close_dead(parts._replace(reader=reader))

    return Parts(close_dead=close)


# -- check, then write ---------------------------------------------------------


class StaleStore(Passing):
    """Answers what the accounts were a moment ago."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store)
        self._clock = clock
        self._read: dict[str, Any] = {}

    def accounts(self, ids: Sequence[str]) -> dict[str, Any]:
        """At most 20 ms old."""
        now_s = self._clock.monotonic_s()
        for name in ids:
            if now_s - self._read.get(name, (-1.0, None))[0] > 0.02:
                self._read[name] = (now_s, self._behind.accounts([name]).get(name))
        found = {name: self._read[name][1] for name in ids}
        return {name: state for name, state in found.items() if state is not None}


def checks_then_writes() -> Parts:
    def ledger(parts: LedgerParts, timers: Timers) -> Ledger:
        stale: Any = StaleStore(parts.store, parts.clock)
        return Ledger(parts._replace(store=stale), timers)

    return Parts(ledger=ledger)


# -- a holder is closed before its journal was read ----------------------------


class ForgetfulReader(Passing):
    """Finds nothing more in a worker's journal."""

    def read(self, source: str, offset: int, size: int) -> Sequence[JournalRecord]:
        """Only of administrative journals."""
        found: Sequence[JournalRecord] = self._behind.read(source, offset, size)
        return found if is_administrative(source) else []


def closes_unread() -> Parts:
    def close(parts: LedgerParts) -> Sequence[str]:
        def project(source: str) -> None:
            if is_administrative(source):
                parts.project(source)

        reader: Any = ForgetfulReader(parts.reader)
        return close_dead(parts._replace(reader=reader, project=project))

    return Parts(close_dead=close)


# -- an ask that is repeated is granted again ----------------------------------


class GenerousLedger(Ledger):
    """Answers every ask as if it were new."""

    def _repeated(self, asked: AskLeases, row: HolderRow | None) -> Leased | None:  # noqa: ARG002
        return None


# -- what is not durable is in the books already -------------------------------


class HastyDisk(Disk):
    """Hands out records that a power loss may still take."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """Without a sync."""
        durable = self.journals[source].durable if source in self.journals else 0
        found = super().read(source, offset, bytes_max)
        self.journals[source].durable = durable
        return found


# -- a limit is lowered at once ------------------------------------------------


class StrictStore(WatchedStore):
    """Puts a lowered limit in force, whatever is committed."""

    def project(self, run: Sequence[JournalRecord], end: JournalPosition) -> None:
        """And then lowers what is in force."""
        super().project(run, end)
        for state in self.states():
            state.effective = state.limit


# -- a hold is not all or nothing ----------------------------------------------


class LeakyHolding(Holding):
    """Keeps what it held of a path that did not fit."""

    def _take(self, path: HoldPath, need: Need) -> bool:
        wanted = path.amounts(need)
        for one in wanted:
            if self.book.hold([one]) is not None:
                return False
        need.held = wanted
        return True


# -- open holds of the dead are let go of --------------------------------------


def releases_the_dead() -> Parts:
    def recover(
        reader: JournalReader,
        store: Store,
        journal: Callable[[], DurableJournal],
        clock: Clock,
        ids: Ids,
    ) -> int:
        projector = Projector(reader, store)
        for source in store.open_sources():
            if source not in reader.sources() or not reader.is_dead(source):
                continue
            for _ in projector.catch_up([source]):
                pass
            batch = Batch(journal, clock, ids)
            for one in store.open_requests(source):
                data = records.Released(decision_id=one.request_id, reason="dead")
                batch.add(records.RELEASED, f"request/{one.request_id}", data)
            if len(batch):
                for _ in projector.catch_up([batch.commit()]):
                    pass
        return 0

    return Parts(recover=recover)


# -- rates are forgotten by a restart ------------------------------------------


class AmnesicRates(RateKeeper):
    """Begins with empty buckets, at once."""

    def tick(self) -> None:
        """Waits for nothing."""
        self.is_ready = True


class AmnesicLedger(Ledger):
    """Has such rates."""

    def __init__(self, parts: LedgerParts, timers: Timers) -> None:
        super().__init__(parts, timers)
        self._rates = AmnesicRates(
            parts.clock, parts.store, parts.reader, self._declared
        )


# -- a settlement gives back more than was held --------------------------------


class ShortChangedHolding(Holding):
    """Counts what a request cost as free again."""

    def settle(
        self,
        path: HoldPath,
        need: Need,
        cost_nano_usd: int,  # noqa: ARG002
        tokens_used: int,
    ) -> None:
        """As if it had cost nothing."""
        super().settle(path, need, 0, tokens_used)


# -- a request is sent before its decision is durable --------------------------


class HastyRecorder(Recorder):
    """Does not wait for the disk."""

    def decided(
        self,
        request_id: str,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
        now_ns: int,
    ) -> None:
        """Says at once that it is durable."""
        super().decided(request_id, data, None, now_ns)
        if on_durable is not None:
            on_durable(True)


@dataclass(frozen=True)
class Mutant:
    """A planted bug."""

    parts: Callable[[], Parts]
    kind: str
    """Of the seeds that are likely to find it."""
    breaks: frozenset[int]
    """The invariants that may show it."""


MUTANTS = {
    "a lease is reclaimed by a timer": Mutant(
        reclaims_by_time, "crashes", frozenset({3, 8})
    ),
    "a grant is checked, then written": Mutant(
        checks_then_writes, "calm", frozenset({4, 12, 13})
    ),
    "a holder is closed before its journal is read": Mutant(
        closes_unread, "crashes", frozenset({1, 3, 4, 7, 9})
    ),
    "a repeated ask is granted again": Mutant(
        lambda: Parts(ledger=GenerousLedger), "network", frozenset({2, 4, 13})
    ),
    "what is not durable is projected": Mutant(
        lambda: Parts(disk=HastyDisk), "ruin", frozenset({4, 7, 13, 14})
    ),
    "a limit is lowered at once": Mutant(
        lambda: Parts(store=StrictStore), "calm", frozenset({1, 3, 11})
    ),
    "a path is held in part": Mutant(
        lambda: Parts(holding=LeakyHolding), "calm", frozenset({2, 6})
    ),
    "open holds of the dead are released": Mutant(
        releases_the_dead, "crashes", frozenset({3, 7})
    ),
    "a restart forgets the rates": Mutant(
        lambda: Parts(ledger=AmnesicLedger), "crashes", frozenset({10})
    ),
    "a settlement frees what was spent": Mutant(
        lambda: Parts(holding=ShortChangedHolding), "calm", frozenset({1, 2, 3})
    ),
    "a request is sent before it is recorded": Mutant(
        lambda: Parts(recorder=HastyRecorder), "crashes", frozenset({3, 7})
    ),
}


def find(name: str) -> None:
    """Plays seeds until one finds a bug; says which and how.

    Raises:
        SystemExit: none did, or by an invariant that the bug does not break.
    """
    mutant = MUTANTS[name]
    for count, seed in enumerate(seeds_of(mutant.kind)[:SEEDS_MAX], 1):
        broken = run(seed, mutant.parts()).broken
        if broken is not None:
            print(f"{name}: after {count} seeds ({mutant.kind}), {broken}")
            if broken.number not in mutant.breaks:
                raise SystemExit(f"{name} does not break invariant {broken.number}")
            return
    raise SystemExit(f"{SEEDS_MAX} seeds did not find that {name}")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone: no plain class can inherit from a compiled one."""
    folder = tmp_path_factory.mktemp("sources")
    package = Path(comptroller.__file__).parent
    leave = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(package, folder / "comptroller", ignore=leave)
    return folder


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_planted_bug_is_found(name: str, sources: Path) -> None:
    """Within some hundred seeds, and by an invariant that it breaks."""
    played = subprocess.run(
        [sys.executable, __file__, name],
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(played.stdout)
    assert played.returncode == 0, played.stderr


if __name__ == "__main__":
    find(sys.argv[1])
