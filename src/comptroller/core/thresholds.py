"""Thresholds: shares of a budget at which something happens once they are spent.

What counts is what is spent, for alerts and for downgrades alike. What is held may
come free again, and a model that changed with every hold would go to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comptroller.core.budget_path import Limited
from comptroller.core.registry import Budget, Registry


def is_reached(spent: int, limit: int, percent: int) -> bool:
    """Whether a share of a limit is spent; of a limit of nothing no share is."""
    return limit > 0 and spent * 100 >= limit * percent


def reached_percent(limited: Limited, spent: int) -> int:
    """The highest share spent at which a budget changes the model; 0: none is."""
    reached = (
        one.percent
        for one in limited.on_threshold
        if is_reached(spent, limited.limit, one.percent)
    )
    return max(reached, default=0)


def changing_budgets(
    registry: Registry, service_of: Mapping[str, str]
) -> Iterator[tuple[str, str, Budget]]:
    """Scope, key and budget of all that change the model at some share.

    Args:
        registry: that declares them. A run's budget never changes the model.
        service_of: every credential, by its id, to the id of its service.
    """
    found: list[tuple[str, str, Budget | None]] = [
        ("organization", registry.organization, registry.budget),
        *(("tenant", one.id, one.budget) for one in registry.tenants.values()),
        *(("unit", key, one.budget) for key, one in registry.units.items()),
        *(("service", one.id, one.budget) for one in registry.services.values()),
    ]
    for_each = {
        str(one.id): one.credential_budget
        for one in registry.services.values()
        if one.credential_budget is not None and one.credential_budget.on_threshold
    }
    if for_each:
        found += [
            ("credential", credential, for_each.get(service))
            for credential, service in service_of.items()
        ]
    for scope, key, budget in found:
        if budget is not None and budget.on_threshold:
            yield scope, key, budget
