"""Requests that wait at a worker: who is served, who is refused, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from comptroller.core.account import Where
from comptroller.core.gcra import Bucket
from comptroller.core.registry import Budget, Limits, Rate, Window
from comptroller.engine.holding import Need
from comptroller.engine.waiting import WAITERS_MAX
from comptroller.testing.lessee import WHERE, Lessee, World, limited_registry
from comptroller.testing.lessee import month_budget as budget

MONTH = "service:checkout/month@2025-11"
PARALLEL = "service:checkout/parallel@now"


def worker(limit: int, permits: int = 10**6) -> Lessee:
    world = World()
    world.centre.limits = {MONTH: limit, PARALLEL: permits}
    return world.lessee(limited_registry(budget(), Limits(concurrency=permits)))


def workers(limit: int, count: int) -> list[Lessee]:
    world = World()
    world.centre.limits = {MONTH: limit}
    registry = limited_registry(budget())
    made = [world.lessee(registry, f"/n/w{number}/1") for number in range(count)]
    for one in made:
        one.desk.recall_s = 0.01
    return made


def held(lessee: Lessee, needs: Sequence[Need]) -> int:
    return sum(need.held is not None for need in needs)


def kinds(lessee: Lessee, needs: Sequence[Need]) -> set[str]:
    answers = [lessee.answer(need) for need in needs]
    return {answer.kind for answer in answers if answer is not None}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_budget_for_ten_lets_ten_of_two_hundred_pass(count: int) -> None:
    """Never eleven and never nine, however many workers share the budget."""
    all_ = workers(10 * 1000, count)
    needs = [[one.ask(1000) for _ in range(200 // count)] for one in all_]
    all_[0].world.timers.advance(3)

    passed = sum(held(one, asked) for one, asked in zip(all_, needs, strict=True))

    assert passed == 10
    for one, asked in zip(all_, needs, strict=True):
        refused = [need for need in asked if need.held is None]
        assert kinds(one, refused) == {"budget"}


def test_a_refusal_says_what_the_account_has() -> None:
    """The last that the centre said goes out with it: limit, spent, free."""
    lessee = worker(2500)
    lessee.world.centre.spent[MONTH] = 2000
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.1)

    shortfall = lessee.answer(need)

    assert shortfall is not None
    assert shortfall.kind == "budget"
    assert shortfall.lack is not None
    assert shortfall.lack.account == MONTH
    assert (shortfall.lack.limit, shortfall.lack.spent) == (2500, 2000)
    assert shortfall.free == shortfall.lack.free == 500
    assert not shortfall.can_clamp


def test_a_refusal_says_whether_the_budget_clamps() -> None:
    """Only where the account that lacks is of a budget that clamps."""
    windows = (Window(10**12, "month"),)
    world = World()
    world.centre.limits = {MONTH: 700, "organization:acme/total@all": 10**9}
    registry = replace(
        limited_registry(Budget(windows, on_shortfall="clamp")),
        budget=Budget((Window(10**12, "total"),)),
    )
    lessee = world.lessee(registry)
    clamped = lessee.ask(1000)
    world.timers.advance(2)
    world.centre.limits = {MONTH: 10**9, "organization:acme/total@all": 100}
    refused = lessee.ask(10_000)
    world.timers.advance(3)

    first, second = lessee.answer(clamped), lessee.answer(refused)

    assert lessee.path().can_clamp
    assert first is not None
    assert first.can_clamp
    assert first.free == 700
    assert second is not None
    assert not second.can_clamp


def test_a_request_waits_for_a_hold_here_to_settle() -> None:
    """What a settled request leaves serves who waits, without another ask."""
    lessee = worker(1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    second = lessee.ask(600)
    lessee.world.timers.advance(0.02)
    asks = len(lessee.desk.asked)

    lessee.settle(first, 400)
    lessee.world.timers.advance(0.005)

    assert lessee.answer(second) is None
    assert len(lessee.desk.asked) <= asks + 1


def test_a_request_waits_for_a_hold_elsewhere_to_settle() -> None:
    """What another worker's request leaves comes by way of the centre."""
    one, two = workers(1000, 2)
    first = one.ask(1000)
    one.world.timers.advance(0.05)
    second = two.ask(600, wait_s=1.0)
    one.world.timers.advance(0.3)
    one.settle(first, 100)
    one.world.timers.advance(0.3)

    assert two.answer(second) is None


def test_a_request_that_no_settlement_could_serve_is_refused_at_once() -> None:
    """Where even holds that end at no cost would not be enough, waiting is in vain."""
    lessee = worker(1000)
    lessee.world.centre.spent[MONTH] = 500
    need = lessee.ask(600, wait_s=5)
    lessee.world.timers.advance(0.05)

    assert kinds(lessee, [need]) == {"budget"}


def test_a_request_that_does_not_wait_is_refused_with_the_answer() -> None:
    """Without time to wait it takes one answer, and no longer."""
    lessee = worker(1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    need = lessee.ask(600, wait_s=0.0)
    lessee.world.timers.advance(0.01)

    assert first.held is not None
    assert kinds(lessee, [need]) == {"budget"}


def test_a_storm_of_hopeless_requests_makes_no_trips() -> None:
    """For a second after a lack requests as large are refused without asking."""
    lessee = worker(0)
    lessee.ask(1000)
    lessee.world.timers.advance(0.05)
    asks = len(lessee.desk.asked)

    needs = [lessee.ask(1000 + number) for number in range(200)]
    lessee.world.timers.advance(0.5)

    assert kinds(lessee, needs) == {"budget"}
    assert len(lessee.desk.asked) == asks


def test_a_lack_is_believed_for_a_second_only() -> None:
    """When the budget is raised, requests pass again a second later."""
    lessee = worker(0)
    lessee.ask(1000)
    lessee.world.timers.advance(0.05)
    lessee.world.centre.limits[MONTH] = 10**6
    lessee.world.timers.advance(1.0)
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.05)

    assert lessee.answer(need) is None


def test_while_a_request_waits_in_vain_the_centre_is_asked_seldom() -> None:
    """At most every 50 ms, however many wait."""
    lessee = worker(1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.05)
    asks = len(lessee.desk.asked)
    for _ in range(50):
        lessee.ask(1000, wait_s=2)
        lessee.world.timers.advance(0.02)

    assert first.held is not None
    assert 10 <= len(lessee.desk.asked) - asks <= 24


def test_requests_of_one_size_are_served_in_their_order() -> None:
    """First come, first served, also as money trickles back."""
    lessee = worker(1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    waiting = [lessee.ask(1000, wait_s=60) for _ in range(5)]
    served: list[Need] = [first]
    for need in [first, *waiting[:-1]]:
        lessee.settle(need, 0)
        lessee.world.timers.advance(0.01)
        served = [one for one, shortfall in lessee.told if shortfall is None]

    assert served == [first, *waiting]


def test_a_small_request_passes_a_large_one_that_does_not_fit() -> None:
    """Nobody is refused for want of what is there."""
    lessee = worker(1000)
    open_hold = lessee.ask(400)
    lessee.world.timers.advance(0.01)
    large = lessee.ask(900)
    small = lessee.ask(600)
    lessee.world.timers.advance(0.3)

    assert open_hold.held is not None
    assert lessee.answer(small) is None
    lessee.world.timers.advance(2)
    assert kinds(lessee, [large]) == {"budget"}


def test_a_large_request_is_served_when_it_fits() -> None:
    """It is asked for again and again while it waits, and not forgotten."""
    lessee = worker(1000)
    open_hold = lessee.ask(400)
    lessee.world.timers.advance(0.01)
    large = lessee.ask(900)
    lessee.world.timers.advance(0.5)
    lessee.settle(open_hold, 50)
    lessee.world.timers.advance(0.2)

    assert lessee.answer(large) is None


def test_two_workers_with_half_each_do_not_block_each_other() -> None:
    """Who waits in vain gives back what it has when it is needed elsewhere."""
    one, two = workers(1000, 2)
    halves = [one.ask(500), two.ask(500)]
    one.world.timers.advance(0.1)
    one.settle(halves[0], 0)
    two.settle(halves[1], 0)
    needs = [one.ask(1000), two.ask(1000)]
    one.world.timers.advance(0.5)
    passed = [need for need in needs if need.held is not None]

    assert len(passed) == 1


def test_what_is_idle_elsewhere_serves_who_waits() -> None:
    """The centre recalls it; a denial means that it was nowhere."""
    one, two = workers(10_000, 2)
    need = one.ask(1000)
    one.world.timers.advance(0.1)
    one.settle(need, 100)
    assert one.holding.book.balance(MONTH).available > 0
    other = two.ask(9900)
    one.world.timers.advance(0.5)

    assert two.answer(other) is None
    assert one.holding.book.balance(MONTH).available == 0


def test_a_small_request_behind_a_large_one_is_refused_only_when_known() -> None:
    """What is idle elsewhere would not do for both, so nobody recalled it yet."""
    one, two = workers(1000, 2)
    world = one.world
    held_here = one.ask(450)
    world.timers.advance(0.1)
    one.holding.recall([MONTH])
    world.centre.spent[MONTH] = 300
    two.holding.book.grant(MONTH, 250)
    world.centre.granted[two.source, MONTH] = 250
    large = one.ask(600, wait_s=1)
    small = one.ask(200, wait_s=0)
    world.timers.advance(0.1)

    assert held_here.held is not None
    assert one.answer(small) is None
    assert large.held is None


def test_a_small_request_behind_a_large_one_is_refused_soon() -> None:
    """It is asked for by itself, and does not wait for what the large one waits for."""
    lessee = worker(1000)
    first = lessee.ask(900)
    lessee.world.timers.advance(0.01)
    large = lessee.ask(800, wait_s=5)
    small = lessee.ask(300, wait_s=0)
    lessee.world.timers.advance(0.04)

    assert first.held is not None
    assert kinds(lessee, [small]) == {"budget"}
    assert large not in [need for need, _ in lessee.told]


def test_a_request_may_wait_for_longer_than_leases_stay_unused() -> None:
    """What somebody waits for is not forgotten, however long nobody held on it."""
    lessee = worker(1000)
    lessee.desk.is_down = True
    need = lessee.ask(1000, wait_s=30)
    lessee.world.timers.advance(31)

    assert kinds(lessee, [need]) == {"ledger_unavailable"}


def test_a_busy_service_does_not_keep_others_from_being_asked_for() -> None:
    """Those that lack are probed for in turn with what is new."""
    world = World()
    registry = limited_registry(budget())
    services = dict(registry.services)
    other = sorted(services)[1]
    limits = Limits(requests=Rate(600, 60))
    services[other] = replace(services[other], limits=limits)
    lessee = world.lessee(replace(registry, services=services))
    world.centre.buckets[f"service:{other}/requests"] = Bucket(600, 60)
    world.centre.limits = {MONTH: 1000}
    first = lessee.ask(1000)
    world.timers.advance(0.05)
    second = lessee.ask(1000, wait_s=5)
    there = Where("acme", "acme", "retail", other, "key-2", None)
    for number in range(300):
        lessee.ask(0, where=there)
        world.timers.advance(0.0004)
        if number == 200:
            world.centre.limits = {MONTH: 2000}

    assert first.held is not None
    assert lessee.answer(second) is None


def test_as_many_requests_run_at_once_as_may() -> None:
    """Permits are leased like money: of five at once three run, two wait."""
    lessee = worker(10**9, permits=3)
    needs = [lessee.ask(10, wait_s=2) for _ in range(5)]
    lessee.world.timers.advance(1)

    assert held(lessee, needs) == 3
    lessee.settle(needs[0], 10)
    lessee.world.timers.advance(0.1)
    assert held(lessee, needs[1:]) == 3
    lessee.world.timers.advance(3)
    shortfall = lessee.answer(needs[4])
    assert shortfall is not None
    assert shortfall.kind == "concurrency"
    assert shortfall.lack is not None
    assert shortfall.lack.limit == 3


def test_no_more_requests_wait_than_may() -> None:
    """Whoever comes when all places are taken is told so, and nobody else."""
    lessee = worker(1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.desk.delay_s = 10
    needs = [lessee.ask(1000, wait_s=0.2) for _ in range(WAITERS_MAX + 1)]
    lessee.world.timers.advance(0)

    assert first.held is not None
    assert [need for need, _ in lessee.told[1:]] == [needs[-1]]
    assert kinds(lessee, needs[-1:]) == {"busy"}


def test_a_cancelled_request_hears_nothing_and_holds_nothing() -> None:
    """Its client has left: what it would have held serves others."""
    lessee = worker(10**6)
    need = Need(1000, 0, 0)
    waiting = lessee.wait(need)
    lessee.holding.cancel(waiting)
    lessee.world.timers.advance(3)

    assert lessee.told == []
    assert need.held is None
    assert lessee.holding.book.balance(MONTH).held == 0


def test_a_request_cancelled_between_hold_and_answer_holds_nothing() -> None:
    """It was served in the same moment, and had yet to hear of it."""
    lessee = worker(10**6)
    lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    before = lessee.holding.book.balance(MONTH).available
    need = Need(1000, 0, 0)
    waiting = lessee.wait(need)
    assert need.held is not None

    lessee.holding.cancel(waiting)
    lessee.holding.cancel(waiting)
    lessee.world.timers.advance(1)

    assert len(lessee.told) == 1
    assert lessee.holding.book.balance(MONTH).available == before


def test_nobody_is_told_inside_the_call_that_lets_it_wait() -> None:
    """Neither what is served at once nor what is refused at once."""
    lessee = worker(0)
    refused = lessee.ask(1000)
    lessee.world.timers.advance(0.1)
    again = lessee.ask(1000)

    assert [need for need, _ in lessee.told] == [refused]
    lessee.world.timers.advance(0)
    assert kinds(lessee, [again]) == {"budget"}


def test_a_request_of_one_run_does_not_wait_for_another_runs_budget() -> None:
    """Services that are exhausted do not hold up those that are not."""
    world = World()
    registry = limited_registry(budget())
    name, other = sorted(registry.services)
    services = dict(registry.services)
    services[other] = replace(services[other], budget=budget())
    lessee = world.lessee(replace(registry, services=services))
    search = "service:search/month@2025-11"
    world.centre.limits = {MONTH: 1000, search: 10**9}
    assert (name, other) == ("checkout", "search")
    first = lessee.ask(1000)
    world.timers.advance(0.05)
    lessee.ask(1000, wait_s=5)
    world.timers.advance(0.5)
    there = Where("acme", "acme", "retail", "search", "key-2", None)
    need = lessee.ask(1000, where=there)
    world.timers.advance(0.02)

    assert first.held is not None
    assert lessee.answer(need) is None
    assert WHERE.service == "checkout"
