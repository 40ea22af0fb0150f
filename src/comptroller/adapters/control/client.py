"""The control socket's client, for commands that run beside a control process."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from comptroller.adapters.control.address import short_address
from comptroller.core.errors import ControlUnavailableError

CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 60.0
_CHUNK_BYTES: Final = 65536


class ControlClient:
    """Asks the control process, one connection a question."""

    def __init__(self, path: Path, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._path = path
        self._answer_timeout_s = answer_timeout_s

    def ask(self, line: bytes) -> bytes | None:
        """Sends a line and waits for the line of the answer.

        Returns:
            None when nobody is there, so that nothing was sent.

        Raises:
            ControlUnavailableError: the answer did not come; what was asked may
                have been done, and the message says so.
        """
        try:
            connection = self._connect()
        except OSError:
            return None
        with connection:
            connection.settimeout(self._answer_timeout_s)
            try:
                connection.sendall(line + b"\n")
                return self._read_line(connection)
            except TimeoutError as error:
                raise ControlUnavailableError(
                    "the control process has not answered for"
                    f" {self._answer_timeout_s:g} s: it may be stopped, or busy; see"
                    " comptroller key list and comptroller plan for what was done"
                ) from error
            except OSError as error:
                raise ControlUnavailableError(
                    "the control process went away before it answered; see"
                    " comptroller key list and comptroller plan for what was done"
                ) from error

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            with short_address(self._path) as address:
                connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def _read_line(self, connection: socket.socket) -> bytes:
        chunks: list[bytes] = []
        while not chunks or not chunks[-1].endswith(b"\n"):
            chunk = connection.recv(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError
            chunks.append(chunk)
        return b"".join(chunks)[:-1]
