"""Forecast: what a budget will have spent at its window's end, and when it is empty.

The pace is what was spent in the last hours or days; how many depends on the window.
Whole numbers throughout: nano-USD and nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

_S: Final = 10**9
_HOUR: Final = 3600 * _S
_DAY: Final = 24 * _HOUR
LOOKBACKS_NS: Final = {
    "hour": _HOUR // 4,
    "day": 6 * _HOUR,
    "week": 3 * _DAY,
    "month": 7 * _DAY,
    "total": 7 * _DAY,
}
"""How far back the pace of each kind of window looks; a month's over a whole week,
so that a weekend counts as one."""
HALVINGS_MAX: Final = 3
"""A spending that began in the last eighth of the span is too short a history."""
AHEAD_NS_MAX: Final = 100 * 365 * _DAY
"""Later than this is never."""


class Pace(NamedTuple):
    """So much in so long."""

    spent: int
    span_ns: int


class Forecast(NamedTuple):
    """What is to come if the pace stays."""

    at_end: int | None
    """Spent at the window's end; None: the pace is unknown, or it has no end."""
    exhausted_ns: int | None
    """When nothing is left; None: not in this window, or unknown."""


def pace(window: str, spent_in_last: Callable[[int], int]) -> Pace | None:
    """Tells how fast a budget is spent now.

    The span is halved as long as nothing was spent in its first half: who began
    yesterday is not told the average of a week.

    Args:
        window: the budget's kind of window.
        spent_in_last: what was spent in the last so many nanoseconds.

    Returns:
        None when the spending began too recently to tell.
    """
    span_ns = LOOKBACKS_NS[window]
    spent = spent_in_last(span_ns)
    if not spent:
        return Pace(0, span_ns)
    for _ in range(HALVINGS_MAX):
        later = spent_in_last(span_ns // 2)
        if later < spent:
            return Pace(spent, span_ns)
        span_ns, spent = span_ns // 2, later
    return None


def forecast(
    now_ns: int, ends_ns: int | None, spent: int, left: int, at: Pace | None
) -> Forecast:
    """Tells what is to come.

    Args:
        now_ns: the time.
        ends_ns: where the window ends; None: never.
        spent: in the window so far.
        left: to spend; 0 or less: it is exhausted already.
        at: the pace; None: unknown.
    """
    at_end = None
    if at is not None and ends_ns is not None:
        at_end = spent + at.spent * max(0, ends_ns - now_ns) // at.span_ns
    if left <= 0:
        return Forecast(at_end, now_ns)
    if at is None or not at.spent:
        return Forecast(at_end, None)
    in_ns = -(-left * at.span_ns // at.spent)
    last_ns = AHEAD_NS_MAX if ends_ns is None else ends_ns - now_ns - 1
    return Forecast(at_end, now_ns + in_ns if in_ns <= last_ns else None)
