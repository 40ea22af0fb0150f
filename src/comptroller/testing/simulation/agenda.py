"""The agenda: what happens when, in the order of simulated time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

_S: Final = 1_000_000_000
_BOOTED_S: Final = 5_000.0
"""What the monotonic clock shows at the start: it counts from the machine's boot."""


class Event:
    """Something that will happen, unless it is cancelled (port: Timer)."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Lets it not happen."""
        self.call = None


class Agenda:
    """Simulated time, and the port Clock of all processes; nothing waits for real.

    Args:
        start_ns: nanoseconds since the epoch.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._now_ns = start_ns
        self._heap: list[tuple[int, int, Event]] = []
        self._count = 0

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._now_ns

    def monotonic_s(self) -> float:
        """Seconds since the machine was booted."""
        return _BOOTED_S + (self._now_ns - self._start_ns) / _S

    @property
    def elapsed_s(self) -> float:
        """Seconds since the simulation began."""
        return (self._now_ns - self._start_ns) / _S

    def after(self, delay_s: float, call: Callable[[], None]) -> Event:
        """Lets something happen later; never before what is due earlier."""
        event = Event(call)
        self._count += 1
        # Timers are never early, whatever is lost in a float.
        due_ns = self._now_ns + max(0, int(delay_s * _S) + (delay_s > 0))
        heapq.heappush(self._heap, (due_ns, self._count, event))
        return event

    def step(self, until_ns: int) -> bool:
        """Lets the next thing happen; False: there is none by then."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            due_ns, _, event = heapq.heappop(heap)
            call = event.call
            if call is None:
                continue
            event.call = None
            self._now_ns = due_ns
            call()
            return True
        return False

    def skip_to(self, time_ns: int) -> None:
        """Lets time pass in which nothing happens."""
        self._now_ns = max(self._now_ns, time_ns)
