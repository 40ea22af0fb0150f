"""The system's time."""

from __future__ import annotations

import time


class SystemClock:
    """The Clock port on the system's clocks."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch; steps when the system's clock is set."""
        return time.time_ns()  # noqa: TID251  this is the Clock port

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
