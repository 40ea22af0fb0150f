"""A conversation over the control socket: lines out, lines back, in order."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, cast

from comptroller.adapters.control.address import short_address

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
TRIES_MAX: Final = 2
"""A connection may have been closed for idleness just when a line was written."""

OnLine: TypeAlias = Callable[[bytes | None], None]


class _Question:
    """A line that waits for its answer."""

    def __init__(self, line: bytes, on_line: OnLine) -> None:
        self.line = line
        self.on_line = on_line
        self.tries = 0
        self.timer: asyncio.TimerHandle | None = None

    def answer(self, line: bytes | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.on_line(line)


class Conversation(asyncio.Protocol):
    """One connection, opened when there is something to say; made inside the loop.

    A line may be sent twice when the connection broke: only what may be repeated
    is said here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._questions: deque[_Question] = deque()
        self._received = bytearray()
        self._is_closed = False

    def say(self, line: bytes, on_line: OnLine, timeout_s: float) -> None:
        """Sends a line.

        Args:
            line: without its newline.
            on_line: called once, later, with the answer's line; with None when
                none came in time, or nobody is there.
            timeout_s: how long to wait.
        """
        question = _Question(line, on_line)
        if self._is_closed:
            self._loop.call_soon(question.answer, None)
            return
        question.timer = self._loop.call_later(timeout_s, self._expire, question)
        self._questions.append(question)
        if self._transport is not None:
            self._send(question)
        else:
            self._open()

    async def close(self) -> None:
        """Closes the connection; whoever waits is told None."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()
        self._fail(self._questions)
        # One round of the loop, in which the transport closes its socket.
        await asyncio.sleep(0)

    # -- asyncio.Protocol ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends all that waits."""
        # Loops other than asyncio's own have transports of classes of their own.
        self._transport = cast("asyncio.Transport", transport)
        if self._is_closed:
            self._transport.abort()
            return
        self._received.clear()
        for question in list(self._questions):
            self._send(question)

    def data_received(self, data: bytes) -> None:
        """Takes answers."""
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        for line in lines:
            if self._questions:
                self._questions.popleft().answer(bytes(line))
        if len(rest) > ANSWER_BYTES_MAX and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """Sends again what was not answered, once."""
        self._transport = None
        tired = deque(one for one in self._questions if one.tries >= TRIES_MAX)
        for question in tired:
            self._questions.remove(question)
        self._fail(tired)
        if self._questions and not self._is_closed:
            self._open()

    # -- inside ----------------------------------------------------------------

    def _send(self, question: _Question) -> None:
        if self._transport is not None:
            question.tries += 1
            self._transport.write(question.line + b"\n")

    def _open(self) -> None:
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(0)
            with short_address(self._path) as address:
                connection.connect(address)
            await self._loop.create_unix_connection(lambda: self, sock=connection)
        except OSError:
            connection.close()
            self._fail(self._questions)
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._connecting = None
        if self._questions and self._transport is None and not self._is_closed:
            self._open()

    def _expire(self, question: _Question) -> None:
        """Gives a question up, and the connection with it: answers have no names."""
        if question not in self._questions:
            return
        self._questions.remove(question)
        question.answer(None)
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, questions: deque[_Question]) -> None:
        failed = list(questions)
        questions.clear()
        for question in failed:
            question.answer(None)
