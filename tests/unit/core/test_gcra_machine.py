"""Rates under any sequence of takes, charges and refunds, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from comptroller.core.gcra import NEVER_NS, Bucket

S = 1_000_000_000
START_NS = 1_795_000_000 * S

units = st.integers(min_value=0, max_value=20)


class RateMachine(RuleBasedStateMachine):
    """One bucket, and every span of time since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START_NS
        self.bucket = Bucket(1, 1)
        self.available = Fraction(0)
        self.taken: list[tuple[int, Fraction]] = []
        """When how many units were taken; refunds are negative."""

    @initialize(
        count=st.integers(min_value=1, max_value=15),
        period_s=st.sampled_from([1, 7, 60, 3600]),
    )
    def make(self, count: int, period_s: int) -> None:
        """A new bucket admits its whole count."""
        self.bucket = Bucket(count, period_s)
        self.per_ns = Fraction(count, period_s * S)
        self.available = Fraction(count)

    @rule(millionths=st.integers(min_value=0, max_value=2_000_000))
    def pass_time(self, millionths: int) -> None:
        """Units come back with time, to the full count."""
        elapsed = int(millionths / self.per_ns / 1_000_000)
        self.now_ns += elapsed
        full = Fraction(self.bucket.count)
        self.available = min(full, self.available + elapsed * self.per_ns)

    @rule()
    def pass_long(self) -> None:
        """A period passes."""
        self.pass_time(self.bucket.count * 1_000_000)

    @rule(units=units)
    def take(self, units: int) -> None:
        """What fits is taken, neither more nor less."""
        fits = units <= self.available
        assert self.bucket.take(self.now_ns, units) == fits
        if fits:
            self.available -= units
            self.taken.append((self.now_ns, Fraction(units)))

    @rule(units=units)
    def refund(self, units: int) -> None:
        """What was not used is there again, up to the full count."""
        self.bucket.refund(self.now_ns, units)
        back = min(Fraction(units), self.bucket.count - self.available)
        self.available += back
        self.taken.append((self.now_ns, -back))

    @rule(units=units)
    def charge(self, units: int) -> None:
        """What was used without asking counts too."""
        self.bucket.charge(self.now_ns, units)
        self.available = max(Fraction(0), self.available - units)

    @rule(units=units)
    def wait(self, units: int) -> None:
        """After the wait it says the units fit, and a nanosecond before not."""
        wait_ns = self.bucket.wait_ns(self.now_ns, units)
        if units > self.bucket.count:
            assert wait_ns == NEVER_NS
            return
        assert self.available + wait_ns * self.per_ns >= units
        if wait_ns:
            assert self.available + (wait_ns - 1) * self.per_ns < units

    @invariant()
    def it_says_what_is_there(self) -> None:
        """Remaining units and the time of the reset are exact."""
        assert self.bucket.remaining(self.now_ns) == max(0, self.available // 1)
        missing = self.bucket.count - self.available
        reset_ns = self.bucket.reset_ns(self.now_ns)
        assert 0 <= reset_ns - missing / self.per_ns < 1 if missing else reset_ns == 0

    @invariant()
    def no_span_admits_more(self) -> None:
        """In any span t at most count + count * t / period, refunds apart."""
        total = Fraction(0)
        if not self.taken:
            return
        last_ns = self.taken[-1][0]
        for at_ns, units in reversed(self.taken):
            total += units
            assert total <= self.bucket.count + (last_ns - at_ns) * self.per_ns


TestRates = RateMachine.TestCase
TestRates.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
