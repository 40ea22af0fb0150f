"""Back-pressure of one client and the connection that it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib

from comptroller.adapters.upstreams.pool import UpstreamPool
from comptroller.engine.ports import (
    UpstreamCall,
    UpstreamFailure,
    UpstreamRequest,
    UpstreamTarget,
)

SIZE = 16 * 1024 * 1024
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class PausingSink:
    """Takes a reply, and pauses its call when the reply has ended."""

    def __init__(self) -> None:
        self.call: UpstreamCall | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head that was sent."""
        assert (status, len(headers)) == (200, 1)

    def on_data(self, data: bytes) -> None:
        """The body that was sent."""
        assert data == b"ok"

    def on_end(self) -> None:
        """As when the last bytes fill a slow client's buffer."""
        assert self.call is not None
        self.call.pause()
        self.ended.set_result("whole")

    def on_failed(self, failure: UpstreamFailure) -> None:
        """No reply, or a part of one."""
        self.ended.set_result(failure.code)


def test_a_slow_client_does_not_stop_the_next_call() -> None:
    """A connection paused at the end of a reply still carries the next reply."""
    connections = []

    async def serve(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        connections.append(out)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                out.write(REPLY)
        out.transport.abort()

    async def call_twice() -> list[str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = UpstreamTarget("127.0.0.1", port, tls=False, ca_file=None)
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        request = UpstreamRequest(target, head, b"", 5.0, 5.0)
        pool = UpstreamPool()
        ends = []
        for _ in range(2):
            sink = PausingSink()
            sink.call = pool.call(request, sink)
            ends.append(await asyncio.wait_for(sink.ended, 8))
        await pool.close()
        server.close()
        await asyncio.sleep(0.05)  # the server's side sees the close
        return ends

    assert asyncio.run(call_twice()) == ["whole", "whole"]
    assert len(connections) == 1


def test_what_a_provider_does_not_take_is_counted() -> None:
    """A body counts while it waits for a connection or for the provider to read."""

    async def serve(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await reader.readexactly(SIZE)
        out.transport.abort()

    async def call() -> list[int]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        target = UpstreamTarget("127.0.0.1", port, tls=False, ca_file=None)
        request = UpstreamRequest(target, b"", b"x" * SIZE, 5.0, 5.0)
        pool = UpstreamPool()
        sink = PausingSink()
        pool.call(request, sink)
        counted = [pool.unsent_bytes]
        await asyncio.sleep(0.05)
        counted.append(pool.unsent_bytes)
        await asyncio.wait_for(sink.ended, 8)
        counted.append(pool.unsent_bytes)
        await pool.close()
        server.close()
        return counted

    assert asyncio.run(call()) == [SIZE, SIZE, 0]
