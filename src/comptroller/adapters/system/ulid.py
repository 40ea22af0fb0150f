"""ULIDs: 48 bits of milliseconds and 80 of randomness, in Crockford's base 32.

Format: https://github.com/ulid/spec. Every request takes one, so the digits come
from a table of pairs rather than from a loop over bits.
"""

from __future__ import annotations

from typing import Final

from comptroller.engine.ports import Clock, Entropy

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(a + b for a in _DIGITS for b in _DIGITS)
_RANDOM_BITS: Final = 80
_RANDOM_BYTES: Final = 10
_LOW_BITS: Final = 20


class UlidIds:
    """The Ids port: ULIDs that increase within the process.

    Within one millisecond, and when the clock is set back, the random part counts
    up instead of being drawn again, so that order is kept.
    """

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._time_ms = -1
        self._high = 0
        self._low = 0
        self._prefix = ""

    def new(self) -> str:
        """A ULID: 26 characters, greater than every one before."""
        now_ms = self._clock.now_ns() // 1_000_000
        if now_ms > self._time_ms:
            self._draw(now_ms)
        else:
            self._count_up()
        low = self._low
        return f"{self._prefix}{_PAIRS[low >> 10]}{_PAIRS[low & 1023]}"

    def _draw(self, now_ms: int) -> None:
        self._time_ms = now_ms
        number = int.from_bytes(self._entropy.token(_RANDOM_BYTES), "big")
        self._high = number >> _LOW_BITS
        self._low = number & ((1 << _LOW_BITS) - 1)
        self._render()

    def _count_up(self) -> None:
        self._low += 1
        if self._low >> _LOW_BITS:
            self._low = 0
            self._high += 1
            if self._high >> (_RANDOM_BITS - _LOW_BITS):
                # The random part is used up: borrow the next millisecond.
                self._high = 0
                self._time_ms += 1
            self._render()

    def _render(self) -> None:
        time_ms, high, pairs = self._time_ms, self._high, _PAIRS
        self._prefix = (
            f"{pairs[time_ms >> 40]}{pairs[time_ms >> 30 & 1023]}"
            f"{pairs[time_ms >> 20 & 1023]}{pairs[time_ms >> 10 & 1023]}"
            f"{pairs[time_ms & 1023]}{pairs[high >> 50]}{pairs[high >> 40 & 1023]}"
            f"{pairs[high >> 30 & 1023]}{pairs[high >> 20 & 1023]}"
            f"{pairs[high >> 10 & 1023]}{pairs[high & 1023]}"
        )
