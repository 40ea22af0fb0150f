"""What a provider sends unasked is nobody's reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import uvloop

from comptroller.adapters.upstreams.pool import UpstreamPool
from comptroller.engine.ports import (
    UpstreamFailure,
    UpstreamRequest,
    UpstreamTarget,
)
from comptroller.testing.upstream import Talk, answering, scripted_upstream, whole


class WholeSink:
    """Takes one reply."""

    def __init__(self) -> None:
        self._data = b""
        self.ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Any head."""

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._data += data

    def on_end(self) -> None:
        """The body is whole."""
        self.ended.set_result(self._data)

    def on_failed(self, failure: UpstreamFailure) -> None:
        """There is no body."""
        self.ended.set_result(failure.code.encode())


@pytest.mark.parametrize(
    "new_loop",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ],
)
def test_a_second_reply_never_reaches_the_next_request(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Bytes that wait unread behind a reply cost the connection, and are dropped."""
    more = threading.Event()
    sent = threading.Event()

    def twice(talk: Talk) -> None:
        talk.send(whole(b"mine"))
        more.wait(5)
        talk.send(whole(b"stray"))
        sent.set()

    async def call_twice() -> list[bytes]:
        target = UpstreamTarget("127.0.0.1", upstream.port, tls=False, ca_file=None)
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        request = UpstreamRequest(target, head, b"", 5.0, 5.0)
        pool = UpstreamPool()
        ends = []
        for _ in range(2):
            sink = WholeSink()
            pool.call(request, sink)
            ends.append(await asyncio.wait_for(sink.ended, 8))
            more.set()
            sent.wait(5)  # the loop stands still: it cannot read them in between
        await pool.close()
        return ends

    with scripted_upstream(answering(whole(b"yours"))) as upstream:
        upstream.queue(twice)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(call_twice()) == [b"mine", b"yours"]
    assert upstream.connections == 2
