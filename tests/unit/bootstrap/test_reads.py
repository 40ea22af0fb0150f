from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.bootstrap.reads import recorded_readings
from comptroller.core.errors import TrailUnavailableError
from comptroller.engine.access import ACCESS_READ

START_NS = 1_700_000_000 * 10**9
ACTOR = {"person": None, "account": "ada@host"}


def entry(kind: str, second: int, data: object) -> bytes:
    """A record as a journal has it."""
    time = f"2023-11-14T22:13:{20 + second}.000000Z"
    return msgspec.json.encode({"type": kind, "time": time, "data": data})


def test_only_readings_are_listed(tmp_path: Path) -> None:
    """In the trail's order, from a time on; what only looks like one is none."""
    read = {"what": "explain", "scope": {"request": "01R"}, "actor": ACTOR}
    entries = [
        b"nonsense",
        entry(ACCESS_READ, 1, read),
        entry("other", 2, {"said": f'"type":"{ACCESS_READ}"'}),
        f'{{"data":1,"type":"{ACCESS_READ}"'.encode(),
        entry(ACCESS_READ, 3, {"what": "explain"}),
        entry(ACCESS_READ, 2, read | {"what": "requests"}),
    ]
    writer = TrailWriter(tmp_path / "trail", TrailKey("log.example/t", bytes(32)))
    writer.append(entries, {})
    writer.publish()
    writer.close()

    found = recorded_readings(tmp_path, None)

    assert [(one["index"], one["what"]) for one in found] == [
        (1, "explain"),
        (5, "requests"),
    ]
    assert found[0]["actor"] == ACTOR
    later = recorded_readings(tmp_path, START_NS + 2 * 10**9)
    assert [one["index"] for one in later] == [5]
    with pytest.raises(TrailUnavailableError, match="no trail"):
        recorded_readings(tmp_path / "elsewhere", None)
