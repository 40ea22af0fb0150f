"""A server of few addresses, by hand: nothing to import, little to break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from comptroller.console.trail import is_pruned, is_trail_path, read_trail_file
from comptroller.core.errors import ComptrollerError
from comptroller.engine.commands import Status
from comptroller.engine.replies import Failure
from comptroller.engine.trail_ports import TrailStatus

HEAD_BYTES_MAX: Final = 16 * 1024
REQUEST_TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 32

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    503: "Service Unavailable",
}


class _Answer(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"application/json"
    caching: bytes = b"no-store"


class TrailView(NamedTuple):
    """The trail, as far as it is shown here."""

    folder: Path
    status: Callable[[], TrailStatus]


class _Told(msgspec.Struct, frozen=True):
    """What `/api/status` says beside the control process's own state."""

    trail: TrailStatus


class StatusServer:
    """Serves `/healthz`, `/readyz`, `/api/status` and the trail's files.

    One request a connection; nothing but reading.

    Args:
        status: how the control process is doing now.
        trail: None: there is none to show.
    """

    def __init__(
        self, status: Callable[[], Status], trail: TrailView | None = None
    ) -> None:
        self._status = status
        self._trail = trail
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
            b"content-type: %b\r\n"
            b"content-length: %d\r\n"
            b"cache-control: %b\r\n"
            b"x-content-type-options: nosniff\r\n"
            b"connection: close\r\n\r\n%b"
            % (
                answer.status,
                _REASONS[answer.status].encode(),
                answer.kind,
                len(answer.body),
                answer.caching,
                body,
            )
        )
        await writer.drain()

    def _page(self, path: bytes) -> _Answer:
        if path == b"/healthz":
            return _Answer(200, b'{"ok":true}\n')
        if self._trail is not None and is_trail_path(path):
            return _trail_page(self._trail, path)
        if path not in {b"/readyz", b"/api/status"}:
            return _refusal(
                404,
                "not_found",
                "there are /healthz, /readyz, /api/status, /checkpoint and /tile/…",
            )
        try:
            status = self._status()
        except ComptrollerError as error:
            return _refusal(503, error.code, error.message)
        # The trail does not count: requests are recorded and served without it.
        is_ready = status.revision > 0 and not status.problems
        code = 200 if is_ready or path == b"/api/status" else 503
        document = msgspec.to_builtins(status)
        if self._trail is not None:
            document |= msgspec.to_builtins(_Told(self._trail.status()))
        return _Answer(code, msgspec.json.encode(document) + b"\n")


def _trail_page(trail: TrailView, path: bytes) -> _Answer:
    try:
        file = read_trail_file(trail.folder, path)
    except OSError as error:
        return _refusal(503, "trail_unavailable", f"it cannot be read: {error}")
    minimum = trail.status().minimum_index if file is None else 0
    if is_pruned(path, minimum):
        message = f"it was pruned: the minimum index of the trail is {minimum}"
        return _refusal(410, "pruned", message)
    if file is None:
        return _refusal(404, "not_found", "the trail has no such file, or not yet")
    return _Answer(200, *file)


def _refusal(status: int, code: str, message: str) -> _Answer:
    document = {"error": Failure(code, message)}
    return _Answer(status, msgspec.json.encode(document) + b"\n")
