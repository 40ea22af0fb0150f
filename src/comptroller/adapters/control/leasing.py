"""The lease desk's client: how a worker asks the control process for leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from comptroller.adapters.control.conversation import Conversation
from comptroller.core.errors import ComptrollerError
from comptroller.engine.leasing import (
    AskLeases,
    AwaitRecall,
    Leased,
    LeasesReturned,
    Recall,
)
from comptroller.engine.replies import decode_as

ASK_TIMEOUT_S: Final = 2.0
RECALL_TIMEOUT_S: Final = 30.0
"""The control process answers within RECALL_ANSWER_S (engine/ledger.py)."""
LISTEN_AGAIN_S: Final = 0.25
"""After nobody was there; short, for a worker that does not listen holds others up."""

_T = TypeVar("_T", Leased, Recall)


class LeaseDeskClient:
    """The LeaseDesk port over DATA/control.sock.

    Three conversations, because each is answered in order: an ask may wait for what
    another worker returns, and that is said on a line of its own.

    Args:
        path: the control socket.
        holder: source of this worker's journal.
        on_recall: called on the event loop with accounts that are needed elsewhere.
    """

    def __init__(
        self, path: Path, holder: str, on_recall: Callable[[Sequence[str]], None]
    ) -> None:
        self._asking = Conversation(path)
        self._returning = Conversation(path)
        self._listening = Conversation(path)
        self._on_recall = on_recall
        self._returned = msgspec.json.encode(LeasesReturned(holder))
        self._await_recall = msgspec.json.encode(AwaitRecall(holder))
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._is_closed = False

    def start(self) -> None:
        """Begins to listen for recalls."""
        self._again = None
        if not self._is_closed:
            self._listening.say(self._await_recall, self._recalled, RECALL_TIMEOUT_S)

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Asks once; never blocks.

        Args:
            asked: the ask. The same number may be sent again until it is answered.
            on_answer: called once on the event loop, not inside this call; with
                None when no answer came in time: it may have been done or not.
        """

        def answered(line: bytes | None) -> None:
            on_answer(_read(Leased, line))

        self._asking.say(msgspec.json.encode(asked), answered, ASK_TIMEOUT_S)

    def returned(self) -> None:
        """Says that a `lease.returned` record is durable; may be lost."""
        self._returning.say(self._returned, _ignore, ASK_TIMEOUT_S)

    async def close(self) -> None:
        """Ends all conversations; asks under way are answered None."""
        self._is_closed = True
        if self._again is not None:
            self._again.cancel()
        for conversation in (self._asking, self._returning, self._listening):
            await conversation.close()

    def _recalled(self, line: bytes | None) -> None:
        recall = _read(Recall, line)
        if self._is_closed:
            return
        if recall is not None and recall.accounts:
            self._on_recall(recall.accounts)
            self.start()
        else:
            self._again = self._loop.call_later(
                LISTEN_AGAIN_S if recall is None else 0, self.start
            )


def _read(kind: type[_T], line: bytes | None) -> _T | None:
    if line is None:
        return None
    try:
        return decode_as(kind, line)
    except ComptrollerError:
        return None


def _ignore(line: bytes | None) -> None:
    """A message that may be lost needs no answer."""
