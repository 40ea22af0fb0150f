"""Rate limits at a worker: exact, refused truthfully, and without needless trips."""

from __future__ import annotations

import pytest

from comptroller.core.gcra import Bucket
from comptroller.core.registry import Limits, Rate
from comptroller.engine.holding import Need
from comptroller.engine.leasing import RateGranted
from comptroller.testing.lessee import (
    Lessee,
    World,
    limited_registry,
    month_budget,
)

REQUESTS = "service:checkout/requests"
TOKENS = "service:checkout/tokens"


def workers(limits: Limits, count: int = 1) -> list[Lessee]:
    world = World()
    if limits.requests is not None:
        rate = limits.requests
        world.centre.buckets[REQUESTS] = Bucket(rate.count, rate.period_s)
    if limits.tokens is not None:
        rate = limits.tokens
        world.centre.buckets[TOKENS] = Bucket(rate.count, rate.period_s)
    registry = limited_registry(None, limits)
    return [world.lessee(registry, f"/n/w{number}/1") for number in range(count)]


def worker(requests: Rate | None = None, tokens: Rate | None = None) -> Lessee:
    return workers(Limits(requests=requests, tokens=tokens))[0]


def remaining(lessee: Lessee, limit: str) -> int:
    bucket = lessee.world.centre.buckets[limit]
    return bucket.remaining(lessee.world.clock.now_ns())


def refused(lessee: Lessee, need: Need) -> RateGranted:
    shortfall = lessee.answer(need)
    assert shortfall is not None
    assert shortfall.rate is not None
    assert shortfall.rate.limit == {"requests": REQUESTS, "tokens": TOKENS}.get(
        shortfall.kind
    )
    return shortfall.rate


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_rate_of_ten_lets_ten_of_two_hundred_pass(count: int) -> None:
    """Exact across workers; the others are refused at once, and do not wait."""
    all_ = workers(Limits(requests=Rate(10, 60)), count)
    needs = [(one, one.ask(0, wait_s=30)) for one in all_ for _ in range(200 // count)]
    all_[0].world.timers.advance(0.1)

    passed = [need for _, need in needs if need.held is not None]
    waits = [refused(one, need) for one, need in needs if need.held is None]

    assert len(passed) == 10
    assert len(waits) == 190
    assert all(5 < rate.retry_after_s <= 6.1 for rate in waits)
    assert {rate.burst for rate in waits} == {10}
    assert {rate.remaining for rate in waits} == {0}


def test_the_time_to_try_again_is_true() -> None:
    """Just before it a request is refused still; at it, it passes."""
    lessee = worker(requests=Rate(10, 60))
    for _ in range(10):
        lessee.ask(0)
    lessee.world.timers.advance(2.5)
    need = lessee.ask(0)
    lessee.world.timers.advance(0.01)
    wait_s = refused(lessee, need).retry_after_s
    lessee.world.timers.advance(wait_s - 0.02)
    early = lessee.ask(0)
    lessee.world.timers.advance(0.005)
    refused(lessee, early)

    lessee.world.timers.advance(0.02)
    late = lessee.ask(0)
    lessee.world.timers.advance(0.01)

    assert lessee.answer(late) is None


def test_a_storm_of_refused_requests_makes_no_trips() -> None:
    """Until there is room again the worker refuses by itself, and still truthfully."""
    lessee = worker(requests=Rate(10, 60))
    for _ in range(11):
        lessee.ask(0)
    lessee.world.timers.advance(0.1)
    asks = len(lessee.desk.asked)

    needs = []
    for _ in range(100):
        needs.append(lessee.ask(0))
        lessee.world.timers.advance(0.05)

    assert len(lessee.desk.asked) == asks
    waits = [refused(lessee, need).retry_after_s for need in needs]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] - waits[-1] == pytest.approx(0.05 * 99)


def test_a_smaller_request_is_not_refused_for_a_larger_one() -> None:
    """What is known not to be there says nothing of fewer tokens."""
    lessee = worker(tokens=Rate(1000, 60))
    large = lessee.ask(0, tokens=900)
    lessee.world.timers.advance(0.01)
    too_large = lessee.ask(0, tokens=500)
    lessee.world.timers.advance(0.01)
    small = lessee.ask(0, tokens=50)
    lessee.world.timers.advance(0.01)

    assert lessee.answer(large) is None
    assert refused(lessee, too_large).retry_after_s == pytest.approx(24, abs=0.5)
    assert lessee.answer(small) is None


def test_a_request_of_more_than_the_limit_never_fits() -> None:
    """It is said so without asking, and no time to try again is made up."""
    lessee = worker(tokens=Rate(1000, 60))
    need = lessee.ask(0, tokens=1001)
    lessee.world.timers.advance(0.01)

    assert refused(lessee, need).retry_after_s == -1
    assert lessee.desk.asked == []


def test_tokens_that_were_not_used_are_refunded() -> None:
    """What was charged at admission is corrected at the end, soon and once."""
    lessee = worker(tokens=Rate(1000, 60))
    need = lessee.ask(0, tokens=900)
    lessee.world.timers.advance(3)
    lessee.settle(need, 0, tokens=100)
    lessee.world.timers.advance(0.3)

    refunds = [refund for ask in lessee.desk.asked for refund in ask.refunds]
    assert [refund.units for refund in refunds] == [800]
    assert 890 <= remaining(lessee, TOKENS) <= 960


def test_a_refund_stays_here_while_its_slice_lasts() -> None:
    """The next request uses it without a trip; after a second it is the centre's."""
    lessee = worker(tokens=Rate(1000, 60))
    need = lessee.ask(0, tokens=900)
    lessee.world.timers.advance(0.1)
    asks = len(lessee.desk.asked)
    lessee.settle(need, 0, tokens=100)
    other = lessee.hold(0, tokens=300)

    assert other is not None
    assert len(lessee.desk.asked) == asks
    lessee.world.timers.advance(2)
    refunds = [refund for ask in lessee.desk.asked for refund in ask.refunds]
    assert [refund.units for refund in refunds] == [500]


def test_a_refund_of_an_old_slice_does_not_swell_a_new_one() -> None:
    """The bucket has drained since: only the centre knows how far."""
    lessee = worker(tokens=Rate(6000, 60))
    old = lessee.ask(0, tokens=5000)
    lessee.world.timers.advance(30)
    new = lessee.ask(0, tokens=10)
    lessee.world.timers.advance(0.01)
    here = lessee.path().rates[0].units

    lessee.settle(old, 0, tokens=0)

    assert new.held is not None
    assert lessee.path().rates[0].units == here
    assert lessee.path().rates[0].refunds == 5000


def test_what_is_left_of_a_slice_goes_back_when_it_expires() -> None:
    """A busy limit is handed out in slices; a rest is not lost, nor kept."""
    lessee = worker(requests=Rate(6000, 60))
    for _ in range(50):
        if lessee.hold(0) is None:
            lessee.ask(0)
        lessee.world.timers.advance(0.02)
    lessee.world.timers.advance(2)

    admitted = 50
    drained_all = 6000
    assert lessee.path().rates[0].units == 0
    assert remaining(lessee, REQUESTS) >= drained_all - admitted
    assert lessee.world.timers.pending == 0


def test_slices_of_a_busy_limit_come_before_they_are_needed() -> None:
    """At a steady pace few requests wait for a trip."""
    lessee = worker(requests=Rate(60_000, 60))
    waited = 0
    for _ in range(1000):
        if lessee.hold(0) is None:
            waited += 1
            lessee.ask(0)
        lessee.world.timers.advance(0.005)

    assert waited <= 30


def test_a_slice_is_not_used_after_its_time() -> None:
    """A worker that stood still holds nothing on what it had before."""
    lessee = worker(requests=Rate(6000, 60))
    lessee.ask(0)
    lessee.world.timers.advance(0.5)
    slot = lessee.path().rates[0]
    slot.fill(50, lessee.world.clock.monotonic_s() + 0.5, 99, 0.0)
    assert lessee.hold(0) is not None

    lessee.world.clock.advance(0.6)

    assert lessee.hold(0) is None


def test_an_answer_that_took_too_long_gives_no_units() -> None:
    """A slice counts from when it was asked for."""
    lessee = worker(requests=Rate(6000, 60))
    lessee.desk.delay_s = 1.5
    need = lessee.ask(0, wait_s=2)
    lessee.world.timers.advance(1.6)

    assert need.held is None
    assert lessee.path().rates[0].units >= 0
    assert lessee.hold(0) is None


def test_old_refunds_are_dropped() -> None:
    """A centre that could not be told for long may have counted what was used."""
    lessee = worker(tokens=Rate(1000, 60))
    need = lessee.ask(0, tokens=900)
    lessee.world.timers.advance(2)
    lessee.desk.is_down = True
    lessee.ask(0, tokens=1000, wait_s=10)
    lessee.world.timers.advance(0.1)
    lessee.settle(need, 0, tokens=0)
    lessee.world.timers.advance(1.5)
    lessee.desk.is_down = False
    lessee.world.timers.advance(3)

    assert [refund for ask in lessee.desk.asked for refund in ask.refunds] == []


def test_a_request_that_was_not_sent_still_counts_as_one() -> None:
    """Its tokens are refunded; that it was admitted is so."""
    lessee = worker(requests=Rate(10, 60), tokens=Rate(1000, 60))
    need = lessee.ask(0, tokens=600)
    lessee.world.timers.advance(1.5)
    lessee.holding.release(lessee.path(), need)
    lessee.world.timers.advance(0.3)

    refunds = [
        (refund.limit, refund.units)
        for ask in lessee.desk.asked
        for refund in ask.refunds
    ]
    assert refunds == [(TOKENS, 600)]
    assert remaining(lessee, REQUESTS) == 9


def test_a_limit_that_the_centre_does_not_look_at_yet_is_asked_again() -> None:
    """Just after it started it hands out no units; requests wait for it."""
    lessee = worker(requests=Rate(10, 60))
    lessee.world.centre.is_rating = False
    need = lessee.ask(0)
    lessee.world.timers.advance(0.5)
    assert need.held is None
    lessee.world.centre.is_rating = True
    lessee.world.timers.advance(0.2)

    assert lessee.answer(need) is None
    assert len(lessee.desk.asked) <= 14


def test_replies_can_say_how_the_limits_stand() -> None:
    """Limit, what is left, and how long until it is full, of every limit."""
    lessee = worker(requests=Rate(10, 60), tokens=Rate(1000, 60))
    assert lessee.holding.rates(lessee.path()) == []
    lessee.ask(0, tokens=100)
    lessee.world.timers.advance(0.01)

    said = {rate.limit: rate for rate in lessee.holding.rates(lessee.path())}

    assert (said[REQUESTS].burst, said[REQUESTS].remaining) == (10, 9)
    assert (said[TOKENS].burst, said[TOKENS].remaining) == (1000, 900)
    assert said[TOKENS].reset_s == pytest.approx(6, abs=0.1)


def test_a_rate_that_is_declared_anew_counts_at_once() -> None:
    """What was refused by the old limit is asked again by the new one."""
    lessee = worker(requests=Rate(1, 60))
    lessee.ask(0)
    lessee.ask(0)
    lessee.world.timers.advance(0.1)
    lessee.world.centre.buckets[REQUESTS] = Bucket(100, 60)
    lessee.holding.take(limited_registry(None, Limits(requests=Rate(100, 60))), 2)
    need = lessee.ask(0)
    lessee.world.timers.advance(0.1)

    assert lessee.answer(need) is None


def test_a_budget_that_lacks_wastes_no_units() -> None:
    """Who waits for money is charged no rate before there is some."""
    world = World()
    world.centre.buckets[REQUESTS] = Bucket(10, 60)
    month = "service:checkout/month@2025-11"
    world.centre.limits[month] = 1000
    lessee = world.lessee(
        limited_registry(month_budget(), Limits(requests=Rate(10, 60)))
    )
    first = lessee.ask(1000)
    world.timers.advance(0.1)
    second = lessee.ask(1000, wait_s=5)
    world.timers.advance(1)
    assert remaining(lessee, REQUESTS) == 9
    lessee.settle(first, 0)
    world.timers.advance(0.2)

    assert lessee.answer(second) is None
    assert remaining(lessee, REQUESTS) == 8


def test_what_was_asked_ahead_in_vain_holds_up_no_request() -> None:
    """Asking early stops for a while; a request that needs units is asked for."""
    lessee = worker(requests=Rate(6000, 60))
    lessee.ask(0)
    lessee.world.timers.advance(0.01)
    slot = lessee.path().rates[0]
    slot.expire(lessee.world.clock.monotonic_s() + 2.0)
    slot.ahead_after_s = lessee.world.clock.monotonic_s() + 10.0

    late = lessee.ask(0)
    lessee.world.timers.advance(0.05)

    assert lessee.answer(late) is None


def test_units_that_are_here_are_not_asked_for_again() -> None:
    """A request that waits for a permit asks once for its units, not on and on."""
    lessee = worker(requests=Rate(2, 60), tokens=Rate(6000, 60))
    slot = lessee.path().rates[1]
    slot.ask_after_s = lessee.world.clock.monotonic_s() + 1.0

    late = lessee.ask(0, tokens=10, wait_s=2.0)
    lessee.world.timers.advance(0.5)
    trips = len(lessee.desk.asked)
    lessee.world.timers.advance(1.0)

    assert trips <= 2
    assert lessee.answer(late) is None


def test_a_slice_that_is_too_small_and_the_rest_together_are_enough() -> None:
    """What is here goes back with the ask, so nobody is refused for it."""
    lessee = worker(tokens=Rate(600, 60))
    lessee.path()
    now_s = lessee.world.clock.monotonic_s()
    bucket = lessee.world.centre.buckets[TOKENS]
    assert bucket.take(lessee.world.clock.now_ns(), 400)
    lessee.path().rates[0].fill(400, now_s + 1.0, 1, now_s)

    need = lessee.ask(0, tokens=500)
    lessee.world.timers.advance(0.01)

    assert lessee.answer(need) is None
