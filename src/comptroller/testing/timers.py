"""A fake of timers: what is due is called when the test moves the time."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from comptroller.testing.system import FakeClock


class FakeTimer:
    """The Timer port."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call
        """None: it was called, or cancelled."""

    def cancel(self) -> None:
        """Lets it not be called."""
        self.call = None


class FakeTimers:
    """The Timers port: in order of time, then of asking; never by itself.

    Args:
        clock: what is moved on with the calls; nobody else may move it meanwhile.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self._count = 0
        self._due: list[tuple[int, int, FakeTimer]] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> FakeTimer:
        """Calls once when the time has been moved so far; never inside this call."""
        timer = FakeTimer(call)
        due_ns = self.clock.now_ns() + max(0, round(delay_s * 1e9))
        self._count += 1
        heapq.heappush(self._due, (due_ns, self._count, timer))
        return timer

    @property
    def pending(self) -> int:
        """How many are yet to be called."""
        return sum(timer.call is not None for _, _, timer in self._due)

    @property
    def next_ns(self) -> int | None:
        """When the next one is due; None: there is none."""
        while self._due and self._due[0][2].call is None:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def step(self) -> bool:
        """Moves on to the next that is due and calls it; False: there is none."""
        if self.next_ns is None:
            return False
        due_ns, _, timer = heapq.heappop(self._due)
        self.clock.advance_to(due_ns)
        call, timer.call = timer.call, None
        if call is not None:
            call()
        return True

    def advance(self, seconds: float) -> None:
        """Moves the time on, and calls on the way what is due, to the end included."""
        end_ns = self.clock.now_ns() + round(seconds * 1e9)
        while self.next_ns is not None and self.next_ns <= end_ns:
            self.step()
        self.clock.advance_to(end_ns)
