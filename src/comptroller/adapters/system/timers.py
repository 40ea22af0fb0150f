"""The event loop's timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopTimers:
    """The Timers port on the running event loop; made inside it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def call_later(
        self, delay_s: float, call: Callable[[], None]
    ) -> asyncio.TimerHandle:
        """Calls once, not before so many seconds; never inside this call."""
        return self._loop.call_later(delay_s, call)
