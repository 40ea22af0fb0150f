"""One client connection: HTTP/1.1 after RFC 9112, strict, bounded in everything.

llhttp (through httptools) parses. Requests are answered in order; while one is
under way, pipelined ones wait and nothing more is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from typing import Final, cast

import httptools

from comptroller.engine import refusals
from comptroller.engine.refusals import Refusal
from comptroller.gateway import heads
from comptroller.gateway.exchange import Exchange
from comptroller.gateway.floor import Floor
from comptroller.gateway.inbound import (
    CREDENTIALS,
    REQUEST_HEADERS,
    Inbound,
    secret_of,
    split_target,
    take_key,
    too_large,
)
from comptroller.wire.refusal import refusal_body
from comptroller.wire.routes import dialect_of

HEAD_BYTES_MAX: Final = 64 * 1024
TARGET_BYTES_MAX: Final = 8 * 1024
IDLE_S: Final = 75
HEAD_S: Final = 10
BODY_S: Final = 30
BODY_BYTES_PER_S_MIN: Final = 16 * 1024
BLOCKED_S: Final = 60
_withheld = REQUEST_HEADERS.withheld
_ORDINARY_HOPS: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te", b""})
LINGER_S: Final = 2
"""How long what a refused client still sends is read and thrown away: closing with
unread bytes would reset the connection and destroy the refusal on its way."""
WRITE_BUFFER_BYTES: Final = 64 * 1024


class Phase(IntEnum):
    """What a connection waits for."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    WORK = 3
    LINGER = 4


class ClientConnection(asyncio.Protocol):
    """A client's connection and the request on it that is under way."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._waiting: deque[Inbound] = deque()
        self._refusal: Refusal | None = None
        self._closing = False
        self.phase = Phase.IDLE
        self._since_tick = floor.tick
        self._blocked_tick: int | None = None
        self._body_bytes = 0
        self._hosts = 0
        self._forget_request()

    # -- asyncio.Protocol --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport; bounds what may wait in it."""
        # uvloop's transports have the interface, not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._floor.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """The client is gone; what it asked for is still ours to account for."""
        self._transport = None
        self._floor.connections.discard(self)
        self._floor.body_bytes -= self._body_bytes
        self._body_bytes = 0
        self._waiting.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_left()

    def eof_received(self) -> bool:
        """A half-closed client still gets the reply to what it asked."""
        self._closing = True
        if self._exchange is None and not self._waiting:
            return False
        return self._floor.plain

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        self._blocked_tick = self._floor.tick
        if self._exchange is not None:
            self._exchange.client_blocked()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._blocked_tick = None
        if self._exchange is not None:
            self._exchange.client_ready()

    def data_received(self, data: bytes) -> None:
        """Parses, then begins the next request if none is under way."""
        if self._closing or self._refusal is not None:
            return
        if self.phase < Phase.BODY:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An upgrade may be declined (RFC 9110 §7.8): go on with HTTP/1.1.
            self._parser = httptools.HttpRequestParser(self)
            offset = upgrade.args[0] if upgrade.args else len(data)
            if offset < len(data):
                self.data_received(data[offset:])
                return
        except httptools.HttpParserError as error:
            if self._refusal is None:
                self._refusal = _not_http(error)
        if self.phase is Phase.HEAD and self._head_bytes > HEAD_BYTES_MAX:
            self._refusal = Refusal(
                431,
                "head_too_large",
                f"The request's head is larger than {HEAD_BYTES_MAX} bytes.",
            )
        self._next()

    # -- llhttp callbacks --------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.phase = Phase.HEAD
        self._since_tick = self._floor.tick

    def on_url(self, url: bytes) -> None:
        """Collects the request target, which may arrive in parts."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Sorts a header: forwarded, ours, or a credential."""
        withheld = _withheld(name)
        if not withheld:
            self._lines.append(b"%b: %b" % (name, value))
        elif withheld in CREDENTIALS:
            self._secrets.append(secret_of(withheld, value))
        else:
            self._judge(withheld, value)

    def on_headers_complete(self) -> None:
        """Judges the head before any of the body is taken."""
        self.phase = Phase.BODY
        bytes_max = self._floor.body_bytes_max
        if self._length > bytes_max:
            self._refusal = too_large(bytes_max)
        elif self._expects and self._length + self._chunked and not self._busy:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Collects the body, within the limits of the request and the worker."""
        self._body.append(data)
        self._body_bytes += len(data)
        self._floor.body_bytes += len(data)
        if self._body_bytes > self._floor.body_bytes_max:
            self._refusal = too_large(self._floor.body_bytes_max)
        elif self._floor.body_bytes > self._floor.body_bytes_all_max:
            self._refusal = refusals.OVERLOADED
        if self._refusal is not None:
            self._body.clear()

    def on_message_complete(self) -> None:
        """A request is whole."""
        parser = self._parser
        method = parser.get_method()
        path, query = split_target(self._target)
        query, key = take_key(query)
        if key is not None:
            self._secrets.append(key)
        is_1_1 = parser.get_http_version() == "1.1"
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._waiting.append(
            Inbound(
                method,
                path,
                query,
                self._without_hops(),
                self._secrets,
                self._coding,
                body,
                parser.should_keep_alive(),
                is_1_1,
                self._hosts == 1 or not is_1_1,
                method == b"HEAD",
            )
        )
        self._floor.body_bytes -= self._body_bytes
        self._forget_request()
        self.phase = Phase.WORK

    # -- for the exchange --------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends bytes to the client, if it is still there."""
        transport = self._transport
        if transport is not None and data:
            transport.write(data)

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not read fast enough."""
        return self._blocked_tick is not None

    def done(self, *, keep_alive: bool) -> None:
        """The request under way is answered; the next may begin."""
        self._exchange = None
        if not keep_alive or self._floor.stopping:
            self.close()
            return
        if self.phase is Phase.WORK:
            self.phase = Phase.IDLE
        self._since_tick = self._floor.tick
        if self._waiting or self._refusal is not None:
            self._floor.soon(self._next)
        elif self._closing:
            self.close()
        else:
            self._read_on()

    def close(self) -> None:
        """Closes after what was written is sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once, so that a reply broken off is seen as such."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # -- for the floor -----------------------------------------------------

    def close_if_idle(self) -> None:
        """Closes a connection that waits for a next request."""
        if self.phase is Phase.IDLE and not self._busy:
            self.close()

    @property
    def _busy(self) -> bool:
        return self._exchange is not None or bool(self._waiting)

    def sweep(self, tick: int) -> None:
        """Closes what took too long; one tick is a second."""
        waited = tick - self._since_tick
        if self._blocked_tick is not None and tick - self._blocked_tick > BLOCKED_S:
            self.abort()
        elif self._exchange is not None:
            return
        elif self.phase is Phase.LINGER:
            if waited > LINGER_S:
                self.abort()
        elif self.phase is Phase.IDLE:
            if waited > IDLE_S or self._floor.stopping:
                self.close()
        elif self.phase is Phase.HEAD:
            if waited > HEAD_S:
                self._give_up("head")
        elif waited > BODY_S + self._body_bytes // BODY_BYTES_PER_S_MIN:
            self._give_up("body")

    # -- inside ------------------------------------------------------------

    def _forget_request(self) -> None:
        self._target = b""
        self._lines: list[bytes] = []
        self._secrets: list[bytes] = []
        self._coding = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._hosts = 0
        self._length = 0
        self._chunked = False
        self._expects = False
        self._hops: list[bytes] = []

    def _judge(self, lower: bytes, value: bytes) -> None:
        """Takes in a header that concerns this connection or the body's form."""
        if lower == b"host":
            self._hosts += 1
        elif lower == b"content-length":
            self._length = int(value) if value.isdigit() else 0
        elif lower == b"content-encoding":
            self._coding = value
        elif lower == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif lower == b"connection":
            self._hops += [part.strip().lower() for part in value.split(b",")]
        elif lower == b"transfer-encoding":
            self._chunked = True
            if value.lower() != b"chunked":
                self._refusal = refusals.bad_request(
                    "the only Transfer-Encoding understood is 'chunked'"
                )

    def _without_hops(self) -> list[bytes]:
        """The headers to forward, less those that `Connection` names."""
        hops = tuple(n + b":" for n in self._hops if n not in _ORDINARY_HOPS)
        if not hops:
            return self._lines
        return [line for line in self._lines if not line.lower().startswith(hops)]

    def _next(self) -> None:
        """Begins the next request, or ends the connection."""
        if self._exchange is not None or self._transport is None:
            if self._waiting or self._refusal is not None:
                self._stop_reading()
            return
        if self._waiting:
            inbound = self._waiting.popleft()
            if self._waiting:
                self._stop_reading()
            exchange = self._exchange = Exchange(self._floor, self, inbound)
            exchange.begin()
        elif self._refusal is not None:
            self._turn_away(self._refusal)

    def _stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def _give_up(self, what: str) -> None:
        self._turn_away(
            Refusal(
                408,
                "request_timeout",
                f"The request's {what} did not arrive in time.",
                retry=True,
            )
        )

    def _turn_away(self, refusal: Refusal) -> None:
        """Answers what never became a request, and closes."""
        request_id = self._floor.turned_away(refusal.code)
        dialect = dialect_of(split_target(self._target)[0])
        body = refusal_body(
            dialect, refusal.status, refusal.code, refusal.message, request_id
        )
        self.write(heads.refusal_reply(refusal, body, request_id, keep_alive=False))
        self._linger()

    def _linger(self) -> None:
        transport = self._transport
        self._closing = True
        if transport is None or not transport.can_write_eof():
            self.close()
            return
        transport.write_eof()
        self._read_on()
        self.phase = Phase.LINGER
        self._since_tick = self._floor.tick


def _not_http(error: httptools.HttpParserError) -> Refusal:
    return refusals.bad_request(f"this is not HTTP/1.1 as RFC 9112 has it: {error}")
