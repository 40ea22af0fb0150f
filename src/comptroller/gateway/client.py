"""One client connection: HTTP/1.1 after RFC 9112, strict, bounded in everything.

llhttp (through httptools) parses. Requests are answered in order; while one is
under way, pipelined ones wait and nothing more is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from typing import Final, TypeAlias, cast

import httptools

from comptroller.engine import refusals
from comptroller.engine.refusals import Refusal
from comptroller.gateway import heads
from comptroller.gateway.bounds import ClientBounds
from comptroller.gateway.exchange import Exchange
from comptroller.gateway.floor import Floor
from comptroller.gateway.inbound import (
    CHARSET,
    CREDENTIALS,
    HEAD_BYTES_MAX,
    HEAD_TOO_LARGE,
    HTTP_VERSION,
    REQUEST_HEADERS,
    RUN,
    TARGET_BYTES_MAX,
    TARGET_TOO_LONG,
    Inbound,
    is_readable,
    is_session,
    not_http,
    secret_of,
    split_target,
    take_key,
    timed_out,
    too_large,
)
from comptroller.wire.refusal import refusal_body
from comptroller.wire.routes import dialect_of

_withheld = REQUEST_HEADERS.withheld
_ORDINARY_HOPS: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"te", b""})
WRITE_BUFFER_BYTES: Final = 64 * 1024


_NO_PARSER: Final = httptools.HttpRequestParser(None)
_Headers: TypeAlias = tuple[list[bytes], list[bytes], bytes, int, list[bytes]]
"""Lines to forward, credentials, content coding, Hosts, what `Connection` names."""


class Phase(IntEnum):
    """What a connection waits for."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    WORK = 3
    LINGER = 4


class ClientConnection(asyncio.Protocol):
    """A client's connection and the request on it that is under way."""

    _lines: list[bytes]
    _secrets: list[bytes]
    _coding: bytes
    _hosts: int
    _hops: list[bytes]
    _headers: _Headers
    """Of a chunked request, while its trailers may come."""
    _chunked: bool
    _expects: bool
    _upgrades: bool
    _run: bytes

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._waiting: deque[Inbound] = deque()
        self._refusal: Refusal | None = None
        self._closing = False
        self.phase = Phase.IDLE
        self._since_tick = floor.tick
        self._blocked_tick: int | None = None
        self._body_bytes = 0
        self._headers = ([], [], b"", 0, [])
        self._forget_request()

    # -- asyncio.Protocol --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the transport; bounds what may wait in it."""
        # uvloop's transports have the interface, not the base class.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._floor.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """The client is gone; what it asked for is still ours to account for."""
        self.transport = None
        self._parser = _NO_PARSER  # ours refers to us: a cycle, collected seldom
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
        elif self._waiting or self._refusal is not None:
            self._floor.soon(self._next)
        elif not self._closing:
            self._read_on()

    def data_received(self, data: bytes) -> None:
        """Parses, then begins the next request if none is under way."""
        if self._closing or self._is_refused:
            return
        if self.phase < Phase.BODY:
            self._head_bytes += len(data)
        rest: bytes | memoryview = data
        while rest:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                self._decline_upgrade()
                continue
            except httptools.HttpParserError as error:
                if self._refusal is None:
                    self._refusal = not_http(error)
            break
        if self.phase is Phase.HEAD and self._head_bytes > HEAD_BYTES_MAX:
            self._refusal = HEAD_TOO_LARGE
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
        elif withheld == b"content-type":
            self._lines.append(b"%b: %b" % (name, value))
            if not is_readable(value):
                self._refusal = CHARSET
        elif is_session(withheld):
            self._lines.append(b"%b: %b" % (name, value))
            self._run = self._run or value
        else:
            self._judge(withheld, value)

    def on_headers_complete(self) -> None:
        """Judges the head before any of the body is taken."""
        self.phase = Phase.BODY
        bytes_max = self._floor.body_bytes_max
        if self._chunked:
            # What comes as a trailer is no header: it must not speak for one.
            self._headers = self._taken()
            self._lines, self._secrets, self._hops = [], [], []
        if self._refusal is not None:
            return
        if self._head_bytes > HEAD_BYTES_MAX and self._head_size() > HEAD_BYTES_MAX:
            self._refusal = HEAD_TOO_LARGE
        elif len(self._target) > TARGET_BYTES_MAX:
            self._refusal = TARGET_TOO_LONG
        elif self._length > bytes_max:
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
        elif self._floor.is_full(self._body_bytes):
            self._refusal = refusals.OVERLOADED
        if self._refusal is not None:
            self._body.clear()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._refusal is not None:
            return  # it was refused before its end
        parser = self._parser
        if self._upgrades and self._body_follows():
            return
        if self._chunked:
            self._take(self._headers)
        method = parser.get_method()
        path, query = split_target(self._target)
        query, keys = take_key(query)
        self._secrets += keys
        version = parser.get_http_version()
        is_1_1 = version == "1.1"
        if not is_1_1 and (version != "1.0" or self._chunked):
            self._refusal = HTTP_VERSION
            return
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
                # HTTP/1.0 clients wait for the close; after CONNECT is no request,
                # and who cannot name the host may be wrong about the rest.
                is_1_1
                and self._hosts == 1
                and method != b"CONNECT"
                and parser.should_keep_alive(),
                is_1_1,
                self._hosts == 1 or not (is_1_1 or self._hosts),
                method == b"HEAD",
                self._run,
            )
        )
        self._floor.body_bytes -= self._body_bytes
        self._forget_request()
        self.phase = Phase.WORK

    # -- for the exchange --------------------------------------------------

    def write(self, data: bytes) -> None:
        """Sends bytes to the client, if it is still there."""
        transport = self.transport
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
        self._since_tick = self._floor.tick
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Closes at once, so that a reply broken off is seen as such."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    # -- for the floor -----------------------------------------------------

    def close_if_idle(self) -> None:
        """Closes a connection that waits for a next request."""
        if self.phase is Phase.IDLE and not self._busy:
            self.close()

    @property
    def _is_refused(self) -> bool:
        # Not asked inline where a callback may refuse meanwhile: mypyc trusts that
        # what was None a moment ago still is.
        return self._refusal is not None

    @property
    def _busy(self) -> bool:
        return self._exchange is not None or bool(self._waiting)

    def sweep(self, tick: int) -> None:
        """Closes what took too long; one tick is a second."""
        bounds = self._floor.bounds
        if self._blocked_tick is not None:
            if tick - self._blocked_tick > bounds.blocked_s:
                self.abort()
        elif self._busy:
            return
        elif tick - self._since_tick > self._allowed_s(bounds):
            self._overdue()
        elif self._floor.stopping:
            self.close_if_idle()

    def _allowed_s(self, bounds: ClientBounds) -> int:
        """How long the present phase may last."""
        if self.phase is Phase.LINGER:
            return bounds.linger_s
        if self._closing:
            return bounds.blocked_s
        if self.phase is Phase.IDLE:
            return bounds.idle_s
        if self.phase is Phase.HEAD:
            return bounds.head_s
        return bounds.body_s + self._body_bytes // bounds.body_bytes_per_s_min

    def _overdue(self) -> None:
        if self._closing:
            self.abort()
        elif self.phase is Phase.IDLE:
            self.close()
        else:
            self._give_up("head" if self.phase is Phase.HEAD else "body")

    # -- inside ------------------------------------------------------------

    def _forget_request(self) -> None:
        self._target = b""
        self._lines = []
        self._secrets = []
        self._coding = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._hosts = 0
        self._length = 0
        self._chunked = False
        self._expects = False
        self._upgrades = False
        self._hops = []
        self._run = b""

    def _judge(self, lower: bytes, value: bytes) -> None:
        """Takes in a header that concerns this connection or the body's form."""
        if lower == b"host":
            self._hosts += 1
        elif lower == b"content-length":
            self._length = int(value)  # llhttp takes digits only, within 64 bits
        elif lower == b"content-encoding":
            self._coding = value
        elif lower == b"expect":
            self._expects = value.strip().lower() == b"100-continue"
        elif lower == b"connection":
            self._hops += [part.strip().lower() for part in value.split(b",")]
        elif lower == RUN:
            self._run = value
        elif lower == b"upgrade":
            self._upgrades = True
        elif lower == b"transfer-encoding":
            self._chunked = True
            if value.strip().lower() != b"chunked":
                self._refusal = refusals.bad_request(
                    "the only Transfer-Encoding understood is 'chunked'"
                )

    def _head_size(self) -> int:
        """Bytes of the head, of what was kept of it."""
        kept = (*self._lines, *self._secrets, self._target)
        return sum(map(len, kept)) + 2 * len(kept)

    def _body_follows(self) -> bool:
        """Whether llhttp takes a request for whole whose body it has not read."""
        return self._parser.should_upgrade() and bool(self._length or self._chunked)

    def _decline_upgrade(self) -> None:
        """Goes on with HTTP/1.1, which a server may always do (RFC 9110 §7.8).

        llhttp stops behind the head of a request that asks for an upgrade, and
        reads no body. JDK clients ask for one with every first request: a new
        parser reads on from a head that says the same about the body.
        """
        old, self._parser = self._parser, httptools.HttpRequestParser(self)
        if self.phase is not Phase.BODY or self._refusal is not None:
            return  # it had no body
        target, taken = self._target, self._taken()
        framing = b"transfer-encoding: chunked"
        if self._chunked:
            taken = self._headers
        else:
            framing = b"content-length: %d" % self._length
        self._expects = self._upgrades = False
        self._parser.feed_data(
            b"%b / HTTP/%b\r\n%b%b\r\n\r\n"
            % (
                old.get_method(),
                old.get_http_version().encode(),
                b"" if old.should_keep_alive() else b"connection: close\r\n",
                framing,
            )
        )
        self._target = target
        self._headers = taken
        if not self._chunked:
            self._take(taken)

    def _taken(self) -> _Headers:
        """What the header lines said."""
        return self._lines, self._secrets, self._coding, self._hosts, self._hops

    def _take(self, headers: _Headers) -> None:
        self._lines, self._secrets, self._coding, self._hosts, self._hops = headers

    def _without_hops(self) -> list[bytes]:
        """The headers to forward, less those that `Connection` names."""
        hops = tuple(n + b":" for n in self._hops if n not in _ORDINARY_HOPS)
        if not hops:
            return self._lines
        return [line for line in self._lines if not line.lower().startswith(hops)]

    def _next(self) -> None:
        """Begins the next request, or ends the connection."""
        if self.transport is None:
            return
        if self._exchange is not None or self._blocked_tick is not None:
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
        if self.transport is not None:
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if self.transport is not None and not self.transport.is_reading():
            self.transport.resume_reading()

    def _give_up(self, what: str) -> None:
        self._turn_away(timed_out(what))

    def _turn_away(self, refusal: Refusal) -> None:
        """Answers what never became a request, and closes."""
        self._refusal = None
        request_id = self._floor.turned_away(refusal.code)
        dialect = dialect_of(split_target(self._target)[0])
        body = refusal_body(
            dialect, refusal.status, refusal.code, refusal.message, request_id
        )
        self.write(heads.refusal_reply(refusal, body, request_id, keep_alive=False))
        self._linger()

    def _linger(self) -> None:
        transport = self.transport
        self._closing = True
        if transport is None or not transport.can_write_eof():
            self.close()
            return
        transport.write_eof()
        self._read_on()
        self.phase = Phase.LINGER
        self._since_tick = self._floor.tick
