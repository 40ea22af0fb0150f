from __future__ import annotations

from dataclasses import replace
from datetime import date

from comptroller.core.account import Where
from comptroller.core.budget_path import Limited, money_limits
from comptroller.core.registry import (
    Budget,
    Downgrade,
    ModelId,
    PersonId,
    Registry,
    Sandbox,
    ServiceId,
    TenantId,
    Window,
)
from comptroller.core.thresholds import changing_budgets, is_reached, reached_percent
from comptroller.testing.administration import small_registry

CHEAP = Downgrade(80, ModelId("cheap"))
CHEAPEST = Downgrade(95, ModelId("cheapest"))
BUDGET = Budget((Window(100, "month"),), on_threshold=(CHEAP, CHEAPEST))


def declaring(**said: Budget | Sandbox) -> Registry:
    """A registry whose service checkout has what is said."""
    registry = small_registry()
    name = ServiceId("checkout")
    one = replace(registry.services[name], **said)  # type: ignore[arg-type]
    return replace(registry, services={**registry.services, name: one})


def test_a_share_is_reached_to_the_nano_dollar() -> None:
    """At the share itself, not before; a limit of nothing has no shares."""
    assert is_reached(80, 100, 80)
    assert not is_reached(79, 100, 80)
    assert is_reached(3, 3, 100)
    assert not is_reached(2, 3, 67)
    assert not is_reached(0, 0, 80)


def test_the_highest_share_that_is_spent_counts() -> None:
    """Below the lowest none does."""
    limited = Limited("service", "a", "month", 100, on_threshold=(CHEAP, CHEAPEST))
    spent = (0, 79, 80, 94, 95, 200)
    assert [reached_percent(limited, one) for one in spent] == [0, 0, 80, 80, 95, 95]
    assert reached_percent(limited._replace(on_threshold=()), 200) == 0


def test_budgets_that_change_the_model_are_found_in_every_scope() -> None:
    """Credentials have theirs from their service; other budgets are left out."""
    plain = Budget((Window(100, "month"),), alert_at_percent=(80,))
    registry = declaring(budget=plain, credential_budget=BUDGET)
    tenant = replace(registry.tenants[TenantId("acme")], budget=BUDGET)
    unit = replace(registry.units["acme/retail"], budget=BUDGET)
    registry = replace(
        registry,
        budget=BUDGET,
        tenants={tenant.id: tenant},
        units={"acme/retail": unit},
    )
    found = changing_budgets(registry, {"key-1": "checkout", "key-2": "search"})
    assert [(scope, key) for scope, key, _ in found] == [
        ("organization", "acme"),
        ("tenant", "acme"),
        ("unit", "acme/retail"),
        ("credential", "key-1"),
    ]


def test_a_path_knows_what_its_budgets_change() -> None:
    """Also where a sandbox has a smaller limit for the same account."""
    total = Budget((Window(100, "total"),), on_threshold=(CHEAP,))
    trial = Sandbox(PersonId("ada"), Window(10, "total"), date(2030, 1, 1))
    where = Where("acme", "acme", "retail", "checkout", "key-1", None)
    (limited,) = money_limits(declaring(budget=total, sandbox=trial), where)
    assert (limited.limit, limited.on_threshold) == (10, (CHEAP,))
