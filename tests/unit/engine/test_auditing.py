"""Auditing: contradictions that no store can have been led into by its records."""

from __future__ import annotations

from dataclasses import replace

from comptroller.core.account import Where
from comptroller.core.books import AccountState
from comptroller.engine.auditing import (
    HOUR_NS,
    AuditRows,
    Cost,
    boundary_ns,
    contradictions,
    spent_of,
)

LATER_NS = 10 * HOUR_NS
WHERE = Where("", "acme", "retail", "checkout", "c1", "r1")


def account(name: str, settled: int, ends_ns: int | None = LATER_NS) -> AccountState:
    return AccountState(name, 0, ends_ns, 100, 100, settled, 0, 0, settled)


def rows(*accounts: AccountState) -> AuditRows:
    spent = {state.id: state.settled for state in accounts}
    return AuditRows(accounts, [], [], spent, {}, {}, frozenset())


def test_a_part_never_settled_more_than_the_whole() -> None:
    """Of one window: tenants, units and so on of the organization, runs of a service.

    Units of another tenant, and other windows, are no parts of it.
    """
    tenant = account("tenant:acme/month@2026-11", 10)
    parts = [
        account("unit:acme/retail/month@2026-11", 6),
        account("unit:acme/web/month@2026-11", 4),
        account("unit:acme2/web/month@2026-11", 900),
        account("unit:acme/web/month@2026-10", 900),
        account("unit:acme/zoo/month@2026-11", 900, ends_ns=None),
        account("service:acme/month@2026-11", 900),
    ]
    assert contradictions(rows(tenant, *parts)) == []
    more = account("unit:acme/toys/month@2026-11", 1)
    (said,) = contradictions(rows(tenant, *parts, more))
    assert said == (
        "tenant:acme/month@2026-11: 10 settled, but its unit accounts settled 11"
    )
    service = account("service:checkout/total@all", 3, None)
    run = account("run:checkout/r1/total@all", 4, None)
    (said,) = contradictions(rows(service, run))
    assert "its run accounts settled 4" in said
    (said,) = contradictions(rows(account("organization:o/total@all", 2, None), run))
    assert "its run accounts settled 4" in said


def test_no_account_is_beyond_its_limit() -> None:
    """More committed than in force, or less in force than declared, is told."""
    state = account("tenant:acme/month@2026-11", 0)
    over = replace(state, leased=101)
    said = contradictions(rows(over))
    assert any("is 1 more than the 100 in force" in one for one in said)
    (said_of_force,) = contradictions(rows(replace(state, effective=99)))
    assert "less in force, 99, than its 100" in said_of_force


def test_costs_are_of_every_account_on_their_path() -> None:
    """Whatever the organization is called; money only, within the window."""
    accounts = [
        account("organization:any/total@all", 0, None),
        account("tenant:acme/day@1", 0),
        account("unit:acme/retail/day@1", 0),
        account("service:checkout/day@1", 0),
        account("credential:c1/day@1", 0),
        account("run:checkout/r1/total@all", 0, None),
        account("service:checkout/parallel@now", 0, None),
        account("service:other/day@1", 0),
    ]
    costs = [Cost(WHERE, 0, 5), Cost(WHERE, LATER_NS - 1, 7), Cost(WHERE, LATER_NS, 9)]
    spent = spent_of(accounts, costs)
    assert spent == {
        "organization:any/total@all": 21,
        "tenant:acme/day@1": 12,
        "unit:acme/retail/day@1": 12,
        "service:checkout/day@1": 12,
        "credential:c1/day@1": 12,
        "run:checkout/r1/total@all": 21,
        "service:other/day@1": 0,
    }


def test_steps_of_time_divide_every_window() -> None:
    """Hours, where windows begin at full hours; less where a zone is between them."""
    state = account("tenant:acme/day@1", 0)
    assert boundary_ns([]) == boundary_ns([state]) == HOUR_NS
    half = replace(state, starts_ns=HOUR_NS // 2)
    quarter = replace(state, ends_ns=5 * HOUR_NS // 4)
    assert boundary_ns([state, half]) == HOUR_NS // 2
    assert boundary_ns([half, quarter]) == HOUR_NS // 4
