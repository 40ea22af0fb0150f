"""A status server of three addresses, by hand: nothing to import, little to break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import ComptrollerError
from comptroller.engine.commands import Status
from comptroller.engine.replies import Failure

HEAD_BYTES_MAX: Final = 16 * 1024
REQUEST_TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 32

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class _Answer(NamedTuple):
    status: int
    body: bytes


class StatusServer:
    """Serves `/healthz`, `/readyz` and `/api/status`; one request a connection.

    Args:
        status: how the control process is doing now.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str, port: int) -> int:
        """Opens the port; gives its number, which matters when 0 was asked.

        Raises:
            OSError: it cannot be opened.
        """
        self._server = await asyncio.start_server(
            self._accept, host, port, limit=HEAD_BYTES_MAX
        )
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Closes the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await self._answer(reader, writer)
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass  # no whole request in time: nobody to answer
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            answer = _refusal(400, "bad_request", "this is not an HTTP request")
        elif words[0] not in {b"GET", b"HEAD"}:
            answer = _refusal(405, "method_not_allowed", "only GET is answered here")
        else:
            answer = self._page(words[1].partition(b"?")[0])
        body = b"" if words[0] == b"HEAD" else answer.body
        writer.write(
            b"HTTP/1.1 %d %b\r\n"
            b"content-type: application/json\r\n"
            b"content-length: %d\r\n"
            b"cache-control: no-store\r\n"
            b"x-content-type-options: nosniff\r\n"
            b"connection: close\r\n\r\n%b"
            % (
                answer.status,
                _REASONS[answer.status].encode(),
                len(answer.body),
                body,
            )
        )
        await writer.drain()

    def _page(self, path: bytes) -> _Answer:
        if path == b"/healthz":
            return _Answer(200, b'{"ok":true}\n')
        if path not in {b"/readyz", b"/api/status"}:
            return _refusal(
                404, "not_found", "there are /healthz, /readyz and /api/status"
            )
        try:
            status = self._status()
        except ComptrollerError as error:
            return _refusal(503, error.code, error.message)
        is_ready = status.revision > 0 and not status.problems
        code = 200 if is_ready or path == b"/api/status" else 503
        return _Answer(code, msgspec.json.encode(status) + b"\n")


def _refusal(status: int, code: str, message: str) -> _Answer:
    document = {"error": Failure(code, message)}
    return _Answer(status, msgspec.json.encode(document) + b"\n")
