"""The witness's HTTP server: `POST /add-checkpoint`, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from comptroller.core.cosignature import SUBMISSION_BYTES_MAX
from comptroller.core.errors import ComptrollerError
from comptroller.engine.witnessing import Answer

HEAD_BYTES_MAX: Final = 16 * 1024
REQUEST_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 75.0
CONNECTIONS_MAX: Final = 256
PATH: Final = b"/add-checkpoint"


class _UnreadableError(Exception):
    """The request cannot be read further; the answer is the last one."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = _refusal(status, why)


class WitnessServer:
    """Gives each request's body to the witness, one after another.

    Args:
        add_checkpoint: the witness. What it raises of disk and memory ends the
            request with 500: nothing was signed.
        tell: takes what a person has to know.
    """

    def __init__(
        self, add_checkpoint: Callable[[bytes], Answer], tell: Callable[[str], None]
    ) -> None:
        self._add_checkpoint = add_checkpoint
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

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
        """Closes the port and every connection: no request is half answered."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.close()
            await self._server.wait_closed()

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            if len(self._open) <= CONNECTIONS_MAX:
                await self._converse(reader, writer)
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):
            pass  # no whole request in time: nobody to answer
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answers the requests of a connection."""
        is_kept = True
        while is_kept:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                first = await reader.readexactly(1)
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                try:
                    head = first + await reader.readuntil(b"\r\n\r\n")
                    answer, is_kept = await self._answer(head, reader, writer)
                except _UnreadableError as error:
                    answer, is_kept = error.answer, False
                _write(writer, answer, is_kept=is_kept)
                await writer.drain()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Answer, bool]:
        line, _, rest = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or words[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
            raise _UnreadableError(400, "this is not an HTTP request")
        headers = _headers(rest)
        if headers.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(_length(headers))
        options = headers.get(b"connection", b"").lower()
        is_kept = words[2] == b"HTTP/1.1" and b"close" not in options
        if words[1].partition(b"?")[0] != PATH:
            return _refusal(404, "there is POST /add-checkpoint"), is_kept
        if words[0] != b"POST":
            return _refusal(405, "only POST is answered here"), is_kept
        return self._added(body), is_kept

    def _added(self, body: bytes) -> Answer:
        try:
            return self._add_checkpoint(body)
        except (OSError, ComptrollerError) as error:
            self._tell(f"nothing was signed: {error}")
            return _refusal(500, "the witness cannot answer now; nothing was signed")


def _headers(rest: bytes) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in rest.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not line:
            continue
        name = name.lower()
        if not colon or not name or name != name.strip() or name in headers:
            # Twice: two readers of this request may differ about which one counts.
            raise _UnreadableError(400, "the headers cannot be read")
        headers[name] = value.strip()
    return headers


def _length(headers: dict[bytes, bytes]) -> int:
    if b"transfer-encoding" in headers:
        raise _UnreadableError(411, "say Content-Length")
    text = headers.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > 9:
        raise _UnreadableError(400, "Content-Length is not a number of bytes")
    if int(text) > SUBMISSION_BYTES_MAX:
        raise _UnreadableError(413, f"at most {SUBMISSION_BYTES_MAX} bytes")
    return int(text)


def _refusal(status: int, why: str) -> Answer:
    return Answer(status, why.encode() + b"\n")


def _write(writer: asyncio.StreamWriter, answer: Answer, *, is_kept: bool) -> None:
    status = HTTPStatus(answer.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"content-type: {answer.kind}\r\n"
        f"content-length: {len(answer.body)}\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        f"connection: {'keep-alive' if is_kept else 'close'}\r\n\r\n"
    )
    writer.write(head.encode() + answer.body)
