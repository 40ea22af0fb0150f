"""Reached thresholds: told to the workers from the store, by whichever process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.registry import (
    Budget,
    Downgrade,
    ModelId,
    Registry,
    ServiceId,
    Window,
)
from comptroller.engine import records
from comptroller.engine.control import REACHED_EVERY_S, Control
from comptroller.engine.snapshot import ReachedThreshold
from comptroller.testing.ledger_site import ADA, Holder, LedgerSite
from comptroller.testing.lessee import limited_registry

MONTH = "service:checkout/month@2025-11"
STEPS = (Downgrade(80, ModelId("cheap")), Downgrade(95, ModelId("cheapest")))


def limited(limit: int = 100, *alerts: int) -> Registry:
    window = Window(limit, "month")
    return limited_registry(Budget((window,), alerts, on_threshold=STEPS))


def told(site: LedgerSite) -> list[ReachedThreshold]:
    return site.snapshot().reached


@pytest.fixture
def site() -> LedgerSite:
    made = LedgerSite()
    made.apply(limited())
    return made


def look(site: LedgerSite, control: Control) -> int:
    """Lets the control process look; the sequence of what is published then."""
    site.project(*site.journals.sources())
    control._tick()
    site.clock.advance(2 * REACHED_EVERY_S)
    return site.snapshot().sequence


def test_a_threshold_is_told_as_soon_as_it_is_reached(site: LedgerSite) -> None:
    """With the highest share of its window, and with one publication each."""
    control, holder = site.control(site.centre), Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 79, [MONTH], 79)
    before = look(site, control)
    assert told(site) == []
    holder.spend("r2", 1, [MONTH], 1)
    assert look(site, control) == before + 1
    assert told(site) == [ReachedThreshold(MONTH, 80)]
    holder.spend("r3", 1, [MONTH], 1)
    assert look(site, control) == before + 1
    holder.spend("r4", 14, [MONTH], 14)
    assert look(site, control) == before + 2
    assert told(site) == [ReachedThreshold(MONTH, 95)]


def test_what_is_only_held_reaches_nothing(site: LedgerSite) -> None:
    """It may come free again; what a lost process may have spent counts as spent."""
    control, holder = site.control(site.centre), Holder(site)
    holder.ask({MONTH: 90})
    holder.spend("r1", 90, [MONTH], None)
    look(site, control)
    assert told(site) == []
    leases = [{"account": MONTH, "amount": 90}]
    lost = {"holder": holder.source, "reason": "gone", "leases": leases}
    site.open_journal()
    holder.script.append(records.LEASE_SUSPENDED, "holder", lost)
    look(site, control)
    assert told(site) == [ReachedThreshold(MONTH, 80)]


def test_publications_for_thresholds_are_bounded(site: LedgerSite) -> None:
    """What is reached between two of them is told by the next one."""
    control, holder = site.control(site.centre), Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 80, [MONTH], 80)
    site.project(*site.journals.sources())
    control._tick()
    before = site.snapshot().sequence
    holder.spend("r2", 15, [MONTH], 15)
    site.project(*site.journals.sources())
    control._tick()
    assert site.snapshot().sequence == before
    site.clock.advance(2 * REACHED_EVERY_S)
    assert look(site, control) == before + 1
    assert told(site) == [ReachedThreshold(MONTH, 95)]


def test_a_raised_limit_takes_it_back_and_a_lower_one_brings_it(
    site: LedgerSite,
) -> None:
    """With the apply itself: its snapshot says so already."""
    control, holder = site.control(site.centre), Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 80, [MONTH], 80)
    look(site, control)
    site.administration.apply(limited(1000), "sha256:2", ADA)
    assert told(site) == []
    site.administration.apply(limited(84), "sha256:3", ADA)
    assert told(site) == [ReachedThreshold(MONTH, 95)]
    site.administration.apply(limited_registry(None), "sha256:4", ADA)
    assert told(site) == []


def test_a_new_window_begins_anew(site: LedgerSite) -> None:
    """The account of the last one is told no more."""
    control, holder = site.control(site.centre), Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 80, [MONTH], 80)
    look(site, control)
    site.clock.advance(31 * 86_400)
    site.administration.publish()
    assert told(site) == []


def test_the_next_process_tells_the_same(site: LedgerSite) -> None:
    """At its start, and so does one that nobody told: the store does."""
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 80, [MONTH], 80)
    site.project(*site.journals.sources())
    after = site.anew()
    assert told(after) == [ReachedThreshold(MONTH, 80)]
    before = after.snapshot().sequence
    assert look(after, after.control(after.centre)) == before


def test_credentials_reach_their_own_thresholds(site: LedgerSite) -> None:
    """Each by itself; one that was revoked is left out."""
    registry = limited_registry(None)
    name = ServiceId("checkout")
    each = Budget((Window(100, "month"),), on_threshold=STEPS)
    one = replace(registry.services[name], credential_budget=each)
    services = {**registry.services, name: one}
    site.apply(replace(registry, services=services))
    keys = [site.administration.issue("checkout", "ada", None, ADA) for _ in range(2)]
    accounts = [f"credential:{key.credential_id}/month@2025-11" for key in keys]
    holder = Holder(site)
    holder.ask(dict.fromkeys(accounts, 100))
    for account in accounts:
        holder.spend(f"r-{account}", 90, [account], 90)
    look(site, site.control(site.centre))
    assert {one.account for one in told(site)} == set(accounts)
    site.administration.revoke(keys[0].credential_id, "leaked", ADA)
    assert [one.account for one in told(site)] == accounts[1:]


def test_a_crossing_names_the_model_that_is_used_from_then_on() -> None:
    """Whether or not an alert is declared for it; once, as every crossing."""
    site = LedgerSite()
    site.apply(limited(100, 50))
    holder = Holder(site)
    holder.ask({MONTH: 100})
    holder.spend("r1", 80, [MONTH], 80)
    site.look()
    site.look()
    crossed = site.recorded(records.THRESHOLD_CROSSED)
    assert [(one["percent"], one.get("use")) for one in crossed] == [
        (50, None),
        (80, "cheap"),
    ]
