from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.core.errors import StoreUnavailableError

PUBLISHER = """
import sys
from pathlib import Path
from comptroller.adapters.snapshot import FileSnapshotStore

store = FileSnapshotStore(Path(sys.argv[1]))
number = 0
while True:
    store.publish(str(number % 10).encode() * 50_000)
    number += 1
"""


def test_a_reader_never_sees_half_a_snapshot(tmp_path: Path) -> None:
    """While a process publishes and is killed, every read is one whole snapshot."""
    path = tmp_path / "snapshot.json"
    command = [sys.executable, "-c", PUBLISHER, str(path)]
    reader = FileSnapshotStore(path)
    seen = 0
    with subprocess.Popen(command) as writer:
        try:
            while seen < 100:
                assert writer.poll() is None
                content = reader.read_if_changed()
                if content is not None:
                    seen += 1
                    assert content == content[:1] * 50_000
        finally:
            writer.kill()
    last = FileSnapshotStore(path).read_if_changed()
    assert last is not None
    assert last == last[:1] * 50_000


def test_the_snapshot_is_private(tmp_path: Path) -> None:
    """Only the account that runs comptroller can read hashes and addresses."""
    path = tmp_path / "snapshot.json"
    FileSnapshotStore(path).publish(b"{}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_refusing_disk_is_an_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    """When the snapshot cannot be replaced, readers keep the one they had."""
    path = tmp_path / "snapshot.json"
    store = FileSnapshotStore(path)
    store.publish(b"old")
    (tmp_path / "snapshot.json.new").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"snapshot\.json"):
        store.publish(b"new")
    assert FileSnapshotStore(path).read_if_changed() == b"old"


def test_an_unreadable_snapshot_is_an_error(tmp_path: Path) -> None:
    """A snapshot that is there and cannot be read is never taken for unchanged."""
    (tmp_path / "snapshot.json").mkdir()
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        FileSnapshotStore(tmp_path / "snapshot.json").read_if_changed()
