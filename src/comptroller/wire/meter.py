"""The meter: reads a reply's usage from its bytes while they pass."""

from __future__ import annotations

from typing import Protocol

from comptroller.core.usage import Reading


class Meter(Protocol):
    """Reads one reply. Sans-I/O: bytes in, bytes to forward out."""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the reply's body, decoded and in order.

        Returns:
            What to forward to the client now; the same object when nothing was
            taken out. Only a stream whose extra usage chunk is to be removed
            holds bytes back, and at most those of one event.
        """

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply, whole or broken off.

        Returns:
            Bytes held back that are still to be forwarded, and the reading.
            Never raises: a reply without a readable usage gives no passes.
        """
