"""Which budgets have reached a share at which the model changes, from the store.

The store alone tells, so that a process that starts anew, or a command that runs
without a control process, publishes the same.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from comptroller.core.account import Account
from comptroller.core.budget_path import Limited, declared_limit
from comptroller.core.registry import Registry
from comptroller.core.thresholds import changing_budgets, reached_percent
from comptroller.core.window import span_at
from comptroller.engine.ports import Store
from comptroller.engine.snapshot import ReachedThreshold


def reached_thresholds(
    store: Store, registry: Registry | None, now_ns: int
) -> list[ReachedThreshold]:
    """The windows that are open now and have reached a share, with the highest one.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    if registry is None:
        return []
    service_of = {
        str(row.credential.id): str(row.credential.service)
        for row in store.credentials()
        if row.credential.revoked_ns is None
    }
    zone = ZoneInfo(registry.timezone)
    limits: dict[str, Limited] = {}
    for scope, key, budget in changing_budgets(registry, service_of):
        for window in budget.windows:
            label = span_at(window.window, zone, now_ns).label
            account = Account(scope, key, window.window, label)
            limited = declared_limit(registry, account, service_of.get)
            if limited is not None:
                limits[account.id] = limited
    if not limits:
        return []
    reached = {
        name: reached_percent(limits[name], state.spent)
        for name, state in store.accounts(list(limits)).items()
    }
    return [
        ReachedThreshold(name, reached[name]) for name in limits if reached.get(name)
    ]
