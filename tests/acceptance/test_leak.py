"""200,000 requests of several kinds through one worker, with flat memory."""

import asyncio
from pathlib import Path
from typing import cast

import uvloop

from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.testing.rawclient import request
from comptroller.testing.upstream import (
    CHAT,
    CHAT_END,
    CHAT_USAGE_EVENT,
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    chat_event,
    chunk,
    whole,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    STREAM_BODY,
    Served,
    WorkerProcess,
    provider,
)

WARM = 20_000
ALL = 200_000
CONNECTIONS = 32
GROWTH_MAX = 1.05
PLAIN = whole(CHAT)
STREAM = (
    STREAM_HEAD
    + chunk(chat_event("Hello") + CHAT_END)
    + chunk(CHAT_USAGE_EVENT + DONE)
    + LAST_CHUNK
)


class Answering(asyncio.Protocol):
    """The upstream: a fixed reply to each request, which comes in one piece."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        is_stream = b'"stream":true' in data
        self._transport.write(STREAM if is_stream else PLAIN)


class Asking(asyncio.Protocol):
    """A client: one request after the other, in turn of every kind."""

    def __init__(self, kinds: list[tuple[bytes, bytes]], load: "Load") -> None:
        self._kinds = kinds
        self._load = load
        self._asked = 0
        self._end = b""
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the first time."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Asks again when the reply is whole."""
        seen = self._tail + data
        if self._end in seen:
            self._tail = b""
            self._load.answered()
            self._ask()
        else:
            self._tail = seen[-64:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Connects anew after a kind of request that is not answered."""
        if exc is None or self._load.left > 0:
            self._load.again()

    def _ask(self) -> None:
        if self._load.left <= 0:
            self._transport.close()
            return
        self._load.left -= 1
        self._asked += 1
        ask, self._end = self._kinds[self._asked % len(self._kinds)]
        self._transport.write(ask)
        if self._asked % 200 == 0:
            self._load.answered()
            self._transport.abort()  # leaves in the middle of its request


class Load:
    """A closed loop of several clients."""

    def __init__(self, port: int, kinds: list[tuple[bytes, bytes]]) -> None:
        self.left = 0
        self._missing = 0
        self._port = port
        self._kinds = kinds
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, count: int) -> None:
        """Asks so many times and waits for all the answers."""
        self.left = self._missing = count
        self._done.clear()
        for _ in range(CONNECTIONS):
            await self._connect()
        await asyncio.wait_for(self._done.wait(), 280)

    def answered(self) -> None:
        """Counts an answer, or a request that was left."""
        self._missing -= 1
        if self._missing == 0:
            self._done.set()

    def again(self) -> None:
        """Replaces a connection that was left."""
        if self.left > 0:
            task = asyncio.ensure_future(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: Asking(self._kinds, self), "127.0.0.1", self._port
        )


def kinds_of_requests(bearer: str) -> list[tuple[bytes, bytes]]:
    """Requests with the bytes that their replies end with."""
    denied = CHAT_BODY.replace(b'"up"', b'"none"')
    plain = request(CHAT_PATH, CHAT_BODY, bearer)
    return [
        (plain, CHAT[-20:]),
        (request(CHAT_PATH, STREAM_BODY, bearer), LAST_CHUNK),
        (plain, CHAT[-20:]),
        (request(CHAT_PATH, denied, bearer), b'"}}'),
        (request(CHAT_PATH, CHAT_BODY), b'"}}'),
        (request("/v1/models", b"", bearer, method="GET"), b"]}"),
    ]


async def measured(data: Path) -> tuple[int, int]:
    """The worker's memory after the first and after all requests, in bytes."""
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(Answering, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    store = FileSnapshotStore(data / "snapshot.json")
    origin = f"http://127.0.0.1:{port}"
    served = Served(store.publish, {"up": provider("up", origin)})
    worker = await asyncio.to_thread(WorkerProcess, data)
    try:
        await asyncio.sleep(0.5)
        load = Load(worker.port, kinds_of_requests(f"x-api-key: {served.key}"))
        await load.run(WARM)
        first = worker.memory_bytes()
        await load.run(ALL - WARM)
        return first, worker.memory_bytes()
    finally:
        upstream.close()
        assert await asyncio.to_thread(worker.stop) == 0


def count_and_remove(folder: Path) -> tuple[int, int]:
    """How many allowed decisions and how many ends; the journal is large."""
    allowed = ends = 0
    for path in folder.glob("*.jsonl"):
        with path.open("rb") as lines:
            for line in lines:
                is_decided = b'"comptroller.request.decided.v1"' in line
                allowed += is_decided and b'"result":"allow"' in line
                ends += b"request.settled.v1" in line or b"request.released.v1" in line
        path.unlink()
    return allowed, ends


def test_memory_stays_flat_over_200_000_requests(tmp_path: Path) -> None:
    """Whole, streamed, refused and left requests leave nothing behind."""
    first, last = uvloop.run(measured(tmp_path))
    allowed, ends = count_and_remove(tmp_path / "journal")

    print(f"RSS after {WARM}: {first // 1024} KiB, after {ALL}: {last // 1024} KiB")
    assert last < first * GROWTH_MAX
    assert allowed == ends > ALL // 3
