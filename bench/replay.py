"""What a replay does a second: examples/policy over recorded decisions.

Writes decisions on random facts into a journal as a worker does, then decides them
again: one by one from memory, as a worker decides; and as `comptroller policy replay`
does, from the journal, here alone and with a further process for each spare CPU.
A machine that others use moves all figures alike, so the last column compares them.
Usage: python bench/replay.py [DECISIONS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.processes.hands import ProcessHands, spare_cpus
from comptroller.bootstrap.policies import gather_files, read_bundle
from comptroller.bootstrap.replaying import Asked, work
from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.rules import Policy
from comptroller.engine.policy_ports import encode_sets
from comptroller.engine.replaying import Replaying, Scope
from comptroller.testing.decisions import BatchedJournal, DecisionScript
from comptroller.testing.policy_requests import RandomRequests
from comptroller.testing.system import FakeClock, SequentialIds

EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "policy"
SAMPLE: Final = 5_000
"""Decisions that are decided one by one."""


class Past(NamedTuple):
    """Where decisions stand, and the bundle that made them."""

    folder: Path
    kept: tuple[str, str]
    sets: bytes


class NoStore:
    """A store that is not there: nothing is asked that costs a look-up."""

    def decisions_begin(self, since_ns: int) -> dict[str, int]:
        """Of a span; the bench reads all."""
        raise NotImplementedError(since_ns)

    def ended_costs(self, ids: object) -> dict[str, int]:
        """What requests cost: nothing is known."""
        assert ids  # noqa: S101
        return {}


def facts(count: int) -> list[dict[str, Any]]:
    """Facts of requests, each with a prompt of its own size."""
    source = RandomRequests(1)
    made = []
    for place in range(count):
        one: dict[str, Any] = source.next()
        one["request"]["prompt_bytes"] = place * 37 % 3_000_000
        made.append(one)
    return made


def recorded(folder: Path, bundle: Bundle, policy: Policy, count: int) -> Past:
    """Writes decisions, and keeps the bundle that made them."""
    sets = encode_sets([plain_set(one) for one in policy.sets])
    files, _ = gather_files([EXAMPLE])
    PolicyArchive(folder / "policy").keep(bundle.revision, files, sets)
    clock, ids = FakeClock(), SequentialIds()
    name = journal_name("host", "w0", "01A")
    sync = SyncJournal(folder / "journal", name, clock, SequentialIds())
    journal = BatchedJournal(sync)
    script = DecisionScript(journal, clock, ids, policy, bundle.revision)
    for one in facts(count):
        clock.advance(0.001)
        script.decided(one)
    journal.flush()
    sync.close()
    kept = (bundle.revision, f"sha256:{sha256(sets).hexdigest()}")
    return Past(folder, kept, sets)


def one_by_one(policy: Policy, sample: list[dict[str, Any]]) -> int:
    """Decides facts that are at hand, as a worker does."""
    for one in sample:
        decide(policy, one)
    return len(sample)


def replayed(past: Past, asked: Asked, processes: int) -> int:
    """Replays all that is recorded."""
    reader = DirectoryJournalReader(past.folder / "journal")
    hands = ProcessHands(partial(work, asked), processes)
    found = Replaying(reader, NoStore()).run(hands, 0)
    reader.close()
    if found.differing or found.changed:
        sys.exit(f"not all say the same: {found.differences[:3]}")
    return found.decided


def rate(does: Callable[[], int]) -> float:
    """What it does a second; the better of two times."""
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        done = does()
        taken.append(done / (time.perf_counter() - begun))
    return max(taken)


def main(count: int) -> None:
    """Writes, replays and prints."""
    bundle = read_bundle([EXAMPLE])
    policy = bundle.policy
    if policy is None:
        sys.exit("\n".join(map(str, bundle.problems)))
    with tempfile.TemporaryDirectory() as folder:
        past = recorded(Path(folder), bundle, policy, count)
        verify = Asked(str(past.folder / "policy"), (past.kept,), Scope())
        what_if = verify._replace(after=past.sets)
        spare = spare_cpus()
        ways: dict[str, Callable[[], int]] = {
            "decided one by one": partial(one_by_one, policy, facts(SAMPLE)),
            "verified, one process": partial(replayed, past, verify, 0),
            f"verified, {1 + spare} processes": partial(replayed, past, verify, spare),
            f"what if, {1 + spare} processes": partial(replayed, past, what_if, spare),
        }
        load = os.getloadavg()[0]
        print(f"{count:,} decisions on {1 + spare} CPUs, load before {load:.1f}")
        rates = {name: rate(does) for name, does in ways.items()}
    single = rates["decided one by one"]
    for name, found in rates.items():
        print(f"{name:<26} {found:>9,.0f}/s  {found / single:>5.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
