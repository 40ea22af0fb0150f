"""`comptroller audit rebuild` beside a gateway that serves, and in place of a store."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}


def asked(tree: ServeTree, key: str, count: int) -> None:
    """Requests that are answered."""
    for _ in range(count):
        chat(tree.port, key)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a gateway that answered, and was checked while it served."""
    tmp_path = tmp_path_factory.mktemp("past")
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        issued = told(tmp_path, "key", "issue", "checkout", "--for", "ada")
        key = issued["secret"]
        tree = ServeTree(tmp_path, 2)
        try:
            asked(tree, key, 5)
            checkpoint = tmp_path / "comptroller-data" / "trail" / "checkpoint"
            await_true(checkpoint.exists, 20)
            asked(tree, key, 5)
            document = told(tmp_path, "audit", "rebuild", "--check")
            assert document["compared"]["is_same"]
            assert document["problems"] == []
        finally:
            assert tree.stop() == 0, tree.log()
    return tmp_path


@pytest.fixture
def served(past: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    sockets = shutil.ignore_patterns("*.sock")
    return Path(shutil.copytree(past, tmp_path / "site", ignore=sockets))


def test_a_rebuilt_store_takes_the_place_of_one_that_is_lost(served: Path) -> None:
    """From the trail alone: the journals are not read. Answers are as before."""
    data = served / "comptroller-data"
    command(served, "spend")  # closes what dead workers left
    run_command(served, "audit", "sequence")
    spend = told(served, "spend", "--by", "credential")
    requests = told(served, "requests")
    assert requests
    (data / "journal").rename(served / "journal")
    for suffix in ("", "-wal", "-shm"):
        (data / f"store.sqlite3{suffix}").unlink(missing_ok=True)
    words = ("audit", "rebuild", "--to", "comptroller-data/store.sqlite3")
    assert "entries" in run_command(served, *words)
    (served / "journal").rename(data / "journal")
    assert told(served, "spend", "--by", "credential") == spend
    assert told(served, "requests") == requests
    found = told(served, "audit", "rebuild", "--check")
    assert found["compared"]["differing"] == 0


def test_a_store_that_was_tampered_with_is_named(served: Path) -> None:
    """Exit 1, with table, row and what each says; wrong use is said, too."""
    with sqlite3.connect(served / "comptroller-data" / "store.sqlite3") as store:
        store.execute("UPDATE requests SET cost_nano_usd = cost_nano_usd + 1")
    store.close()
    done = command(served, "audit", "rebuild", "--check")
    assert done.returncode == 1
    assert "DIFFERS: requests, request_id" in done.stdout
    assert "cost_nano_usd is" in done.stdout
    assert "10 rows differ" in done.stdout
    done = command(served, "audit", "rebuild")
    assert done.returncode == 1
    assert "--check compares it" in done.stderr
