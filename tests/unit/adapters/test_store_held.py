"""What the sequencer learns of legal holds from the store's file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from comptroller.adapters.store.held import positions_without_hold
from comptroller.adapters.store.sqlite import SqliteStore


def test_a_legal_hold_in_force_is_seen_while_the_store_is_written(
    tmp_path: Path,
) -> None:
    """Placed, lifted, placed: each as soon as it is committed, and nothing before."""
    path = tmp_path / "a store.sqlite3"
    store = SqliteStore(path)
    assert positions_without_hold(path) is not None
    writer = sqlite3.connect(path, isolation_level=None)
    insert = "INSERT INTO legal_holds (id, reason, placed_ns, placed_account)"
    writer.execute("BEGIN IMMEDIATE")
    writer.execute(f"{insert} VALUES ('1', 'x', 1, 'a')")
    assert positions_without_hold(path) is not None
    writer.execute("COMMIT")
    assert positions_without_hold(path) is None
    writer.execute("UPDATE legal_holds SET lifted_ns = 2")
    assert positions_without_hold(path) is not None
    writer.execute(f"{insert} VALUES ('2', 'x', 1, 'a')")
    assert positions_without_hold(path) is None
    writer.close()
    store.close()


def test_what_does_not_say_may_be_held(tmp_path: Path) -> None:
    """No store, none of ours, or one of an older release: nothing is deleted."""
    path = tmp_path / "store.sqlite3"
    assert positions_without_hold(path) is None
    assert not path.exists()
    path.write_bytes(b"no database at all")
    assert positions_without_hold(path) is None
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE journals (id)")
    assert positions_without_hold(path) is None
