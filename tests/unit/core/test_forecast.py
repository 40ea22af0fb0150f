from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.forecast import (
    LOOKBACKS_NS,
    Forecast,
    Pace,
    forecast,
    pace,
)
from comptroller.core.registry import BUDGET_WINDOWS

S = 10**9
HOUR = 3600 * S
DAY = 24 * HOUR


def spendings(*made: tuple[int, int]) -> Callable[[int], int]:
    """What was spent in the last so long, of spendings so long ago."""
    return lambda span_ns: sum(cost for ago, cost in made if ago <= span_ns)


def test_every_window_has_a_pace() -> None:
    """There is no budget that cannot be forecast."""
    assert set(LOOKBACKS_NS) == set(BUDGET_WINDOWS)


def test_a_month_goes_at_the_pace_of_the_last_week() -> None:
    """What was spent before the last seven days does not count."""
    assert pace("month", spendings((8 * DAY, 1000), (6 * DAY, 60), (HOUR, 10))) == Pace(
        70, 7 * DAY
    )


def test_a_service_that_began_yesterday_is_not_averaged_over_a_week() -> None:
    """The span is halved until something was spent in its first half."""
    assert pace("month", spendings((DAY, 60), (HOUR, 10))) == Pace(70, 7 * DAY // 4)


@pytest.mark.parametrize("window", BUDGET_WINDOWS)
def test_a_short_history_has_no_pace(window: str) -> None:
    """Who only just began may have spent once or a thousandth of what comes."""
    shortest = LOOKBACKS_NS[window] // 8

    assert pace(window, spendings((shortest, 5), (1, 5))) is None
    assert pace(window, spendings((shortest + 1, 5))) is not None


def test_nothing_spent_is_a_pace_of_nothing() -> None:
    """A budget that nobody uses will not be used: that is known."""
    assert pace("day", spendings()) == Pace(0, 6 * HOUR)
    assert forecast(10, 20, 0, 5, Pace(0, 6 * HOUR)) == Forecast(0, None)


def test_the_pace_leads_to_the_end_and_to_the_limit() -> None:
    """Half the window is left at 10 a day; 30 are left to spend."""
    told = forecast(15 * DAY, 30 * DAY, 100, 30, Pace(70, 7 * DAY))

    assert told == Forecast(100 + 150, 15 * DAY + 3 * DAY)


def test_a_limit_that_is_reached_after_the_window_is_not_reached() -> None:
    """A new window begins first."""
    assert forecast(0, DAY, 0, 11, Pace(10, DAY)) == Forecast(10, None)
    assert forecast(0, DAY, 0, 10, Pace(10, DAY)).exhausted_ns is None
    assert forecast(0, DAY, 0, 9, Pace(10, DAY)).exhausted_ns == 9 * DAY // 10


def test_a_total_has_no_end_but_a_day_on_which_it_is_empty() -> None:
    """Without a window nothing can be said of its end."""
    assert forecast(0, None, 5, 70, Pace(70, 7 * DAY)) == Forecast(None, 7 * DAY)
    assert forecast(0, None, 5, 10**18, Pace(1, 7 * DAY)) == Forecast(None, None)


def test_what_is_exhausted_is_exhausted_now() -> None:
    """However short the history is."""
    assert forecast(7, 20, 5, 0, None) == Forecast(None, 7)
    assert forecast(7, 20, 5, -3, Pace(1, 1)) == Forecast(5 + 13, 7)


@given(
    spent=st.integers(0, 10**18),
    left=st.integers(1, 10**18),
    cost=st.integers(1, 10**18),
    span=st.integers(1, 7 * DAY),
    remaining=st.integers(1, 31 * DAY),
)
def test_exhaustion_and_end_never_contradict(
    spent: int, left: int, cost: int, span: int, remaining: int
) -> None:
    """A limit is reached in the window exactly when the forecast exceeds it."""
    told = forecast(0, remaining, spent, left, Pace(cost, span))

    assert told.at_end is not None
    if told.exhausted_ns is None:
        # Times are whole nanoseconds: within one of them it may be either.
        assert told.at_end <= spent + left + cost // span + 1
    else:
        assert 0 < told.exhausted_ns < remaining
        assert told.at_end >= spent + left
