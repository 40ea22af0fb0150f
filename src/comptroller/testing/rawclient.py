"""A raw client: sends the bytes a test wants, and reads HTTP/1.1 replies strictly."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Reply(NamedTuple):
    """A reply as it arrived."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool
    """Whether it ended as its framing says."""

    def value(self, name: bytes) -> bytes | None:
        """The value of a header; None: absent."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    @property
    def request_id(self) -> str:
        """The id under which the gateway recorded the request."""
        return (self.value(b"x-comptroller-request-id") or b"").decode()


class RawClient:
    """One connection to the gateway."""

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, timeout_s: float = 15
    ) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), timeout_s)
        if tls is not None:
            self._link = tls.wrap_socket(self._link, server_hostname="127.0.0.1")
        self._unread = b""
        self._ended = False

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self._link.sendall(data)

    def half_close(self) -> None:
        """Says that nothing more will be sent."""
        self._link.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leaves in order."""
        self._link.close()

    def reset(self) -> None:
        """Leaves with a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._link.close()

    def read_until(self, mark: bytes) -> bytes:
        """Reads up to and including a mark, or to the end of the connection."""
        while mark not in self._unread and self._more():
            pass
        before, found, self._unread = self._unread.partition(mark)
        return before + found

    def is_closed(self) -> bool:
        """Waits until the gateway closes; False: it sent something instead."""
        return not self._unread and not self._more()

    def read_head(self) -> Reply:
        """Reads the head of a reply; its body is left unread.

        Raises:
            EOFError: the connection ended before a head did.
        """
        head = self.read_until(b"\r\n\r\n")
        if not head.endswith(b"\r\n\r\n"):
            raise EOFError(f"the connection ended; read {head!r}")
        start, *lines = head[:-4].split(b"\r\n")
        pairs = [line.partition(b": ") for line in lines]
        version, status, _ = start.split(b" ", 2)
        if version != b"HTTP/1.1":
            raise ValueError(f"not HTTP/1.1: {start!r}")
        return Reply(int(status), [(k, v) for k, _, v in pairs], b"", is_whole=False)

    def read(self, *, is_head: bool = False) -> Reply:
        """Reads a whole reply, informational ones included.

        Raises:
            EOFError: the connection ended before a head did.
        """
        reply = self.read_head()
        if reply.status < 200 or is_head:
            return reply._replace(is_whole=True)
        if reply.value(b"transfer-encoding") == b"chunked":
            body, is_whole = self._chunks()
        elif (size := reply.value(b"content-length")) is not None:
            body = self._exactly(int(size))
            is_whole = len(body) == int(size)
        else:
            while self._more():
                pass
            body, self._unread, is_whole = self._unread, b"", True
        return reply._replace(body=body, is_whole=is_whole)

    def read_chunk(self) -> bytes:
        """Reads one chunk of a chunked body; empty: the last, or a broken end."""
        line = self.read_until(b"\r\n")
        if not line.endswith(b"\r\n"):
            return b""
        data = self._exactly(int(line, 16))
        self._exactly(2)
        return data

    def _chunks(self) -> tuple[bytes, bool]:
        parts: list[bytes] = []
        while True:
            line = self.read_until(b"\r\n")
            if not line.endswith(b"\r\n"):
                return b"".join(parts), False
            size = int(line, 16)
            data = self._exactly(size + 2)
            parts.append(data[:size])
            if len(data) < size + 2:
                return b"".join(parts), False
            if size == 0:
                return b"".join(parts), True

    def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size and self._more():
            pass
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _more(self) -> bool:
        if self._ended:
            return False
        try:
            data = self._link.recv(262_144)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self._ended = not data
        self._unread += data
        return bool(data)


def request(
    target: str, body: bytes = b"", *headers: str, method: str = "POST"
) -> bytes:
    """The bytes of a request with a Host and the body's length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


@contextmanager
def raw_client(
    port: int, tls: ssl.SSLContext | None = None, timeout_s: float = 15
) -> Iterator[RawClient]:
    """A connection while the block lasts."""
    client = RawClient(port, tls, timeout_s)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError):
            client.close()
