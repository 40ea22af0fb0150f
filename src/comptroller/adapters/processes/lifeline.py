"""The child's end of its life line.

A socket whose other end only the supervisor holds: the child says over it that it
is ready, and its closing, however the supervisor ended, tells the child to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Final

READY: Final = b"ready\n"


class Lifeline:
    """One child's tie to its supervisor.

    Args:
        descriptor: of the inherited socket; None: started by hand, without one.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._socket: socket.socket | None = None
        if descriptor is not None:
            self._socket = socket.socket(fileno=descriptor)
            self._socket.set_inheritable(False)

    def ready(self) -> None:
        """Tells the supervisor that this child does its work now."""
        if self._socket is not None:
            self._socket.sendall(READY)

    def watch(self) -> None:
        """From now on, the supervisor's death ends this process as SIGTERM does."""
        if self._socket is not None:
            self._socket.setblocking(False)  # noqa: FBT003  the library's own
            loop = asyncio.get_running_loop()
            loop.add_reader(self._socket.fileno(), self._hear)

    def _hear(self) -> None:
        if self._socket is None:
            return
        try:
            if self._socket.recv(64):
                return
        except BlockingIOError:
            return
        except ConnectionError:
            pass  # as dead as an end of the stream
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        os.kill(os.getpid(), signal.SIGTERM)
