"""Tests of the trail's addresses: its files, and nothing else of the folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from comptroller.console import StatusServer, TrailView
from comptroller.engine.commands import Status
from comptroller.engine.trail_ports import TrailStatus

GOOD = Status(1, 2, 0, 3, "rc-1", [])
RUNNING = TrailStatus("log.example/t", 7, 0.5, True, None)
DAMAGED = TrailStatus("log.example/t", 7, 900.5, False, "tile/0/000 was changed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trail = tmp_path / "trail"
    for name in ("tile/0", "tile/entries/x001", "tile/0/000.p"):
        (trail / name).mkdir(parents=True)
    (trail / "checkpoint").write_bytes(b"log.example/t\n7\nroot\n")
    (trail / "state.json").write_bytes(b"secret")
    (tmp_path / "trail.key").write_bytes(b"secret")
    (trail / "tile/0/000.p/7").write_bytes(b"7" * 224)
    (trail / "tile/entries/x001/067").write_bytes(b"entries")
    return trail


def ask(
    folder: Path, path: str, status: TrailStatus = RUNNING
) -> tuple[int, dict[str, str], bytes]:
    async def exchange() -> bytes:
        server = StatusServer(lambda: GOOD, TrailView(folder, lambda: status))
        port = await server.start("127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            async with asyncio.timeout(10):
                got = await reader.read()
            writer.close()
            await writer.wait_closed()
            return got
        finally:
            await server.close()

    head, _, body = asyncio.run(exchange()).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), fields, body


def test_the_checkpoint_is_text_and_never_old(folder: Path) -> None:
    """It changes with every record, so nobody may keep it unasked."""
    code, fields, body = ask(folder, "/checkpoint")
    assert (code, body) == (200, b"log.example/t\n7\nroot\n")
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "content"),
    [("/tile/0/000.p/7", b"7" * 224), ("/tile/entries/x001/067", b"entries")],
)
def test_a_tile_is_bytes_that_never_change(
    folder: Path, path: str, content: bytes
) -> None:
    """Full or partial, hashes or entries: whoever has it need not ask again."""
    code, fields, body = ask(folder, path)
    assert (code, body) == (200, content)
    assert fields["content-type"] == "application/octet-stream"
    assert "immutable" in fields["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/state.json",
        "/tile/../state.json",
        "/tile/0/../../state.json",
        "/tile/%2e%2e/state.json",
        "/../trail.key",
        "/tile/0/000.p/../../../state.json",
        "/tile/0/000.p/256",
        "/tile/0/000.p/0",
        "/tile/64/000",
        "/tile/0/0",
        "/tile/0/000/",
        "/tile/0",
        "/tile/entries",
        "/tile//0/000",
        "//checkpoint",
        "/checkpoint/",
        "/lock",
        "/tile/0/001",
        "/tile/0/000.p",
    ],
)
def test_nothing_else_is_read(folder: Path, path: str) -> None:
    """Neither the folder's other files, nor what is above it, nor what is absent."""
    code, fields, body = ask(folder, path)
    assert code == 404
    assert b"secret" not in body
    assert fields["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/tile/entries/000", 410),
        ("/tile/entries/001", 410),
        ("/tile/entries/001.p/7", 410),
        ("/tile/entries/002", 404),
        ("/tile/entries/x002/000", 404),
        ("/tile/entries/x001/067", 200),
        ("/tile/0/000", 404),
        ("/tile/0/000.p/7", 200),
    ],
)
def test_entries_that_were_pruned_are_gone(folder: Path, path: str, code: int) -> None:
    """Only bundles wholly below the minimum index; hashes are kept."""
    pruned = TrailStatus("log.example/t", 900, 0.5, True, None, (), 600)
    found, fields, body = ask(folder, path, pruned)
    assert found == code
    if code == 410:
        assert (
            "minimum index of the trail is 600" in json.loads(body)["error"]["message"]
        )
        assert fields["cache-control"] == "no-store"


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    """No tile is: whatever stands there is not sent."""
    (folder / "tile/0/000").write_bytes(b"")
    with (folder / "tile/0/000").open("r+b") as file:
        file.truncate(17 * 1024 * 1024)
    assert ask(folder, "/tile/0/000")[0] == 503


def test_the_status_tells_how_the_trail_is(folder: Path) -> None:
    """A trail that stopped is told, and the gateway is ready all the same."""
    document = json.loads(ask(folder, "/api/status", DAMAGED)[2])
    assert document["trail"]["problem"] == "tile/0/000 was changed"
    assert document["trail"]["is_running"] is False
    assert document["problems"] == []
    assert ask(folder, "/readyz", DAMAGED)[0] == 200
