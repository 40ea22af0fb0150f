from __future__ import annotations

import asyncio
import json

import pytest

from comptroller.console import StatusServer
from comptroller.core.errors import StoreUnavailableError
from comptroller.engine.commands import Status

GOOD = Status(1, 2, 0, 3, "rc-1", [])


async def exchange(server: StatusServer, sent: bytes) -> bytes:
    port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(10):
            got = await reader.read()
        writer.close()
        await writer.wait_closed()
        return got
    finally:
        await server.close()


def ask(status: Status, path: str, method: str = "GET") -> tuple[int, bytes]:
    request = f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    got = asyncio.run(exchange(StatusServer(lambda: status), request))
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_the_status_is_told_as_json() -> None:
    """What the control process knows of itself is one document."""
    code, body = ask(GOOD, "/api/status?x=1")
    assert code == 200
    assert json.loads(body) == {
        "revision": 1,
        "workers": 2,
        "lag_bytes": 0,
        "credentials": 3,
        "rate_card": "rc-1",
        "problems": [],
    }


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (GOOD, 200),
        (Status(0, 0, 0, 0, None, []), 503),
        (Status(1, 2, 0, 3, None, ["projection: the disk is full"]), 503),
    ],
)
def test_ready_means_applied_and_without_problems(status: Status, ready: int) -> None:
    """A load balancer learns when the control process cannot do its work."""
    assert ask(status, "/readyz")[0] == ready
    assert ask(status, "/healthz")[0] == 200
    assert ask(status, "/api/status")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/healthz", 405), ("GET", "/", 404), ("GET", "/api/statusx", 404)],
)
def test_what_is_not_offered_is_refused(method: str, path: str, code: int) -> None:
    """Every other address or method says what there is."""
    assert ask(GOOD, path, method)[0] == code


def test_head_has_no_body() -> None:
    """HEAD is answered like GET, without the document."""
    assert ask(GOOD, "/healthz", "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "sent", [b"", b"GET", b"\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01\x02\r\n\r\n"]
)
def test_nonsense_ends_the_connection_quietly(sent: bytes) -> None:
    """Half requests, huge ones and TLS on a plain port do no harm."""
    got = asyncio.run(exchange(StatusServer(lambda: GOOD), sent))
    assert got[:12] in {b"", b"HTTP/1.1 400"}


def test_a_store_that_does_not_answer_is_an_error_of_its_own() -> None:
    """The error's code is told, with 503."""

    def broken() -> Status:
        raise StoreUnavailableError("the disk is full")

    request = b"GET /api/status HTTP/1.1\r\n\r\n"
    got = asyncio.run(exchange(StatusServer(broken), request))
    assert got.startswith(b"HTTP/1.1 503")
    assert b'"code":"store_unavailable"' in got
