"""The limits on a request's path: what the registry declares for whose it is.

Budgets nest: organization, tenant, unit, service, credential, run. All that are
declared on the path hold at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from comptroller.core.account import PARALLEL, Account, Where
from comptroller.core.registry import (
    Budget,
    Downgrade,
    Limits,
    ModelId,
    Rate,
    Registry,
    Service,
    ServiceId,
    TenantId,
    Window,
)

REQUESTS: Final = "requests"
TOKENS: Final = "tokens"


class Limited(NamedTuple):
    """One limit of a path that is kept on accounts: money, or requests under way."""

    scope: str
    key: str
    """As in core.account."""
    window: str
    """`hour`, `day`, `week`, `month`, `total`, or `parallel`."""
    limit: int
    """Nano-USD, or requests under way."""
    alert_at_percent: tuple[int, ...] = ()
    on_shortfall: str = "refuse"
    hold: str = "full"
    on_threshold: tuple[Downgrade, ...] = ()
    """These three as in core.registry.Budget."""

    def account(self, label: str) -> Account:
        """Its account of the window with this label."""
        return Account(self.scope, self.key, self.window, label)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One rate on a path."""

    id: str
    """`SCOPE:KEY/requests` or `SCOPE:KEY/tokens`."""
    count: int
    period_s: int
    unit: str
    """`requests` or `tokens`."""


def money_limits(registry: Registry, where: Where) -> tuple[Limited, ...]:
    """Every budget window on a path, the widest scope first.

    No account is in it twice: where two budgets meet on one, the smaller limit holds.
    """
    service = registry.services.get(ServiceId(where.service))
    return tuple(
        limited
        for scope, key in where.scopes()
        for limited in _budgets(registry, scope, key, service)
    )


def parallel_limits(
    registry: Registry, where: Where, model_id: str
) -> tuple[Limited, ...]:
    """Every limit on requests under way: service, credential, model."""
    return tuple(
        Limited(scope, key, PARALLEL, limits.concurrency)
        for scope, key, limits in _limits(registry, where, model_id)
        if limits.concurrency is not None
    )


def rate_limits(
    registry: Registry, where: Where, model_id: str
) -> tuple[RateLimit, ...]:
    """Every rate on a path: service, credential, model; requests before tokens."""
    return tuple(
        rate
        for scope, key, limits in _limits(registry, where, model_id)
        for rate in _rates(scope, key, limits)
    )


def declared_limit(
    registry: Registry,
    account: Account,
    service_of_credential: Callable[[str], str | None],
) -> Limited | None:
    """What the registry says of an account now; None: it is not limited.

    Args:
        registry: as it is now.
        account: of any scope and window.
        service_of_credential: the service's id of a credential; None: unknown.
    """
    scope, key = account.scope, account.key
    if account.is_money:
        service = _service_of(registry, scope, key, service_of_credential)
        found = _budgets(registry, scope, key, service)
        return next((each for each in found if each.window == account.window), None)
    limits = _limits_of(registry, scope, key, service_of_credential)
    if limits is None or limits.concurrency is None:
        return None
    return Limited(scope, key, PARALLEL, limits.concurrency)


def declared_rate(
    registry: Registry,
    limit_id: str,
    service_of_credential: Callable[[str], str | None],
) -> RateLimit | None:
    """What the registry says of a rate's id now; None: there is no such limit."""
    path, _, _ = limit_id.rpartition("/")
    scope, _, key = path.partition(":")
    limits = _limits_of(registry, scope, key, service_of_credential)
    if limits is None:
        return None
    return next((r for r in _rates(scope, key, limits) if r.id == limit_id), None)


def _budgets(
    registry: Registry, scope: str, key: str, service: Service | None
) -> list[Limited]:
    """The budget windows of one scope; `service` is the one it belongs to, if any."""
    if scope == "organization":
        budgets = [registry.budget] if key == registry.organization else []
    elif scope == "tenant":
        tenant = registry.tenants.get(TenantId(key))
        budgets = [tenant.budget if tenant else None]
    elif scope == "unit":
        unit = registry.units.get(key)
        budgets = [unit.budget if unit else None]
    else:
        budgets = _service_budgets(scope, service)
    found: dict[str, Limited] = {}
    for budget in filter(None, budgets):
        for window in budget.windows:
            _keep_smaller(found, _limited(scope, key, budget, window))
    return list(found.values())


def _service_budgets(scope: str, service: Service | None) -> list[Budget | None]:
    if service is None:
        return []
    if scope == "service":
        trial = service.sandbox
        return [service.budget, _single(trial.budget if trial else None)]
    if scope == "credential":
        return [service.credential_budget]
    return [_single(service.run_budget)] if scope == "run" else []


def _single(window: Window | None) -> Budget | None:
    return None if window is None else Budget((window,))


def _limited(scope: str, key: str, budget: Budget, window: Window) -> Limited:
    return Limited(
        scope,
        key,
        window.window,
        window.limit_nano_usd,
        budget.alert_at_percent,
        budget.on_shortfall,
        budget.hold,
        budget.on_threshold,
    )


def _keep_smaller(found: dict[str, Limited], limited: Limited) -> None:
    """One account has one limit: a sandbox may have the service's own window."""
    other = found.get(limited.window)
    if other is None:
        found[limited.window] = limited
        return
    alerts = sorted({*other.alert_at_percent, *limited.alert_at_percent})
    smaller = min(other, limited, key=lambda each: each.limit)
    found[limited.window] = smaller._replace(
        alert_at_percent=tuple(alerts),
        # A sandbox has none of its own.
        on_threshold=other.on_threshold or limited.on_threshold,
    )


def _service_of(
    registry: Registry,
    scope: str,
    key: str,
    service_of_credential: Callable[[str], str | None],
) -> Service | None:
    """The service that a scope belongs to; None: to none that is declared."""
    service_id: str | None = None
    if scope == "service":
        service_id = key
    elif scope == "run":
        service_id = key.partition("/")[0]
    elif scope == "credential":
        service_id = service_of_credential(key)
    return None if service_id is None else registry.services.get(ServiceId(service_id))


def _limits(
    registry: Registry, where: Where, model_id: str
) -> list[tuple[str, str, Limits]]:
    """Scope, key and limits of everything on a path that has limits but money."""
    found: list[tuple[str, str, Limits]] = []
    service = registry.services.get(ServiceId(where.service))
    if service is not None:
        found.append(("service", where.service, service.limits))
        found.append(("credential", where.credential, service.credential_limits))
    model = registry.models.get(ModelId(model_id))
    if model is not None:
        found.append(("model", model_id, model.limits))
    return found


def _limits_of(
    registry: Registry,
    scope: str,
    key: str,
    service_of_credential: Callable[[str], str | None],
) -> Limits | None:
    if scope == "model":
        model = registry.models.get(ModelId(key))
        return None if model is None else model.limits
    if scope not in {"service", "credential"}:
        return None
    service = _service_of(registry, scope, key, service_of_credential)
    if service is None:
        return None
    return service.limits if scope == "service" else service.credential_limits


def _rates(scope: str, key: str, limits: Limits) -> list[RateLimit]:
    declared: tuple[tuple[str, Rate | None], ...] = (
        (REQUESTS, limits.requests),
        (TOKENS, limits.tokens),
    )
    return [
        RateLimit(f"{scope}:{key}/{unit}", rate.count, rate.period_s, unit)
        for unit, rate in declared
        if rate is not None
    ]
