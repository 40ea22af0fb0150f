"""The standing of an account at a worker: how fast it is used, and what it lacked.

What a worker remembers of an account beside its balance, so as to ask the centre
seldom: for how much at a time, and when asking again would be in vain. Compiled.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from comptroller.core.leasebook import Balance
from comptroller.engine.leasing import Lack

HORIZON_S: Final = 4
"""A lease should last so long at the pace of late (facts: simulated 1, 4 and 15 s)."""
REMEMBER_S: Final = 1.0
"""So long a lack is believed without asking again."""
LOW_PERCENT: Final = 35
"""Of the target: below it more is asked for before it is needed."""
QUIET_S: Final = 10.0
"""What nobody has used for so long goes back."""

_LONG_AGO_S: Final = -1e9
_SMOOTHED_MS: Final = 2000
_UNITS_AHEAD: Final = 4
"""At a slow pace: so many requests of the last size."""


class Standing:
    """One account's."""

    def __init__(self, balance: Balance, ends_ns: int | None, now_s: float) -> None:
        self.balance: Balance = balance
        self.ends_ns: int | None = ends_ns
        """When its window ends; None: never."""
        self.used_s: float = now_s
        """When it was last held on, or waited for."""
        self.lack: Lack | None = None
        """The last that the centre said; None: it had plenty since."""
        self.lack_s: float = _LONG_AGO_S
        self.lack_asked: int = 0
        """What was asked for then: less might have been there."""
        self.ask_after_s: float = _LONG_AGO_S
        """Asking for more before it is needed was in vain until then."""
        self._pace: int = 0
        self._unit: int = 0
        self._paced_s: float = now_s

    def use(self, now_s: float) -> None:
        """Takes note of what was held since the last time."""
        balance = self.balance
        taken = balance.taken
        balance.taken = 0
        if now_s - self._paced_s > QUIET_S:
            self._pace = 0
        ms = min(1000, max(1, int((now_s - self._paced_s) * 1000)))
        self._pace += (taken * 1000 // ms - self._pace) * ms // _SMOOTHED_MS
        self._unit = max(taken, self._unit * 7 // 8)
        self._paced_s = now_s
        if taken:
            self.used_s = now_s

    def need(self, amount: int, now_s: float) -> None:
        """Takes note that a request waits for an amount."""
        self.used_s = now_s
        self._unit = max(self._unit, amount)

    @property
    def target(self) -> int:
        """What should be available, so that requests seldom have to wait."""
        if not self.balance.is_money:
            return 1 + self.balance.held // 2
        return max(self._pace * HORIZON_S, self._unit * _UNITS_AHEAD)

    def is_low(self, now_s: float) -> bool:
        """Whether more should be asked for before anybody has to wait for it."""
        if now_s < self.ask_after_s or self.is_lacking(now_s):
            return False
        return self.balance.available * 100 < self.target * LOW_PERCENT

    def is_lacking(self, now_s: float) -> bool:
        """Whether what the centre said it lacks is still to be believed."""
        return self.lack is not None and now_s - self.lack_s < REMEMBER_S

    def has_ended(self, now_ns: int) -> bool:
        """Whether its window is over."""
        ends_ns = self.ends_ns
        return ends_ns is not None and now_ns >= ends_ns

    def is_quiet(self, now_s: float) -> bool:
        """Whether nobody has used it for long."""
        return now_s - self.used_s > QUIET_S

    def lacked(self, lack: Lack, asked: int, now_s: float) -> None:
        """The centre does not have what was asked for."""
        self.lack = lack
        self.lack_s = now_s
        self.lack_asked = asked

    def granted(self, amount: int, asked: int) -> None:
        """The centre granted an amount; just what was asked for when it has little."""
        lack = self.lack
        if lack is None:
            return
        if amount > asked:
            self.lack = None
            return
        free = max(0, lack.free - amount)
        self.lack = replace(lack, free=free, leased=lack.leased + amount)
