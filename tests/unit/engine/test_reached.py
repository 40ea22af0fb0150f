"""Reached thresholds at a worker: which models apply to whose requests, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.account import Where
from comptroller.core.rates import RateCard, rate_card
from comptroller.core.registry import (
    Budget,
    Downgrade,
    ModelId,
    Registry,
    ServiceId,
    TenantId,
    Window,
)
from comptroller.engine.reached import Downgraded, Reached, Step
from comptroller.engine.snapshot import ReachedThreshold, Snapshot
from comptroller.testing.administration import small_registry
from comptroller.testing.system import START_NS

WHERE = Where("acme", "acme", "retail", "checkout", "key-1", None)
CARD: RateCard = rate_card("test", {})
DAY_NS = 86_400 * 10**9


def budget(*steps: tuple[int, str], windows: tuple[str, ...] = ("month",)) -> Budget:
    return Budget(
        tuple(Window(100, window) for window in windows),
        on_threshold=tuple(Downgrade(percent, ModelId(use)) for percent, use in steps),
    )


def registry() -> Registry:
    """Budgets of the tenant (90%), and of each credential (80% and 95%)."""
    made = small_registry()
    name, acme = ServiceId("checkout"), TenantId("acme")
    each = budget((80, "cheap"), (95, "cheapest"), windows=("month", "day"))
    service = replace(made.services[name], credential_budget=each)
    tenant = replace(made.tenants[acme], budget=budget((80, "mild"), (90, "wide")))
    services = {**made.services, name: service}
    return replace(made, services=services, tenants={acme: tenant})


def reached(**percents: int) -> Reached:
    """By scope and window, such as `credential_month`; their windows of START_NS."""
    labels = {"month": "2025-11", "day": "2025-11-24"}
    keys = {"tenant": "acme", "credential": "key-1"}
    listed = [
        ReachedThreshold(f"{scope}:{keys[scope]}/{window}@{labels[window]}", percent)
        for name, percent in percents.items()
        for scope, _, window in [name.partition("_")]
    ]
    return Reached(Snapshot(1, 1, registry(), [], CARD, reached=listed))


def uses(found: Reached, now_ns: int = START_NS) -> list[str]:
    return [str(step.use) for step in found.steps(WHERE, now_ns)]


def test_nothing_is_looked_for_where_nothing_is_reached() -> None:
    """And nothing is found for whom nothing is reached."""
    assert reached().is_empty
    one = reached(credential_month=80)
    assert not one.is_empty
    assert one.steps(WHERE._replace(credential="key-2"), START_NS) == ()
    assert one.steps(WHERE._replace(service="search"), START_NS) == ()


def test_a_step_says_which_budget_reached_what() -> None:
    """Its account names the window, too."""
    (step,) = reached(credential_month=80).steps(WHERE, START_NS)
    assert step == Step(ModelId("cheap"), 80, "credential:key-1/month@2025-11")


@pytest.mark.parametrize(
    ("percents", "expected"),
    [
        ({"credential_month": 95}, ["cheapest", "cheap"]),
        ({"credential_month": 80, "tenant_month": 90}, ["wide", "cheap", "mild"]),
        (
            {"credential_month": 95, "tenant_month": 90},
            ["cheapest", "wide", "cheap", "mild"],
        ),
        ({"tenant_month": 80, "credential_month": 80}, ["cheap", "mild"]),
    ],
)
def test_the_highest_share_comes_first_then_the_nearest_budget(
    percents: dict[str, int], expected: list[str]
) -> None:
    """What one lower share says stays behind it, for where the first cannot be."""
    assert uses(reached(**percents)) == expected


def test_the_shortest_of_equal_windows_comes_first() -> None:
    """The record then names the one that is over soonest."""
    steps = reached(credential_month=80, credential_day=80).steps(WHERE, START_NS)
    assert [step.account.partition("/")[2] for step in steps] == [
        "day@2025-11-24",
        "month@2025-11",
    ]


def test_a_window_is_left_by_the_clock() -> None:
    """Without a new snapshot: the next day has nothing spent, the month still has."""
    found = reached(credential_month=80, credential_day=95)
    assert uses(found) == ["cheapest", "cheap", "cheap"]
    assert uses(found, START_NS + DAY_NS) == ["cheap"]
    assert uses(found, START_NS + 31 * DAY_NS) == []
    assert uses(found) == ["cheapest", "cheap", "cheap"]


def test_what_a_client_is_told_cannot_end_its_line() -> None:
    """Names are the configuration's; whatever they hold is shown in ASCII."""
    step = Step(ModelId("kl\u00f6in\r\nx: y"), 80, "tenant:acme/month@2025-11")
    note = Downgraded(ModelId("big"), step).note()
    assert note == (
        b"x-comptroller-model-downgraded: big; to=kl?in??x: y;"
        b" budget=tenant:acme/month; threshold=80%\r\n"
    )
    assert b'"downgraded_from":"big"' in Downgraded(
        ModelId("big"), step
    ).data().replace(b"comptroller.model.", b"")
