"""A provider that streams: 50 chunks a reply, evenly spaced; `stream_upstream.py PORT`.

The spacing is the port's query: `GET /set?gap_ms=10`.
"""

from __future__ import annotations

import asyncio
import re
import sys

import httptools
import uvloop

CHUNKS = 50
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nCache-Control: no-cache\r\n\r\n"
)
_SHARED = (
    b'"id":"chatcmpl-0000000001","object":"chat.completion.chunk",'
    b'"created":1760000000,"model":"bench-stream","system_fingerprint":"fp_bench"'
)


def _event(rest: bytes) -> bytes:
    data = b"data: {%b,%b}\n\n" % (_SHARED, rest)
    return b"%x\r\n%b\r\n" % (len(data), data)


EVENTS = [
    _event(
        b'"choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,'
        b'"finish_reason":null}]' % i
    )
    for i in range(CHUNKS)
]
LAST = (
    _event(b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]')
    + _event(
        b'"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,'
        b'"total_tokens":150}'
    )
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


class Streamer(asyncio.Protocol):
    """One connection; every POST gets a stream."""

    gap_s = 0.010

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """Stops streaming."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Feeds the parser."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Notes the target."""
        self._url = url

    def on_message_complete(self) -> None:
        """Begins a stream, or sets the gap."""
        gap = re.search(rb"gap_ms=(\d+)", self._url)
        if gap is None:
            self._write(HEAD)
            self._step(0)
            return
        Streamer.gap_s = int(gap[1]) / 1000
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _step(self, number: int) -> None:
        if number == CHUNKS:
            self._write(LAST)
            return
        self._write(EVENTS[number])
        loop = asyncio.get_running_loop()
        loop.call_later(Streamer.gap_s, self._step, number + 1)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main() -> None:
    """Serves until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Streamer, "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
