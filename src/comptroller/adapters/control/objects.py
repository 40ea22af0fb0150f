"""The object desk's client: how a worker learns whose stored objects are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from comptroller.adapters.control.conversation import Conversation
from comptroller.core.errors import ComptrollerError
from comptroller.engine.objects import Owners, Whose
from comptroller.engine.replies import decode_as

WHOSE_TIMEOUT_S: Final = 5.0
"""What is recorded has to be projected first; workers ask little else meanwhile."""


class ObjectDeskClient:
    """The ObjectDesk port over DATA/control.sock.

    Args:
        path: the control socket.
    """

    def __init__(self, path: Path) -> None:
        self._conversation = Conversation(path)

    def whose(self, asked: Whose, on_answer: Callable[[Owners | None], None]) -> None:
        """Asks once; never blocks.

        Args:
            asked: the objects; asking again changes nothing.
            on_answer: called once on the event loop, not inside this call; with
                None when no answer came in time.
        """

        def answered(line: bytes | None) -> None:
            on_answer(_read(line))

        line = msgspec.json.encode(asked)
        self._conversation.say(line, answered, WHOSE_TIMEOUT_S)

    async def close(self) -> None:
        """Ends the conversation; asks under way are answered None."""
        await self._conversation.close()


def _read(line: bytes | None) -> Owners | None:
    if line is None:
        return None
    try:
        return decode_as(Owners, line)
    except ComptrollerError:
        return None
