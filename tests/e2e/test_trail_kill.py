"""kill -9 of the writer of a trail, at any moment and at each step."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random  # noqa: TID251  seeded, for a test

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint, ConsistencyProof

from comptroller import verify
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import STEPS, TrailWriter

KEY = TrailKey("trail.example/kill", bytes(32))
WRITING = Path(__file__).with_name("trail_writing.py")
KILLS = 40


def run(folder: Path, seed: int, *death: str, after_s: float = 0.0) -> list[Checkpoint]:
    """Starts a writer, kills it unless it dies by itself; returns what it published."""
    child = subprocess.Popen(
        [sys.executable, str(WRITING), str(folder), str(seed), *death],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout as out:
        said = [out.readline()]
        if not death:
            time.sleep(after_s)
            child.send_signal(signal.SIGKILL)
        said += out.readlines()
    assert child.wait(timeout=60) == -signal.SIGKILL
    assert said[0] == "open\n"
    return [
        Checkpoint.from_text(bytes.fromhex(line).decode())
        for line in said[1:]
        if line.endswith("\n")  # the last may be torn: it was published all the same
    ]


def check(folder: Path, past: list[Checkpoint]) -> int:
    """All that was published is consistent, and all that is there is exactly once."""
    reader = TilesReader(LocalBackend(folder))
    now = reader.get_checkpoint()
    now.verify(Vkey.from_string(str(KEY.key)))
    assert reader.calculate_root_hash() == now.root_hash
    for old in past:
        proof = ConsistencyProof(old.size, now.size, [])
        if 0 < old.size < now.size:
            proof = reader.get_consistency_proof(old.size, now.size)
        proof.check(old.root_hash, now.root_hash)
    writer = TrailWriter(folder, KEY)
    while writer.prune(writer.size):
        pass
    tree = TreeReader(folder, writer.size)
    assert tree.minimum() == writer.minimum <= now.size, "all of it, and no more"
    following: dict[str, int] = {}
    for record in tree.records(writer.minimum):
        source, _, _, sequence = verify.HEAD.match(record.decode()).groups()  # type: ignore[union-attr]
        begin = int(sequence) if writer.minimum else 0
        assert int(sequence) == following.get(source, begin)
        following[source] = int(sequence) + 1
    unseen = writer.positions if writer.minimum else dict.fromkeys(writer.positions, 0)
    assert {**unseen, **following} == writer.positions
    assert now.size <= writer.size
    writer.close()
    return now.size


def test_a_writer_killed_at_random_is_continued_exactly(tmp_path: Path) -> None:
    """40 kills: nothing missing, nothing twice, every checkpoint consistent.

    What is pruned meanwhile is what a published record says, and all of that.
    """
    random = Random(20261122)  # noqa: S311  no secret
    past: list[Checkpoint] = []
    life_s = 0.12
    for seed in range(KILLS):
        told = run(tmp_path, seed, after_s=random.random() * life_s)
        if not told:
            life_s = min(1.0, life_s * 1.1)  # a busy machine writes more slowly
        past += told
        if seed % 8 == 7:
            check(tmp_path, past)

    assert check(tmp_path, past) > 1000
    assert len(past) > KILLS // 2
    assert verify.main([str(tmp_path), "--vkey", str(KEY.key)]) == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_writer_killed_at_a_step_is_continued_exactly(
    tmp_path: Path, step: str
) -> None:
    """After entries, tiles, state, checkpoint, minimum or removal: each continues."""
    past: list[Checkpoint] = []
    for count in (1, 2, 5, 9):
        past += run(tmp_path, count, step, str(count))
    past += run(tmp_path, 99, "checkpoint", "3")

    assert check(tmp_path, past) > 1000
    assert verify.main([str(tmp_path), "--vkey", str(KEY.key)]) == 0
