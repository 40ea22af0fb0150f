"""Outward: what one request's client is sent, while it is there."""

from __future__ import annotations

from asyncio import Transport
from typing import Final, Protocol

from comptroller.engine.refusals import Refusal
from comptroller.gateway import heads
from comptroller.gateway.inbound import Inbound
from comptroller.gateway.local import Answer
from comptroller.wire.refusal import cut_event, refusal_body
from comptroller.wire.routes import Route, dialect_of

REDACTED: Final = b"[credential of the gateway]"


def without(key: bytes, data: bytes) -> bytes:
    """A reply without the provider's credential: an error may repeat it."""
    return data.replace(key, REDACTED) if key and key in data else data


class Client(Protocol):
    """What an exchange asks of its client's connection."""

    @property
    def transport(self) -> Transport | None:
        """Its connection; None: it is gone."""

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not read fast enough."""

    def write(self, data: bytes) -> None:
        """Sends bytes, if the client is still there."""

    def done(self, *, keep_alive: bool) -> None:
        """The request is answered."""

    def abort(self) -> None:
        """Closes at once, so that a reply broken off is seen as such."""


class Outward:
    """One reply on its way to a client; says nothing any more to one that left."""

    def __init__(self, client: Client, inbound: Inbound, request_id: str) -> None:
        self.client: Client | None = client
        """None: it left."""
        self._keep_alive = inbound.keep_alive
        self._is_head = inbound.is_head
        self._chunked_allowed = inbound.chunked_allowed
        self._path = inbound.path
        self.request_id = request_id
        """Of the attempt that is answered."""
        self.attempts = 1
        """How many deployments were asked."""
        self._chunked = False

    @property
    def transport(self) -> Transport | None:
        """The client's connection; None: it left."""
        return self.client.transport if self.client is not None else None

    def answer(self, answer: Answer) -> None:
        """Sends a whole reply of the gateway's own."""
        client = self.client
        if client is None:
            return
        keep_alive = self._keep_alive
        reply = heads.own_reply(
            answer.status, answer.content_type, answer.body, close=not keep_alive
        )
        if self._is_head:
            reply = reply[: reply.index(b"\r\n\r\n") + 4]
        client.write(reply)
        client.done(keep_alive=keep_alive)

    def refuse(self, refusal: Refusal, route: Route | None) -> None:
        """Turns the request away in its dialect."""
        client = self.client
        if client is None:
            return
        dialect = route.dialect if route is not None else dialect_of(self._path)
        message = f"{refusal.message} Request {self.request_id}."
        body = refusal_body(
            dialect, refusal.status, refusal.code, message, self.request_id
        )
        keep_alive = self._keep_alive
        if self.attempts > 1:
            headers = refusal.headers + heads.attempts_line(self.attempts)
            refusal = refusal._replace(headers=headers)
        reply = heads.refusal_reply(
            refusal, body, self.request_id, keep_alive=keep_alive
        )
        if self._is_head:
            reply = reply[: len(reply) - len(body)]
        client.write(reply)
        client.done(keep_alive=keep_alive)

    def begin(self, status: int, head: bytes) -> None:
        """Sends the head of a reply that goes on in pieces."""
        client = self.client
        if client is None:
            return
        self._chunked = self._chunked_allowed
        framing = b"transfer-encoding: chunked\r\n"
        if not self._chunked:
            framing = b"connection: close\r\n"
        client.write(
            b"%b%b%b%b\r\n" % (heads.status_line(status), head, self._ours(), framing)
        )

    def send(self, data: bytes) -> None:
        """Sends the next piece."""
        client = self.client
        if client is None or not data:
            return
        client.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """Ends a reply that went out in pieces."""
        client = self.client
        if client is None:
            return
        if self._chunked:
            client.write(b"0\r\n\r\n")
        client.done(keep_alive=self._keep_alive and self._chunked)

    def whole(self, status: int, head: bytes, body: bytes, cost: int | None) -> None:
        """Sends a whole reply; its cost in nano-USD where it is known."""
        client = self.client
        if client is None:
            return
        said = b""
        if cost is not None:
            said = b"%b: %d\r\n" % (heads.COST, cost)
        keep_alive = self._keep_alive
        client.write(
            b"%b%b%b%bcontent-length: %d\r\n%b\r\n%b"
            % (
                heads.status_line(status),
                head,
                self._ours(),
                said,
                len(body),
                b"" if keep_alive else b"connection: close\r\n",
                body,
            )
        )
        client.done(keep_alive=keep_alive)

    def break_off(self) -> None:
        """Ends a reply in a way that no one takes for its end."""
        if self.client is not None:
            self.client.abort()

    def cut(self, refusal: Refusal, route: Route) -> None:
        """Ends a stream of events with one more, in its dialect, that says why."""
        client = self.client
        if client is None:
            return
        message = f"{refusal.message} Request {self.request_id}."
        self.send(cut_event(route.dialect, route.operation, refusal.code, message))
        if self._chunked:
            client.write(b"0\r\n\r\n")
        client.done(keep_alive=False)

    def _ours(self) -> bytes:
        """The header lines that every reply of a provider gets."""
        line = b"%b: %b\r\n" % (heads.REQUEST_ID, self.request_id.encode())
        return line + heads.attempts_line(self.attempts) if self.attempts > 1 else line
