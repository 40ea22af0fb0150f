from __future__ import annotations

import pytest

from comptroller.core.gcra import NEVER_NS, Bucket

S = 1_000_000_000
MINUTE = 60 * S
NOW = 1_795_000_000 * S


def test_a_full_count_fits_at_once_and_no_more() -> None:
    """A limit of 15 a minute lets 15 of 200 pass that come together."""
    bucket = Bucket(15, 60)
    assert sum(bucket.take(NOW, 1) for _ in range(200)) == 15


def test_units_come_back_one_by_one() -> None:
    """After the burst there is one unit every period / count, to the nanosecond."""
    bucket = Bucket(15, 60)
    assert bucket.take(NOW, 15)
    assert not bucket.take(NOW + 4 * S - 1, 1)
    assert bucket.take(NOW + 4 * S, 1)
    assert not bucket.take(NOW + 4 * S, 1)


def test_a_count_that_does_not_divide_the_period_is_exact() -> None:
    """7 a second over 1,000 seconds is 7,000 and the burst, not one less."""
    bucket = Bucket(7, 1)
    step = S // 100
    admitted = sum(bucket.take(NOW + i * step, 1) for i in range(100_001))
    assert admitted == 7_007


@pytest.mark.parametrize(("count", "period_s"), [(7, 60), (15, 60), (1, 3600), (3, 1)])
def test_wait_is_exact(count: int, period_s: int) -> None:
    """Units fit when the wait is over, and not a nanosecond before."""
    bucket = Bucket(count, period_s)
    assert bucket.take(NOW, count)
    wait = bucket.wait_ns(NOW + 5, 1)
    assert wait > 0
    assert not bucket.take(NOW + 5 + wait - 1, 1)
    assert bucket.take(NOW + 5 + wait, 1)


def test_more_than_the_count_never_fits() -> None:
    """A request larger than the limit is told so, not to wait."""
    bucket = Bucket(1000, 60)
    assert bucket.wait_ns(NOW, 1001) == NEVER_NS == -1
    assert not bucket.take(NOW, 1001)
    assert bucket.wait_ns(NOW, 1000) == 0


def test_a_refund_is_there_at_once() -> None:
    """Tokens that were held and not used can be used by the next request."""
    bucket = Bucket(1000, 60)
    assert bucket.take(NOW, 1000)
    bucket.refund(NOW, 400)
    assert bucket.remaining(NOW) == 400
    assert bucket.take(NOW, 400)
    assert not bucket.take(NOW, 1)


def test_a_late_refund_is_capped() -> None:
    """What has drained since is not given twice: never more than a full count."""
    bucket = Bucket(1000, 60)
    assert bucket.take(NOW, 1000)
    later = NOW + MINUTE
    bucket.refund(later, 1000)
    assert bucket.remaining(later) == 1000
    assert bucket.take(later, 1000)
    assert not bucket.take(later, 1)


def test_a_charge_fills_a_bucket_and_no_more() -> None:
    """Of a full one nothing is left, and a unit is back after its time."""
    bucket = Bucket(60, 60)
    bucket.charge(NOW, 90)
    assert bucket.remaining(NOW) == 0
    assert bucket.wait_ns(NOW, 1) == 1 * S
    assert bucket.reset_ns(NOW) == 60 * S


def test_reset_is_when_the_bucket_is_full_again() -> None:
    """A bucket that nobody took from is full now; else after what was taken."""
    bucket = Bucket(15, 60)
    assert bucket.reset_ns(NOW) == 0
    assert bucket.remaining(NOW) == 15
    assert bucket.take(NOW, 3)
    assert bucket.remaining(NOW) == 12
    assert bucket.reset_ns(NOW) == 12 * S


def test_a_clock_that_trembles_gives_nothing_twice() -> None:
    """A step back and forward again admits no more than standing still."""
    bucket = Bucket(15, 60)
    assert bucket.take(NOW, 15)
    for _ in range(100):
        assert not bucket.take(NOW - 2 * S, 1)
        assert not bucket.take(NOW, 1)


def test_a_clock_set_back_delays_by_a_period_at_most() -> None:
    """A clock set back by a year does not stop the limit for a year."""
    bucket = Bucket(15, 60)
    assert bucket.take(NOW, 15)
    back = NOW - 365 * 86_400 * S
    wait = bucket.wait_ns(back, 15)
    assert wait == 2 * MINUTE
    assert bucket.take(back + wait, 15)
