"""The ports of stored objects: who made them, and where a worker asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from comptroller.engine.objects import Owned, Owners, Whose


class ObjectReports(Protocol):
    """Reads of what providers have stored, as the records say."""

    def objects(self, ids: Sequence[str]) -> Sequence[Owned]:
        """The stored objects with these ids, whoever made them, as projected.

        The first one that made an id of a provider has it.
        """


class ObjectDesk(Protocol):
    """Where a worker learns whose stored objects are: the control process."""

    def whose(self, asked: Whose, on_answer: Callable[[Owners | None], None]) -> None:
        """Asks once; never blocks.

        Args:
            asked: the objects; asking again changes nothing.
            on_answer: called once on the event loop, not inside this call; with
                None when no answer came in time.
        """
