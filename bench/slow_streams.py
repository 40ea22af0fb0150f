"""Opens many slow streams at once: `slow_streams.py PORT KEY COUNT`."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop


class Reader(asyncio.Protocol):
    """One stream; done when its last chunk is there."""

    def __init__(self, request: bytes, done: asyncio.Future[bool]) -> None:
        self._request = request
        self._done = done
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request."""
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Waits for the end."""
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n") and not self._done.done():
            self._done.set_result(b"[DONE]" in self._tail)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """A stream broken off has failed."""
        if not self._done.done():
            self._done.set_result(False)


async def main() -> None:
    """Opens the streams over two seconds and waits for all of them."""
    port, key, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    body = json.dumps(
        {
            "model": "bench-stream",
            "messages": [{"role": "user", "content": "hello there, " * 40}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(count):
        end: asyncio.Future[bool] = loop.create_future()
        await loop.create_connection(
            lambda end=end: Reader(request, end),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        ends.append(end)
        await asyncio.sleep(2 / count)
    whole = sum(await asyncio.gather(*ends))
    print(json.dumps({"whole": whole, "of": count}))


if __name__ == "__main__":
    uvloop.run(main())
