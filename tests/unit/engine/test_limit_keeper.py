"""Limits as they change, thresholds and incidents: each recorded once, in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.errors import StoreUnavailableError
from comptroller.core.registry import Budget, ServiceId, Window
from comptroller.engine import records
from comptroller.engine.ledger_rows import ExcessRow
from comptroller.engine.limit_keeper import STEP
from comptroller.testing.ledger_site import Holder, LedgerSite
from comptroller.testing.lessee import limited_registry

MONTH = "service:checkout/month@2025-11"


def declare(site: LedgerSite, limit: int | None, *alerts: int) -> None:
    budget = None
    if limit is not None:
        budget = Budget((Window(limit, "month"),), alert_at_percent=alerts)
    site.apply(limited_registry(budget))


def limits_of(site: LedgerSite) -> tuple[int, int]:
    """As declared, and in force."""
    state = site.store.accounts([MONTH])[MONTH]
    return state.limit, state.effective


@pytest.fixture
def site() -> LedgerSite:
    made = LedgerSite()
    declare(made, 100, 50, 80)
    return made


def test_a_limit_that_fits_takes_effect_at_once(site: LedgerSite) -> None:
    """Raising, and lowering to what is not committed, are done with the apply."""
    holder = Holder(site)
    holder.ask({MONTH: 30})
    declare(site, 200)
    assert limits_of(site) == (200, 200)
    declare(site, 40)
    assert limits_of(site) == (40, 40)
    assert len(site.recorded(records.LIMIT_CHANGED)) == 2


def test_a_limit_that_does_not_fit_yet_comes_down_with_the_leases(
    site: LedgerSite,
) -> None:
    """Until then it says what is in force, and nothing is granted."""
    holder = Holder(site)
    holder.ask({MONTH: 90})
    holder.spend("r1", 20, [MONTH], 20)
    holder.listen()
    declare(site, 50)
    assert limits_of(site) == (50, 90)
    assert [one.accounts for one in holder.recalls] == [[MONTH]]
    assert holder.ask({MONTH: 1}).lacks
    holder.give_back({MONTH: 10})
    site.look()
    assert limits_of(site) == (50, 80)
    holder.give_back({MONTH: 60})
    site.look()
    assert limits_of(site) == (50, 50)
    assert holder.ask({MONTH: 30}).grants
    count = len(site.recorded(records.LIMIT_CHANGED))
    site.look()
    assert len(site.recorded(records.LIMIT_CHANGED)) == count


def test_lowering_below_what_was_spent_holds_what_was_spent(site: LedgerSite) -> None:
    """What is spent stays spent; the limit in force cannot be less than that."""
    holder = Holder(site)
    holder.ask({MONTH: 90})
    holder.spend("r1", 90, [MONTH], 90)
    site.look()
    declare(site, 50)
    assert limits_of(site) == (50, 90)
    (lack,) = holder.ask({MONTH: 1}).lacks
    assert (lack.limit, lack.spent, lack.free) == (50, 90, 0)


def test_a_budget_that_is_not_declared_any_more_is_left_alone(
    site: LedgerSite,
) -> None:
    """Nothing is granted from it, leases are asked back, and its books stay."""
    holder = Holder(site)
    holder.ask({MONTH: 90})
    holder.listen()
    declare(site, None)
    assert [one.accounts for one in holder.recalls] == [[MONTH]]
    assert limits_of(site) == (100, 100)
    holder.give_back({MONTH: 90})
    site.look()
    assert holder.ask({MONTH: 1}).lacks
    declare(site, 70)
    assert limits_of(site) == (70, 70)
    assert holder.ask({MONTH: 70}).grants


def test_the_next_process_goes_on_with_a_limit_that_comes_down(
    site: LedgerSite,
) -> None:
    """What was not in force when a process died is brought into force by the next."""
    holder = Holder(site)
    holder.ask({MONTH: 90})
    declare(site, 50)
    after = site.anew()
    holder.site = after
    after.look()
    holder.give_back({MONTH: 90})
    after.look()
    assert limits_of(after) == (50, 50)


def test_a_threshold_is_recorded_when_it_is_crossed_and_once(site: LedgerSite) -> None:
    """Each percentage once a window, by this process or the next."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 49, [MONTH], 49)
    site.look()
    assert not site.recorded(records.THRESHOLD_CROSSED)
    holder.spend("r2", 1, [MONTH], 1)
    site.look()
    (crossed,) = site.recorded(records.THRESHOLD_CROSSED)
    assert crossed == {
        "account": MONTH,
        "percent": 50,
        "spent_nano_usd": 50,
        "limit_nano_usd": 100,
    }
    holder.spend("r3", 10, [MONTH], 10)
    site.look()
    after = site.anew()
    after.look()
    assert len(after.recorded(records.THRESHOLD_CROSSED)) == 1
    holder.spend("r4", 20, [MONTH], 20)
    after.look()
    percents = [one["percent"] for one in after.recorded(records.THRESHOLD_CROSSED)]
    assert percents == [50, 80]


def test_a_threshold_crossed_while_nobody_looked_is_recorded(site: LedgerSite) -> None:
    """A process that died between projection and record is made up for."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 90, [MONTH], 90)
    site.project(*site.journals.sources())
    after = site.anew()
    after.look()
    percents = [one["percent"] for one in after.recorded(records.THRESHOLD_CROSSED)]
    assert percents == [50, 80]


def test_a_threshold_that_a_lower_limit_crosses_is_recorded(site: LedgerSite) -> None:
    """It is the share of the limit that counts, whichever of the two changed."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 40, [MONTH], 40)
    site.look()
    declare(site, 60, 50, 80)
    (crossed,) = site.recorded(records.THRESHOLD_CROSSED)
    assert (crossed["percent"], crossed["limit_nano_usd"]) == (50, 60)


def test_a_request_that_cost_more_than_its_hold_is_an_incident(
    site: LedgerSite,
) -> None:
    """Recorded once, also when the process died before it could."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("fits", 10, [MONTH], 10)
    holder.spend("exceeds", 10, [MONTH], 15)
    site.project(*site.journals.sources())
    after = site.anew()
    after.look()
    after.look()
    (incident,) = after.recorded(records.HOLD_EXCEEDED)
    assert incident == {
        "decision_id": "exceeds",
        "service": "checkout",
        "model": "small",
        "hold_nano_usd": 10,
        "cost_nano_usd": 15,
    }
    after.anew().look()
    assert len(after.recorded(records.HOLD_EXCEEDED)) == 1
    state = after.store.accounts([MONTH])[MONTH]
    assert (state.settled, state.unheld) == (25, 5)


def test_what_a_failing_store_cut_short_is_done_later(site: LedgerSite) -> None:
    """A tick that failed in the middle leaves nothing out."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 90, [MONTH], 90)
    site.project(*site.journals.sources())
    excesses = site.store.excesses

    def fail() -> list[ExcessRow]:
        raise StoreUnavailableError

    site.store.excesses = fail  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        site.centre.tick()
    site.store.excesses = excesses  # type: ignore[method-assign]
    site.centre.tick()
    assert len(site.recorded(records.THRESHOLD_CROSSED)) == 2


def test_nothing_is_recorded_when_nothing_changed(site: LedgerSite) -> None:
    """A tick writes nothing by itself."""
    Holder(site).ask({MONTH: 10})
    site.look()
    before = site.open_journal().sequence
    for _ in range(5):
        site.look()
    assert site.open_journal().sequence == before


def test_a_thousand_runs_hold_nobody_up() -> None:
    """After an apply, a threshold and a lowered limit are told at the next look."""
    site = LedgerSite()
    registry = limited_registry(Budget((Window(100, "month"),), (50,)))
    name = ServiceId("checkout")
    one = replace(registry.services[name], run_budget=Window(9, "total"))
    registry = replace(registry, services={**registry.services, name: one})
    site.apply(registry)
    holder = Holder(site)
    for begin in range(0, 2 * STEP, 100):
        runs = range(begin, begin + 100)
        holder.ask({f"run:checkout/r{number}/total@all": 1 for number in runs})
    holder.ask({MONTH: 90})
    holder.spend("r1", 60, [MONTH], 60)
    one = replace(one, budget=Budget((Window(95, "month"),), (50,)))

    site.apply(replace(registry, services={**registry.services, name: one}))

    assert limits_of(site) == (95, 95)
    site.look()
    assert len(site.recorded(records.THRESHOLD_CROSSED)) == 1
