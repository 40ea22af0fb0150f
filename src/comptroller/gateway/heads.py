"""Heads: status lines and headers, ours and those that we pass on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from comptroller.core.registry import GatewaySettings
from comptroller.engine.desk import Entitlement
from comptroller.engine.ports import UpstreamRequest
from comptroller.engine.refusals import Refusal
from comptroller.engine.verdicts import Admitted
from comptroller.gateway.inbound import HOP_BY_HOP, HeaderNames, Inbound

REQUEST_ID: Final = b"x-comptroller-request-id"
COST: Final = b"x-comptroller-cost-nano-usd"
ATTEMPTS: Final = b"x-comptroller-attempts"

_PHRASES: Final = {s.value: s.phrase.encode() for s in HTTPStatus}
_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, phrase)
    for status, phrase in _PHRASES.items()
}
_READ: Final = frozenset({b"content-type", b"content-encoding"})
_ORDINARY: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
_REPLY_HEADERS: Final = HeaderNames(HOP_BY_HOP | _READ | {b"content-length"})
_reply_name = _REPLY_HEADERS.withheld


def status_line(status: int) -> bytes:
    """The first line of a reply."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def attempts_line(count: int) -> bytes:
    """The header line that says how many deployments were asked."""
    return b"%b: %d\r\n" % (ATTEMPTS, count)


def upstream_head(
    inbound: Inbound, entitlement: Entitlement, body_bytes: int, tail: str = ""
) -> bytes:
    """The head of the request to the provider: theirs passed on, ours put in.

    Args:
        inbound: the request as the client sent it.
        entitlement: where it goes.
        body_bytes: how large a body follows.
        tail: what its route has behind the entitlement's path.
    """
    query = b"?" + inbound.query if inbound.query else b""
    lines = b"\r\n".join(inbound.lines)
    secret = inbound.secrets[0]
    if secret in lines or secret in query:
        # In a header or a parameter that we do not know as one for credentials.
        lines = b"\r\n".join([one for one in inbound.lines if secret not in one])
        parts = inbound.query.split(b"&")
        query = b"?" + b"&".join([one for one in parts if secret not in one])
    return b"%b %b%b%b HTTP/1.1\r\n%b%b%bcontent-length: %d\r\n\r\n" % (
        inbound.method,
        entitlement.path,
        tail.encode(),
        query,
        entitlement.head,
        lines,
        b"\r\n" if lines else b"",
        body_bytes,
    )


def upstream_request(
    inbound: Inbound, admitted: Admitted, settings: GatewaySettings, tail: str
) -> UpstreamRequest:
    """What is sent to the provider.

    Args:
        inbound: the request as the client sent it.
        admitted: where it goes, with which body.
        settings: how long the provider may take.
        tail: what its route has behind the entitlement's path.
    """
    entitlement = admitted.entitlement
    return UpstreamRequest(
        entitlement.target,
        upstream_head(inbound, entitlement, admitted.body_bytes, tail),
        admitted.body,
        settings.upstream_first_byte_timeout_s,
        settings.upstream_idle_timeout_s,
    )


class ReplyHead(msgspec.Struct, gc=False):
    """What the provider's headers say, and those to pass on."""

    lines: bytes
    content_type: bytes
    coding: bytes


_RATE_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")


def with_rates(lines: bytes, ours: bytes) -> bytes:
    """Header lines with our rate limits in place of the provider's: ours come first."""
    kept = [
        line
        for line in lines.splitlines(keepends=True)
        if not line.lower().startswith(_RATE_PREFIXES)
    ]
    return ours + b"".join(kept)


def retry_after(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The value of a reply's Retry-After; empty: it has none."""
    for name, value in headers:
        if name.lower() == b"retry-after":
            return value
    return b""


def reply_head(
    headers: list[tuple[bytes, bytes]], *, keep_coding: bool = True
) -> ReplyHead:
    """Reads the provider's headers; those of its connection are not passed on.

    Args:
        headers: as the provider sent them.
        keep_coding: whether the body is passed on in its content coding.
    """
    lines = []
    hops: tuple[bytes, ...] = ()
    content_type = coding = b""
    for name, value in headers:
        known = _reply_name(name)
        if known == b"connection":
            if value not in _ORDINARY:
                hops += tuple(part.strip().lower() for part in value.split(b","))
        elif not known:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif known == b"content-type":
            lines.append(b"%b: %b\r\n" % (name, value))
            content_type = value
        elif known == b"content-encoding":
            coding = value
            if keep_coding:
                lines.append(b"%b: %b\r\n" % (name, value))
    if hops:
        named = tuple(name + b":" for name in hops)
        lines = [line for line in lines if not line.lower().startswith(named)]
    return ReplyHead(b"".join(lines), content_type, coding)


def refusal_reply(
    refusal: Refusal, body: bytes, request_id: str, *, keep_alive: bool
) -> bytes:
    """A whole reply that turns a request away."""
    retry, again = b"false", refusal.headers
    if refusal.retry:
        retry = b"true"
        again = b"retry-after: %d\r\n%b" % (refusal.retry_after_s, again)
    return (
        b"%bcontent-type: application/json\r\ncontent-length: %d\r\n"
        b"x-should-retry: %b\r\nx-comptroller-code: %b\r\n%b: %b\r\n%b%b\r\n%b"
        % (
            status_line(refusal.status),
            len(body),
            retry,
            refusal.code.encode(),
            REQUEST_ID,
            request_id.encode(),
            again,
            b"" if keep_alive else b"connection: close\r\n",
            body,
        )
    )


def own_reply(status: int, content_type: bytes, body: bytes, *, close: bool) -> bytes:
    """A whole reply that the gateway gives of itself."""
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        status_line(status),
        content_type,
        len(body),
        b"connection: close\r\n" if close else b"",
        body,
    )
