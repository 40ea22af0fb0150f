"""The control socket's server: one line of JSON asks, one line answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from comptroller.adapters.control.address import short_address
from comptroller.core.errors import ControlUnavailableError

LINE_BYTES_MAX: Final = 32 * 1024 * 1024
"""A whole configuration fits in one line."""
CONNECTIONS_MAX: Final = 448
"""Four of each of 64 workers, and as many again for those that just died and for
commands."""
IDLE_TIMEOUT_S: Final = 60.0
"""Between an answer and the next line; not while an answer is waited for."""

_CREDENTIALS: Final = struct.Struct("3i")

Handler: TypeAlias = Callable[[bytes, str], Awaitable[bytes]]
"""Takes a line and the account of whoever asks; gives the line of the answer."""


class ControlServer:
    """Serves DATA/control.sock to processes of the same account, and to root.

    Only the holder of the control lock may start one: a socket found in its place
    belongs to a dead process and is replaced.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def start(self) -> None:
        """Opens the socket.

        Raises:
            ControlUnavailableError: it cannot be opened.
        """
        try:
            self._path.unlink(missing_ok=True)
            listener = self._bind()
        except OSError as error:
            raise ControlUnavailableError(
                f"the control socket {self._path} cannot be opened: {error.strerror}"
            ) from error
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=LINE_BYTES_MAX
        )

    async def close(self) -> None:
        """Closes the socket; commands under way are cut off, unanswered."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # From its first moment nobody else may connect; one thread, so no race.
        before = os.umask(0o177)
        try:
            with short_address(self._path) as address:
                listener.bind(address)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        return listener

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has gone, or never asked
        except asyncio.LimitOverrunError:
            pass  # a line beyond the limit: no client of ours
        except asyncio.CancelledError:
            # asyncio's streams report a cancelled connection as if it had crashed.
            if not self._is_closing:
                raise
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        account = _account(writer)
        if account is None:
            return
        while True:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                line = await reader.readuntil(b"\n")
            answer = await self._handler(line[:-1], account)
            writer.write(answer + b"\n")
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                await writer.drain()


def _account(writer: asyncio.StreamWriter) -> str | None:
    """The peer's account; None: it is neither ours nor root's."""
    peer = writer.get_extra_info("socket")
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(packed)
    return account_of(user) if user in {0, os.geteuid()} else None


def account_of(user: int) -> str:
    """`user@host` of a user of this machine, as records name it."""
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return f"{name}@{socket.gethostname()}"
