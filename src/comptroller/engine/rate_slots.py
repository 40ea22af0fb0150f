"""Rate slots: the units of a rate limit that a worker may use for a short time.

The centre keeps the bucket of every limit; a worker is granted what a request needs,
or at busy limits a slice of at most a second's worth. A slice is used within a second
of its charge or goes back: in any time t at most `count + count * (t + 1 s) / period`
are admitted. Compiled.
"""

from __future__ import annotations

from typing import Final

from comptroller.core.budget_path import TOKENS, RateLimit
from comptroller.engine.leasing import RateGranted

SLICED_PER_S: Final = 20
"""A limit of at least so many units a second is granted in slices."""
REFUND_AGE_MAX_S: Final = 1.0
"""A refund that could not be sent for so long is dropped: the centre may have been
started anew meanwhile, and counted what was really used."""

_AHEAD_S: Final = 0.15
_LOW_PERCENT: Final = 35


class RateSlot:
    """A worker's part of one rate limit."""

    def __init__(self, limit: RateLimit) -> None:
        self.id: str = limit.id
        self.is_tokens: bool = limit.unit == TOKENS
        self.count: int = limit.count
        self.period_s: int = limit.period_s
        self.units: int = 0
        """Of the slice; what is not used by `until_s` is refunded."""
        self.until_s: float = 0.0
        self.serial: int = 0
        """Of the slice, counted over all slots: later slices have larger ones."""
        self.taken: int = 0
        """Charged since the last look; sizes the next slice."""
        self.refunds: int = 0
        """Units charged at the centre and not used, yet to be said."""
        self.refunds_s: float = 0.0
        """Since when."""
        self.said: RateGranted | None = None
        """What the centre last said of the limit."""
        self.said_s: float = 0.0
        self.refused_units: int = 0
        """So many units, or more, are not there before `refused_until_s`."""
        self.refused_until_s: float = 0.0
        self.ask_after_s: float = 0.0
        """The centre does not look at rates before that."""
        self.ahead_after_s: float = 0.0
        """Asking for more before it is needed was in vain until then."""

    def update(self, limit: RateLimit) -> None:
        """The limit as it is declared now."""
        if (limit.count, limit.period_s) != (self.count, self.period_s):
            self.count = limit.count
            self.period_s = limit.period_s
            self.refused_until_s = 0.0

    def units_of(self, tokens: int) -> int:
        """What a request takes of it."""
        return tokens if self.is_tokens else 1

    def here(self, now_s: float) -> int:
        """What the slice still holds; 0: its time is over."""
        return self.units if now_s <= self.until_s else 0

    def fill(self, units: int, until_s: float, serial: int, now_s: float) -> None:
        """A new slice takes the place of the last one, whose rest is refunded."""
        rest = self.units
        self.units = units
        self.until_s = until_s
        self.serial = serial
        if rest > 0:
            self.refund(rest, now_s)

    def expire(self, now_s: float) -> None:
        """Lets go of a slice whose time is over."""
        if self.units > 0 and now_s > self.until_s:
            rest = self.units
            self.units = 0
            self.refund(rest, now_s)

    def refund(self, units: int, now_s: float) -> None:
        """Units that were charged were not used: room again at the centre, soon."""
        if self.refunds == 0:
            self.refunds_s = now_s
        self.refunds += units
        self.refused_until_s = 0.0

    def take_refunds(self, now_s: float) -> int:
        """What is to be said to the centre now; what is too old is dropped."""
        units = self.refunds
        self.refunds = 0
        return units if now_s - self.refunds_s <= REFUND_AGE_MAX_S else 0

    def say(self, granted: RateGranted, now_s: float) -> None:
        """Remembers how the limit stands at the centre."""
        self.said = granted
        self.said_s = now_s
        if granted.remaining >= self.refused_units:
            self.refused_until_s = 0.0

    def refuse(self, units: int, ahead: int, now_s: float) -> RateGranted:
        """What to say of units for which there is no room, as the centre last said.

        Args:
            units: what is asked for.
            ahead: what others take before it, beside what is here.
            now_s: the time.
        """
        said = self.said
        assert said is not None  # noqa: S101  only the centre refuses
        room = min(units - 1, said.remaining)
        if units > self.count:
            return self._refusal(room, now_s, -1.0)
        # Exact: the time to a full bucket says to a fraction what it holds.
        spare = (self.count - units - ahead) * self.period_s / self.count
        wait_s = max(0.0, said.reset_s - (now_s - self.said_s) - spare)
        if now_s >= self.refused_until_s or units < self.refused_units:
            self.refused_units = units
            self.refused_until_s = now_s + wait_s
        return self._refusal(room, now_s, wait_s)

    def remembered(self, units: int, now_s: float) -> RateGranted | None:
        """The refusal of units that are known not to be there; None: ask."""
        if units > self.count:
            return self._refusal(min(self.count, self._room(now_s)), now_s, -1.0)
        if now_s >= self.refused_until_s or units < self.refused_units:
            return None
        more = units - self.refused_units
        wait_s = self.refused_until_s - now_s + more * self.period_s / self.count
        return self._refusal(min(units - 1, self._room(now_s)), now_s, wait_s)

    def shown(self, now_s: float) -> RateGranted | None:
        """How the limit stands, for a reply's headers; None: nothing is known yet."""
        if self.said is None:
            return None
        return self._refusal(min(self.count, self._room(now_s)), now_s, 0.0)

    def wants(self, span_s: float, now_s: float) -> int:
        """What to ask for before anybody has to wait for it; 0: nothing.

        Args:
            span_s: how long the last look is ago.
            now_s: the time.
        """
        taken = self.taken
        self.taken = 0
        after_s = max(self.ask_after_s, self.ahead_after_s)
        if self.count < SLICED_PER_S * self.period_s or now_s < after_s:
            return 0
        want = min(int(taken / span_s), self.count // self.period_s)
        is_ending = now_s > self.until_s - _AHEAD_S
        return want if is_ending or self.units * 100 < want * _LOW_PERCENT else 0

    def _room(self, now_s: float) -> int:
        """About what the bucket holds, with what is left of the slice here."""
        said = self.said
        if said is None:
            return self.count
        drained = int((now_s - self.said_s) * self.count / self.period_s)
        return said.remaining + drained + (self.units if now_s <= self.until_s else 0)

    def _refusal(self, room: int, now_s: float, retry_after_s: float) -> RateGranted:
        said = self.said
        reset_s = 0.0
        if said is not None:
            reset_s = max(0.0, said.reset_s - (now_s - self.said_s))
        return RateGranted(
            self.id, 0, 0.0, self.count, max(0, room), reset_s, retry_after_s
        )


def admits(slots: tuple[RateSlot, ...], tokens: int, now_s: float) -> bool:
    """Whether all slots have units for a request; changes nothing."""
    for slot in slots:
        units = tokens if slot.is_tokens else 1
        if units and (slot.units < units or now_s > slot.until_s):
            return False
    return True


def charge(slots: tuple[RateSlot, ...], tokens: int) -> None:
    """Charges a request that all slots admit."""
    for slot in slots:
        units = tokens if slot.is_tokens else 1
        slot.units -= units
        slot.taken += units


def correct(
    slots: tuple[RateSlot, ...], unused: int, serial: int, now_s: float
) -> None:
    """Gives back tokens that were charged and not used.

    To the slice that they came from while it lasts, else to the centre: the bucket
    may have drained since, and only the centre knows how far.

    Args:
        slots: what was charged.
        unused: tokens; below 0: more were used than charged.
        serial: of the newest slice when they were charged.
        now_s: the time.
    """
    for slot in slots:
        if not slot.is_tokens:
            continue
        if unused < 0:
            slot.units = max(0, slot.units + unused)
        elif slot.serial <= serial and now_s <= slot.until_s:
            slot.units += unused
        else:
            slot.refund(unused, now_s)
