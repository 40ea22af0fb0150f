from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.granting import grant

amounts = st.integers(min_value=0, max_value=10**15)
counts = st.integers(min_value=1, max_value=64)


def test_plenty_gives_what_is_wanted() -> None:
    """A holder with much free behind it asks seldom."""
    assert grant(1_000_000, 10, 5_000, 4) == 5_000


def test_near_exhaustion_exactly_the_need() -> None:
    """The last of a budget goes to the request that waits, not ahead of others."""
    assert grant(100, 60, 5_000, 4) == 60
    assert grant(60, 60, 5_000, 4) == 60
    assert grant(59, 60, 5_000, 4) == 0


def test_ahead_is_half_of_an_equal_share() -> None:
    """Nobody leases ahead more than half of what all holders could have alike."""
    assert grant(8_000, 1, 5_000, 4) == 1_000
    assert grant(8_000, 0, 5_000, 4) == 1_000
    assert grant(8_000, 1, 5_000, 1) == 4_000


def test_without_holders_the_asker_counts() -> None:
    """The first holder of all is one holder."""
    assert grant(100, 0, 100, 0) == 50


@settings(deadline=None)
@given(free=amounts, need=amounts, more=amounts, holders=counts)
def test_a_grant_serves_the_need_or_nothing(
    free: int, need: int, more: int, holders: int
) -> None:
    """Never less than the need when it is free, never more than is free or wanted."""
    granted = grant(free, need, need + more, holders)
    if need > free:
        assert granted == 0
    else:
        assert need <= granted <= min(free, need + more)


@settings(deadline=None)
@given(free=amounts, less=amounts, need=amounts, more=amounts, holders=counts)
def test_leases_shrink_as_the_account_runs_out(
    free: int, less: int, need: int, more: int, holders: int
) -> None:
    """With less free a grant is never larger."""
    want = need + more
    assert grant(min(free, less), need, want, holders) <= grant(
        free, need, want, holders
    )


@settings(deadline=None)
@given(
    free=amounts,
    asks=st.lists(st.tuples(amounts, amounts), max_size=30),
    holders=counts,
)
def test_grants_never_exceed_what_is_free(
    free: int, asks: list[tuple[int, int]], holders: int
) -> None:
    """However many ask one after the other, all they get was free."""
    left = free
    for need, more in asks:
        left -= grant(left, need, need + more, holders)
        assert left >= 0


@settings(deadline=None)
@given(limit=st.integers(min_value=1, max_value=10**6), holders=counts)
def test_the_last_unit_is_granted(limit: int, holders: int) -> None:
    """A budget is granted to the end, in needs of 1, however many holders."""
    left = limit
    steps = 0
    while left:
        left -= grant(left, 1, limit, holders)
        steps += 1
        assert steps <= limit
    assert grant(left, 1, limit, holders) == 0
