"""Every store that the contract is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.testing.projected import Projected
from comptroller.testing.store import InMemoryStore


@pytest.fixture(params=["sqlite", "memory"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Projected]:
    if request.param == "memory":
        yield Projected(InMemoryStore())
        return
    store = SqliteStore(tmp_path / "store.sqlite3")
    yield Projected(store)
    store.close()
