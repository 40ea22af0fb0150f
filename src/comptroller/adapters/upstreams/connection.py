"""One connection to a provider: sends one request at a time, hands on its reply.

HTTP/1.1 after RFC 9112. llhttp (through httptools) parses; it is strict.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from comptroller.engine.ports import ReplySink, UpstreamFailure, UpstreamRequest

HEAD_BYTES_MAX: Final = 64 * 1024
_NO_BODY: Final = (204, 304)


class _UnaskedError(Exception):
    """Stops the parser at bytes behind the end of a reply."""


class Keeper(Protocol):
    """Who keeps connections between calls."""

    now_s: Callable[[], float]
    unsent_bytes: int
    """Of bodies that are not in the kernel's hands yet."""

    def give_back(self, connection: UpstreamConnection) -> None:
        """Takes a connection back for the next call."""

    def forget(self, connection: UpstreamConnection) -> None:
        """Drops a connection that is closed."""


class UpstreamConnection(asyncio.Protocol):
    """A pooled connection; knows at most one call at a time.

    Its lane owns it: the lane hands it a call, it hands itself back when the
    reply is whole and the connection may be used again.
    """

    def __init__(self, lane: Keeper) -> None:
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._sink: ReplySink | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_done = False
        self._framed = False
        self._ended = False
        self._again = False
        self._idle_timeout_s = 0.0
        self._body_bytes = 0
        self._unsent_bytes = 0
        self._arrived: Callable[[int], list[tuple[int, int]]]
        self.deadline_s = 0.0
        """Loop time at which the call under way, or the idleness, is too old."""

    # -- the lane's side ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        # uvloop's transports have the interface, not the base class.
        self._transport = cast("asyncio.Transport", transport)
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._arrived = poll.poll

    def is_clean(self) -> bool:
        """Whether nothing has come behind the last reply, not even its end.

        Asked of the kernel, for the event loop may not have read it yet: the next
        request's client would be given it as the reply.
        """
        return not self._arrived(0)

    @property
    def usable(self) -> bool:
        """Whether a request may be written: open and idle."""
        transport = self._transport
        return (
            transport is not None and not transport.is_closing() and self._sink is None
        )

    def send(self, request: UpstreamRequest, sink: ReplySink, now_s: float) -> None:
        """Writes a request; its reply goes to the sink."""
        assert self._transport is not None  # noqa: S101
        self._idle_timeout_s = request.idle_timeout_s
        self._body_bytes = len(request.body)
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._headers = []
        self._head_bytes = 0
        self._head_done = self._framed = self._ended = False
        self.deadline_s = now_s + request.first_byte_timeout_s
        if len(request.body) < HEAD_BYTES_MAX:
            self._transport.write(request.head + request.body)
        else:
            self._transport.write(request.head)
            self._transport.write(request.body)

    def close(self) -> None:
        """Closes an idle connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- UpstreamCall ------------------------------------------------------

    def pause(self) -> None:
        """Stops reading; the provider feels back-pressure."""
        transport = self._transport
        if self._sink is None:
            return  # the reply is whole: the next call must not wait for this client
        if transport is not None and not transport.is_closing():
            self.deadline_s = math.inf  # the wait is ours, not the provider's
            transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.deadline_s = self._lane.now_s() + self._idle_timeout_s
        transport.resume_reading()

    def abort(self) -> bool:
        """Ends the call under way; its sink hears nothing more."""
        if self._sink is not None:
            self._drop()
        return True

    def expire(self) -> None:
        """Ends whatever has passed its deadline."""
        if self._sink is None:
            self.close()
        else:
            what = "in the reply" if self._head_done else "for the first byte"
            self._fail("timeout", f"the provider sent nothing {what} in time")

    # -- asyncio.Protocol --------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; what it finds goes to the sink."""
        parser = self._parser
        if self._sink is None or parser is None:
            # An idle connection that speaks is out of step with us.
            self.close()
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("garbage", "the provider switched protocols")
            return
        except httptools.HttpParserError as error:
            if not self._ended:
                self._fail("garbage", f"the provider's reply is not HTTP: {error}")
                return
            self._again = False  # the reply is whole; what follows it is not ours
        if self._sink is None:
            return  # aborted by its sink
        if self._ended:
            self._finish()
        elif not self._head_done and self._head_bytes > HEAD_BYTES_MAX:
            self._fail("too_large", "the head of the provider's reply is too large")
        elif self._head_done and self.deadline_s != math.inf:
            self.deadline_s = self._lane.now_s() + self._idle_timeout_s

    def pause_writing(self) -> None:
        """The provider takes the body more slowly than the client gave it."""
        self._note_unsent(self._body_bytes)

    def resume_writing(self) -> None:
        """What little is left fits the kernel's buffer."""
        self._note_unsent(0)

    def _note_unsent(self, size: int) -> None:
        self._lane.unsent_bytes += size - self._unsent_bytes
        self._unsent_bytes = size

    def eof_received(self) -> bool:
        """The provider half-closed: nothing more will come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the reply: whole if its end was the connection's, else broken."""
        self._note_unsent(0)
        self._lane.forget(self)
        self._parser = None  # it refers to us: a cycle, which is collected seldom
        sink = self._sink
        if sink is None:
            return
        self._sink = None
        if self._head_done and not self._framed and exc is None:
            sink.on_end()  # RFC 9112 §6.3: delimited by the close
        else:
            detail = "the provider closed the connection before the reply was whole"
            sink.on_failed(UpstreamFailure("reset", detail, sent=True))

    # -- llhttp callbacks --------------------------------------------------

    def on_message_begin(self) -> None:
        """A second reply, which nobody asked for, is not handed on to anyone."""
        if self._ended:
            raise _UnaskedError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collects a header; trailers are dropped."""
        if not self._head_done:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hands on the head, unless it is informational (1xx)."""
        assert self._parser is not None  # noqa: S101
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers = []
            return
        self._head_done = True
        for name, _ in self._headers:
            if name.lower() in {b"content-length", b"transfer-encoding"}:
                self._framed = True
        if status in _NO_BODY:
            self._framed = True
        self._again = self._parser.should_keep_alive() and self._framed
        if self._sink is not None:
            self._sink.on_head(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Hands on bytes of the body."""
        if self._sink is not None:
            self._sink.on_data(data)

    def on_message_complete(self) -> None:
        """Notes the end; an informational reply is not one."""
        if self._head_done:
            self._ended = True

    # -- ends --------------------------------------------------------------

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        self._parser = None
        transport = self._transport
        if self._again and transport is not None:
            if self.deadline_s == math.inf:
                transport.resume_reading()  # paused by a client that is served now
            self._lane.give_back(self)
        else:
            self.close()
        if sink is not None:
            sink.on_end()

    def _fail(self, code: str, detail: str) -> None:
        sink = self._sink
        self._drop()
        if sink is not None:
            sink.on_failed(UpstreamFailure(code, detail, sent=True))

    def _drop(self) -> None:
        self._sink = None
        self._parser = None
        self.close()
