"""History: which of several acts was in force at a time, as far as clocks tell.

Acts have an order that nothing can change: the order of their records. Their times
are what clocks said, and a clock may be set back. Then one time stands for several
moments, and whoever names it has to be told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

BEFORE_ALL: Final = -1


def in_force(times: Sequence[int], at_ns: int) -> tuple[int, ...]:
    """Which act may have been in force at a time: its index, BEFORE_ALL for none.

    Args:
        times: of the acts, in their order; each is in force until the next.
        at_ns: when.

    Returns:
        One index; or several, in order, where the clock was set back across the time.
    """
    found = [BEFORE_ALL] if not times or at_ns < times[0] else []
    for index, begin in enumerate(times):
        if index + 1 == len(times):
            is_met = begin <= at_ns
        else:
            end = times[index + 1]
            # Set back: the clock showed this time before the next act, or after it.
            is_met = begin <= at_ns < end or begin > at_ns >= end
        if is_met:
            found.append(index)
    return tuple(found) or (len(times) - 1,)


def doubled(times: Sequence[int]) -> list[tuple[int, int]]:
    """The spans of time that a clock showed twice: begin and end of each."""
    return [(after, before) for before, after in pairwise(times) if after < before]
