"""HTTP/1.1 requests from bytes, strictly and without I/O.

Written apart from the gateway's own parser on purpose: a framing that only one of
them accepts shows up as a refusal here. RFC 9112 decides.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

HEAD_BYTES_MAX: Final = 256 * 1024
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")

REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}


class MalformedRequestError(Exception):
    """The bytes are not one clear HTTP/1.1 request."""


class Request(NamedTuple):
    """One complete request."""

    method: str
    target: str
    """Path and query as sent."""
    headers: dict[str, str]
    """Lower-case names; repeated fields are joined with a comma."""
    body: bytes
    keep_alive: bool

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Head(NamedTuple):
    """A request's start line and fields."""

    method: str
    target: str
    version: str
    headers: dict[str, str]


def parse_head(head: bytes) -> Head:
    """Reads the bytes before the blank line.

    Raises:
        MalformedRequestError: a line is not what RFC 9112 allows.
    """
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise MalformedRequestError(f"start line {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line:
            raise MalformedRequestError(f"field line {line[:80]!r}")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "content-length" in headers and "transfer-encoding" in headers:
        raise MalformedRequestError("both content-length and transfer-encoding")
    return Head(parts[0], parts[1], parts[2], headers)


def keeps_alive(head: Head) -> bool:
    """Whether another request may follow on the connection."""
    asked = head.headers.get("connection", "").lower()
    return "close" not in asked and (
        head.version == "HTTP/1.1" or "keep-alive" in asked
    )


class RequestReader:
    """Collects bytes of one connection into requests, in order."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Head | None = None

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the connection."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next complete request, or None until more bytes have come.

        Raises:
            MalformedRequestError: the connection cannot be understood any further.
        """
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_BYTES_MAX:
                    raise MalformedRequestError("a head without an end")
                return None
            self._head = parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
        body = self._body(self._head)
        if body is None:
            return None
        head, self._head = self._head, None
        return Request(head.method, head.target, head.headers, body, keeps_alive(head))

    def _body(self, head: Head) -> bytes | None:
        if "transfer-encoding" in head.headers:
            if head.headers["transfer-encoding"].lower() != "chunked":
                raise MalformedRequestError("a transfer-encoding that is not chunked")
            return self._chunked()
        length = head.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise MalformedRequestError(f"content-length {length[:40]!r}")
        size = int(length)
        if size > BODY_BYTES_MAX:
            raise MalformedRequestError("a body over the bound")
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return body

    def _chunked(self) -> bytes | None:
        parts: list[bytes] = []
        at = 0
        while True:
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                return None
            digits = bytes(self._buffer[at:end].partition(b";")[0])
            if CHUNK_SIZE.fullmatch(digits) is None:
                raise MalformedRequestError("a chunk size that is no number")
            size = int(digits, 16)
            start = end + 2
            if size > BODY_BYTES_MAX:
                raise MalformedRequestError("a chunk over the bound")
            if len(self._buffer) < start + size + 2:
                return None
            if self._buffer[start + size : start + size + 2] != b"\r\n":
                raise MalformedRequestError("a chunk longer than it says")
            at = start + size + 2
            if size == 0:
                del self._buffer[:at]
                return b"".join(parts)
            parts.append(bytes(self._buffer[start : start + size]))


def response_head(status: int, fields: dict[str, str]) -> bytes:
    """The status line and fields of a response, blank line included."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)
