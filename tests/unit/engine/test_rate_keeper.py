"""Rates at the centre: exact across workers, over a restart, and truthful."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.registry import Limits, ModelId, Rate, Registry
from comptroller.engine.leasing import RateGranted, RateNeed, Refund
from comptroller.engine.ports import SpendRow
from comptroller.testing.ledger_site import Holder, LedgerSite
from comptroller.testing.lessee import limited_registry
from comptroller.testing.script import Script
from comptroller.testing.system import FakeClock

REQUESTS = "service:checkout/requests"
TOKENS = "service:checkout/tokens"


def limited(requests: Rate | None = None, tokens: Rate | None = None) -> Registry:
    return limited_registry(None, Limits(requests=requests, tokens=tokens))


def a_site(requests: Rate | None = None, tokens: Rate | None = None) -> LedgerSite:
    site = LedgerSite()
    site.apply(limited(requests, tokens))
    return site


def units(holder: Holder, limit: str, need: int, want: int = 0) -> RateGranted:
    """What is granted of a limit."""
    (granted,) = holder.ask({}, [RateNeed(limit, need, max(need, want))]).rates
    return granted


def test_a_limit_holds_across_workers() -> None:
    """Ten a minute are ten a minute, whoever asks, and then one every six seconds."""
    site = a_site(Rate(10, 60))
    holders = [Holder(site, f"w{number}") for number in range(4)]
    begin_s = site.clock.monotonic_s()
    granted = sum(units(holders[turn % 4], REQUESTS, 1).units for turn in range(40))
    passed_s = site.clock.monotonic_s() - begin_s
    assert granted == 10 + int(passed_s / 6)


def test_a_refusal_says_when_and_keeps_its_word() -> None:
    """After `retry_after_s` the units are there, and not a moment before."""
    site = a_site(Rate(2, 60))
    holder = Holder(site)
    assert units(holder, REQUESTS, 2).units == 2
    refused = units(holder, REQUESTS, 1)
    assert refused.units == 0
    assert refused.remaining == 0
    assert 29 < refused.retry_after_s <= 30
    assert 59 < refused.reset_s <= 60
    asked_s = site.clock.monotonic_s() - 0.2  # Holder.ask lets so much pass
    wait_s = refused.retry_after_s - (site.clock.monotonic_s() - asked_s)
    site.timers.advance(wait_s - 0.01)
    early = holder.start({}, [RateNeed(REQUESTS, 1, 1)])
    site.timers.advance(0.001)
    assert early[0] is not None
    assert early[0].rates[0].units == 0
    site.timers.advance(0.02)
    assert units(holder, REQUESTS, 1).units == 1


def test_more_than_the_limit_itself_never_fits() -> None:
    """No time to wait is named where none would help."""
    site = a_site(tokens=Rate(100, 60))
    refused = units(Holder(site), TOKENS, 101)
    assert (refused.units, refused.burst) == (0, 100)
    assert refused.retry_after_s < 0


def test_a_fast_limit_is_handed_out_in_slices() -> None:
    """At most one second of it, shared among the holders, and what is needed."""
    site = a_site(Rate(6000, 60))
    one, other = Holder(site, "w0"), Holder(site, "w1")
    assert units(one, REQUESTS, 1, 1000).units == 100
    assert units(other, REQUESTS, 1, 1000).units == 50
    assert units(other, REQUESTS, 1, 7).units == 7
    assert units(other, REQUESTS, 300, 400).units == 300


def test_a_slow_limit_is_handed_out_as_needed() -> None:
    """A slice that expires unused would be a good part of it."""
    site = a_site(Rate(600, 60))
    assert units(Holder(site), REQUESTS, 1, 1000).units == 1


def test_unused_units_are_given_back() -> None:
    """A refund makes room at once, up to a full bucket and no further."""
    site = a_site(tokens=Rate(1000, 60))
    site.timers.advance(61)  # after a start nothing is refunded for a period
    holder = Holder(site)
    assert units(holder, TOKENS, 1000).units == 1000
    answer = holder.ask({}, [RateNeed(TOKENS, 900, 900)], [Refund(TOKENS, 950)])
    assert answer.rates[0].units == 900
    answer = holder.ask({}, [RateNeed(TOKENS, 1000, 1000)], [Refund(TOKENS, 10**6)])
    assert answer.rates[0].units == 1000
    assert units(holder, TOKENS, 100).units == 0


def test_a_repeat_takes_units_and_refunds_once() -> None:
    """The same number is answered once, however often it is sent."""
    site = a_site(Rate(3, 60))
    site.timers.advance(61)
    holder = Holder(site)
    for _ in range(3):
        holder.sequence = 0
        assert units(holder, REQUESTS, 1).remaining == 2
    holder.sequence = 1
    assert units(holder, REQUESTS, 2).units == 2


def test_who_is_refused_for_a_budget_uses_up_no_rate() -> None:
    """Requests that cannot be paid do not take the model's units from others."""
    site = a_site(Rate(3, 60))
    holder = Holder(site)
    answer = holder.ask(
        {"service:checkout/month@2025-11": 5}, [RateNeed(REQUESTS, 1, 1)]
    )
    assert answer.lacks
    assert not answer.rates
    assert units(holder, REQUESTS, 3).units == 3


@pytest.mark.parametrize(("before", "after", "left"), [(10, 20, 14), (10, 7, 1)])
def test_a_limit_that_changes_keeps_what_was_used(
    before: int, after: int, left: int
) -> None:
    """Six of ten are six of twenty, too, and six of seven."""
    site = a_site(Rate(before, 3600))
    holder = Holder(site)
    units(holder, REQUESTS, 6)
    site.apply(limited(Rate(after, 3600)))
    assert units(holder, REQUESTS, 0).remaining == left


def test_a_lowered_limit_shuts_nobody_out_for_longer_than_it_says() -> None:
    """What a higher limit let through is not waited for at the pace of the lower."""
    site = a_site(Rate(600, 60))
    holder = Holder(site)
    assert units(holder, REQUESTS, 600).units == 600
    site.apply(limited(Rate(60, 60)))
    refused = units(holder, REQUESTS, 2)
    assert refused.units == 0
    assert refused.retry_after_s <= 2
    assert refused.reset_s <= 60


def test_a_clock_that_is_set_back_shuts_nobody_out() -> None:
    """Requests of a time to come count as of now: they fill a bucket, and no more."""
    site = a_site(Rate(10, 60))
    holder = Holder(site)
    wrong = FakeClock(site.clock.now_ns() + 3600 * 10**9)
    holder.script = Script(holder.journal, wrong, site.ids)
    for number in range(100):
        admitted(holder, f"r{number}", 1)
        wrong.advance(6)
    holder.die()
    worker = Holder(site, "w1")
    after = site.anew()
    worker.site = after
    after.look()
    refused = units(worker, REQUESTS, 1)
    assert refused.units == 0
    assert refused.retry_after_s <= 6


def test_a_limit_that_is_not_declared_any_more_limits_nothing() -> None:
    """A worker that does not know yet is given what it asks for."""
    site = a_site(Rate(1, 60))
    site.apply(limited())
    assert units(Holder(site), REQUESTS, 50).units == 50


def admitted(holder: Holder, request_id: str, tokens: int) -> None:
    holder.script.decided(
        request_id,
        {
            "service.name": "checkout",
            "gen_ai.request.model": "small",
            "comptroller.hold.input_tokens": tokens,
            "comptroller.hold.output_tokens": 0,
        },
    )


def test_the_next_process_knows_what_was_admitted() -> None:
    """Buckets are filled from the requests of the last period; nothing twice."""
    site = a_site(Rate(10, 60), Rate(1000, 60))
    holder = Holder(site)
    for number in range(4):
        units(holder, REQUESTS, 1)
        admitted(holder, f"r{number}", 100)
    holder.script.settled("r0", 5, {"input": 40})
    holder.die()
    worker = Holder(site, "w1")
    after = site.anew()
    worker.site = after
    after.look()
    left = units(worker, REQUESTS, 0)
    assert left.remaining in {6, 7}
    assert units(worker, TOKENS, 0).remaining in range(660, 700)


def test_more_than_can_be_read_one_by_one_counts_in_sums() -> None:
    """A long period of many requests is charged in full: never too little."""
    site = a_site(Rate(1000, 3600), Rate(100, 60))
    holder = Holder(site)
    for number in range(30):
        admitted(holder, f"r{number}", 10)
        holder.script.settled(f"r{number}", 5, {"input": 7})
    site.timers.advance(1800)
    admitted(holder, "last", 10)
    holder.die()
    worker = Holder(site, "w1")
    after = site.anew()
    worker.site = after
    spend = after.store.spend

    def many(by: str, since_ns: int | None) -> list[SpendRow]:
        rows = spend(by, since_ns)
        return [row._replace(requests=row.requests * 10_000) for row in rows]

    after.store.spend = many  # type: ignore[method-assign]
    after.look()
    assert units(worker, REQUESTS, 0).remaining == 0
    assert units(worker, TOKENS, 0).remaining == 90


def test_what_an_earlier_process_handed_out_expires_first() -> None:
    """A living worker may have units for a second: until then nobody gets any."""
    site = a_site(Rate(10, 60))
    holder = Holder(site)
    assert units(holder, REQUESTS, 10).units == 10
    after = site.anew()
    holder.site = after
    after.centre.tick()
    assert not holder.ask({}, [RateNeed(REQUESTS, 1, 1)]).rates
    for number in range(10):
        admitted(holder, f"r{number}", 1)
    after.timers.advance(1)
    after.centre.tick()
    assert not after.centre._rates.is_ready, "what was admitted is to be projected"
    after.look()
    after.look()
    assert units(holder, REQUESTS, 1).units == 0


def test_nothing_is_refunded_that_a_rebuilt_bucket_never_held() -> None:
    """After a start, refunds of one period are dropped: it holds what was used."""
    site = a_site(tokens=Rate(1000, 60))
    holder = Holder(site)
    for number in range(10):
        admitted(holder, f"r{number}", 100)
    after = site.anew()
    holder.site = after
    after.look()
    after.timers.advance(1)
    after.look()
    answer = holder.ask({}, [RateNeed(TOKENS, 600, 600)], [Refund(TOKENS, 900)])
    assert answer.rates[0].units == 0


def test_a_journal_that_stands_still_does_not_stop_all_rates() -> None:
    """After ten seconds the others are counted and units are handed out."""
    site = a_site(Rate(10, 60))
    holder = Holder(site)
    holder.ask({})
    holder.journal.append(b'{"garbage"')
    after = LedgerSite(site)
    worker = Holder(after, "w1")
    for _ in range(12):
        after.timers.advance(1)
        after.centre.tick()
    assert units(worker, REQUESTS, 1).units == 1


def test_models_have_rates_of_their_own() -> None:
    """A limit on a model is one bucket for all services."""
    site = LedgerSite()
    registry = limited_registry(None)
    name = ModelId("small")
    model = replace(registry.models[name], limits=Limits(requests=Rate(2, 60)))
    site.apply(replace(registry, models={name: model}))
    one, other = Holder(site, "w0"), Holder(site, "w1")
    assert units(one, "model:small/requests", 1).units == 1
    assert units(other, "model:small/requests", 1).units == 1
    assert units(one, "model:small/requests", 1).units == 0
