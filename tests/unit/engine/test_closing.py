"""Leases of holders that are gone: returned with proof, else in suspense."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RecordError,
)
from comptroller.core.registry import Budget, Limits, ServiceId, Window
from comptroller.engine import records
from comptroller.engine.closing import LEASES_MAX, close_dead
from comptroller.engine.ports import RequestQuery
from comptroller.engine.records import Actor
from comptroller.testing.ledger_site import ADA, Holder, LedgerSite
from comptroller.testing.lessee import limited_registry

MONTH = "service:checkout/month@2025-11"
PARALLEL = "service:checkout/parallel@now"


@pytest.fixture
def site() -> LedgerSite:
    made = LedgerSite()
    budget = Budget((Window(10**6, "month"),))
    made.apply(limited_registry(budget, Limits(concurrency=5)))
    return made


def books(site: LedgerSite, account: str = MONTH) -> tuple[int, int, int]:
    """Settled, leased and suspense."""
    state = site.store.accounts([account])[account]
    return state.settled, state.leased, state.suspense


def remove_journal(site: LedgerSite, holder: Holder) -> None:
    """As when its disk is lost."""
    del site.journals._journals[holder.source]


def test_a_dead_holders_leases_return_after_its_journal_was_read(
    site: LedgerSite,
) -> None:
    """Settled exactly, open at the bound, the rest free again: in this order."""
    holder = Holder(site)
    holder.ask({MONTH: 500, PARALLEL: 2})
    holder.spend("done", 100, [MONTH], 60)
    holder.spend("open", 100, [MONTH], None)
    holder.die()
    assert site.recover() == []
    assert books(site) == (60, 440, 0), "requests end first"
    assert site.recover() == []
    assert books(site) == (160, 0, 0)
    assert books(site, PARALLEL) == (0, 0, 0)
    (closed,) = site.recorded(records.LEASE_CLOSED)
    assert closed["position"] == holder.journal.offset
    assert {one["account"]: one["amount"] for one in closed["returns"]} == {
        MONTH: 340,
        PARALLEL: 2,
    }
    assert not site.store.live_holders()
    assert site.recover() == []
    assert len(site.recorded(records.LEASE_CLOSED)) == 1


def test_a_holder_that_stands_still_keeps_its_leases_for_ever(
    site: LedgerSite,
) -> None:
    """A stopped process still has its lock: no time is long enough to take a lease."""
    holder = Holder(site)
    holder.ask({MONTH: 500})
    for _ in range(30):
        site.timers.advance(24 * 3600)
        assert site.recover() == []
    assert books(site) == (0, 500, 0)


def test_a_lost_journal_puts_the_leases_in_suspense(site: LedgerSite) -> None:
    """Its open requests are booked at their bound, the rest counts as spent."""
    holder = Holder(site)
    holder.ask({MONTH: 500})
    holder.spend("open", 100, [MONTH], None)
    site.look()
    remove_journal(site, holder)
    assert site.recover() == []
    assert books(site) == (100, 0, 400)
    (row,) = site.store.requests(RequestQuery())
    assert row.state == "abandoned"
    (suspended,) = site.recorded(records.LEASE_SUSPENDED)
    assert suspended["holder"] == holder.source
    holder.source = "/node/w0/another"
    site.journals._journals[holder.source] = holder.journal
    assert holder.ask({MONTH: 10**6 - 500}).grants
    assert holder.ask({MONTH: 1}).lacks


def test_journals_that_are_all_away_are_not_lost(site: LedgerSite) -> None:
    """A folder that is not mounted is no proof of anything."""
    holder = Holder(site)
    holder.ask({MONTH: 500})
    kept = dict(site.journals._journals)
    site.journals._journals.clear()
    (problem,) = site.recover()
    assert "are not there" in problem
    site.journals._journals.update(kept)
    assert site.recover() == []
    assert books(site) == (0, 500, 0)


def test_a_power_loss_suspends_what_was_not_on_disk(site: LedgerSite) -> None:
    """With records that a power loss may take, the money left is not returned."""
    holder = Holder(site, boot="the boot before", durability="process")
    holder.ask({MONTH: 500, PARALLEL: 2})
    holder.spend("done", 100, [MONTH], 60)
    holder.die()
    assert site.recover() == []
    assert books(site) == (60, 0, 440)
    # Nothing is under way on a machine that was started anew.
    assert books(site, PARALLEL) == (0, 0, 0)
    holders = site.store.holder(holder.source)
    assert holders is not None
    assert holders.state == "suspended"


@pytest.mark.parametrize(
    ("boot", "durability"), [("the boot before", "disk"), ("this boot", "process")]
)
def test_what_no_power_loss_can_have_taken_is_returned(
    site: LedgerSite, boot: str, durability: str
) -> None:
    """Synced records survive a power loss, and the others the death of a process."""
    holder = Holder(site, boot=boot, durability=durability)
    holder.ask({MONTH: 500})
    holder.die()
    assert site.recover() == []
    assert books(site) == (0, 0, 0)


def test_a_journal_that_cannot_be_read_returns_nothing(site: LedgerSite) -> None:
    """It is said; the leases of others are returned all the same."""
    broken, sound = Holder(site, "w0"), Holder(site, "w1")
    broken.ask({MONTH: 500})
    sound.ask({MONTH: 300})
    sound.spend("open", 100, [MONTH], None)
    broken.spend("open too", 100, [MONTH], None)
    site.look()
    broken.journal.append(b'{"garbage"')
    broken.die()
    sound.die()
    with pytest.raises(RecordError):
        site.recover()
    (problem,) = close_dead(site.ledger)
    assert broken.source in problem
    assert books(site) == (100, 500, 0)
    assert [row.holder for row in site.store.live_holders()] == [broken.source]


def test_more_leases_than_fit_into_a_record_return_whole(site: LedgerSite) -> None:
    """Runs have an account each: closing says them all, in several records."""
    holder = Holder(site)
    budget = Budget((Window(10**9, "month"),))
    registry = limited_registry(budget)
    name = ServiceId("checkout")
    service = replace(registry.services[name], run_budget=Window(100, "total"))
    site.apply(replace(registry, services={**registry.services, name: service}))
    count = LEASES_MAX * 2 + 5
    for number in range(count):
        holder.ask({f"run:checkout/{'r' * 60}{number}/total@all": 7})
    holder.die()
    assert site.recover() == []
    closed = site.recorded(records.LEASE_CLOSED)
    assert [one["is_last"] for one in closed] == [False, False, True]
    assert sum(len(one["returns"]) for one in closed) == count
    assert not any(lease.left for lease in site.store.leases(holder=holder.source))


def test_a_grant_of_a_process_that_died_is_closed_by_the_next(
    site: LedgerSite,
) -> None:
    """Control process and worker die together; nothing of the budget is stranded."""
    holder = Holder(site)
    holder.ask({MONTH: 500})
    holder.die()
    after = site.anew()
    assert after.recover() == []
    assert books(after) == (0, 0, 0)


def lost(site: LedgerSite) -> Holder:
    holder = Holder(site)
    holder.ask({MONTH: 500, PARALLEL: 1})
    remove_journal(site, holder)
    site.recover()
    return holder


def test_a_named_person_settles_suspense(site: LedgerSite) -> None:
    """What it did spend is settled, the rest is free, and who said so is recorded."""
    holder = lost(site)
    ended = site.administration.settle_suspense(
        holder.source, MONTH, 120, "asked the provider", ADA
    )
    assert (ended.spent_nano_usd, ended.freed_nano_usd) == (120, 380)
    assert books(site) == (120, 0, 0)
    (settled,) = site.recorded(records.SUSPENSE_SETTLED)
    assert settled["actor"] == {"person": "ada", "account": "root@test"}
    assert settled["reason"] == "asked the provider"
    with pytest.raises(ConflictError):
        site.administration.settle_suspense(holder.source, MONTH, 0, "again", ADA)


def test_permits_in_suspense_are_settled_with_nothing(site: LedgerSite) -> None:
    """They count requests under way: none is, once somebody says so."""
    holder = lost(site)
    settle = site.administration.settle_suspense
    with pytest.raises(InvalidArgumentError):
        settle(holder.source, PARALLEL, 1, "why", ADA)
    settle(holder.source, PARALLEL, 0, "it is switched off", ADA)
    assert books(site, PARALLEL) == (0, 0, 0)


def test_nobody_unnamed_settles_suspense(site: LedgerSite) -> None:
    """A person of the configuration, a reason, and no more than is in suspense."""
    holder = lost(site)
    settle = site.administration.settle_suspense
    with pytest.raises(InvalidArgumentError):
        settle(holder.source, MONTH, 1, "why", Actor(person=None, account="a@b"))
    with pytest.raises(NotFoundError):
        settle(holder.source, MONTH, 1, "why", Actor(person="eve", account="a@b"))
    with pytest.raises(InvalidArgumentError):
        settle(holder.source, MONTH, 1, "  ", ADA)
    with pytest.raises(InvalidArgumentError):
        settle(holder.source, MONTH, 501, "why", ADA)
    assert books(site) == (0, 0, 500)
