"""What our writer wrote, read and verified by somebody else's library."""

from __future__ import annotations

from pathlib import Path

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tiles import leaf_hash
from tlog_scales.tlog import Checkpoint, ConsistencyProof

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter

KEY = TrailKey("trail.example/test", bytes(32))
VKEY = Vkey.from_string(str(KEY.key))
STEPS = (0, 1, 2, 100, 255, 256, 257, 300, 512, 600, 768, 1000)


def record(number: int) -> bytes:
    return b"record %d" % number + b"." * (number % 90)


def published(reader: TilesReader) -> Checkpoint:
    """The checkpoint, its signature verified, its root computed from the tiles."""
    checkpoint = reader.get_checkpoint()
    checkpoint.verify(VKEY)
    assert checkpoint.origin == KEY.key.name
    if checkpoint.size:
        assert reader.calculate_root_hash() == checkpoint.root_hash
    return checkpoint


def check_consistent(folder: Path, old: Checkpoint, new: Checkpoint) -> None:
    """Both libraries' proofs are one, and it is accepted."""
    ours = TreeReader(folder, new.size).consistency(old.size)
    proof = ConsistencyProof(old.size, new.size, ours)
    proof.check(old.root_hash, new.root_hash)
    if old.size:  # from nothing on, theirs does not make the empty proof
        reader = TilesReader(LocalBackend(folder))
        reader.set_size(new.size)
        assert reader.get_consistency_proof(old.size, new.size) == proof


def test_every_checkpoint_and_proof_verifies_elsewhere(tmp_path: Path) -> None:
    """Each published size: signature, root, every record, and every older size."""
    past: list[Checkpoint] = []
    for size in STEPS:
        writer = TrailWriter(tmp_path, KEY)
        writer.append([record(one) for one in range(writer.size, size)], {})
        writer.publish()
        writer.close()
        reader = TilesReader(LocalBackend(tmp_path))
        now = published(reader)
        assert now.size == size
        for index in range(size):
            entry = reader.get_entry(index)
            assert entry == record(index)
            proof = reader.get_inclusion_proof(index, size)
            proof.check(leaf_hash(entry), now.root_hash)
            assert proof.node_hashes == TreeReader(tmp_path, size).inclusion(index)
        for old in past:
            check_consistent(tmp_path, old, now)
        past.append(now)


def test_a_log_of_three_levels_verifies_elsewhere(tmp_path: Path) -> None:
    """65,537 records in odd batches: proofs over every level of tiles."""
    writer = TrailWriter(tmp_path, KEY)
    past = []
    for begin in range(0, 65_537, 9_973):
        end = min(65_537, begin + 9_973)
        writer.append([record(one) for one in range(begin, end)], {})
        writer.publish()
        past.append(published(TilesReader(LocalBackend(tmp_path))))
    writer.close()
    reader = TilesReader(LocalBackend(tmp_path))
    now = published(reader)

    assert now.size == 65_537
    for old in past:
        check_consistent(tmp_path, old, now)
    for index in (0, 1, 255, 256, 32_767, 32_768, 65_279, 65_535, 65_536):
        proof = reader.get_inclusion_proof(index, now.size)
        proof.check(leaf_hash(record(index)), now.root_hash)


def test_the_other_library_can_refuse(tmp_path: Path) -> None:
    """Its check means something: another record is not proved."""
    writer = TrailWriter(tmp_path, KEY)
    writer.append([record(one) for one in range(10)], {})
    writer.publish()
    writer.close()
    reader = TilesReader(LocalBackend(tmp_path))
    now = published(reader)
    proof = reader.get_inclusion_proof(3, 10)

    with pytest.raises(Exception, match="root_hash"):
        proof.check(leaf_hash(record(4)), now.root_hash)
