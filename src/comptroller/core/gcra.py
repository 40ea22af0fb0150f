"""Rates: how many units a limit admits, exactly, in whole numbers.

GCRA in its form of a bucket that drains: in any span t it admits at most
`count + count * t / period` units, refunds apart. The level is kept in units times
the period in nanoseconds, so that nothing is ever rounded. Compiled: keep it plain.
"""

from __future__ import annotations

from typing import Final

NEVER_NS: Final = -1
"""What `Bucket.wait_ns` says of more units than the bucket can ever hold."""

_S: Final = 1_000_000_000


class Bucket:
    """One limit of so many units per period, both at least 1.

    Times are nanoseconds of one clock. Where that clock is set back the bucket does
    not drain until it is where it was, or for one period at the most.
    """

    def __init__(self, count: int, period_s: int) -> None:
        self.count: int = count
        self.period_s: int = period_s
        self._unit: int = period_s * _S
        self._full: int = count * self._unit
        self._level: int = 0
        self._at_ns: int = 0

    def take(self, now_ns: int, units: int) -> bool:
        """Charges units that fit; else changes nothing and says False."""
        self._drain(now_ns)
        level = self._level + units * self._unit
        if level > self._full:
            return False
        self._level = level
        return True

    def charge(self, now_ns: int, units: int) -> None:
        """Charges units that were used already; the bucket is never more than full.

        A full one admits no more than its rate from now on. What is above it was
        admitted by another limit, or dated by a clock that has been set back since,
        and would only shut the bucket for so much longer.
        """
        self._drain(now_ns)
        self._level = min(self._full, self._level + units * self._unit)

    def refund(self, now_ns: int, units: int) -> None:
        """Takes back units that were charged and not used.

        What has drained since is not refunded: the bucket is never more than empty.
        """
        self._drain(now_ns)
        self._level = max(0, self._level - units * self._unit)

    def wait_ns(self, now_ns: int, units: int) -> int:
        """Until so many units fit, when nobody else takes any.

        Returns:
            Nanoseconds; 0: they fit now; NEVER_NS: more than the limit's count.
        """
        if units > self.count:
            return NEVER_NS
        self._drain(now_ns)
        return self._until(now_ns, self._full - units * self._unit)

    def remaining(self, now_ns: int) -> int:
        """How many units fit now; at least 0."""
        self._drain(now_ns)
        return max(0, (self._full - self._level) // self._unit)

    def reset_ns(self, now_ns: int) -> int:
        """Nanoseconds until all units fit again, when nobody takes any."""
        self._drain(now_ns)
        return self._until(now_ns, 0)

    def _drain(self, now_ns: int) -> None:
        elapsed = now_ns - self._at_ns
        if elapsed < 0:
            if elapsed < -self._unit:
                self._at_ns = now_ns + self._unit
            return
        self._level = max(0, self._level - elapsed * self.count)
        self._at_ns = now_ns

    def _until(self, now_ns: int, level: int) -> int:
        """Until the level has fallen to this one."""
        above = self._level - level
        if above <= 0:
            return 0
        return self._at_ns - now_ns + -(-above // self.count)
