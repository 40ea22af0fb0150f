"""Budget owners: the living person to ask about a limit."""

from __future__ import annotations

from collections.abc import Callable

from comptroller.core.registry import PersonId, Registry, ServiceId, TenantId


def budget_owner(
    registry: Registry,
    scope: str,
    key: str,
    service_of_credential: Callable[[str], str | None],
) -> PersonId:
    """Who answers for a limit, and is to be asked for more.

    A service's billing owner answers for what its credentials and runs spend, too;
    the gateway's owner for what belongs to all, and where nobody else is named.

    Args:
        registry: as it is now.
        scope: one of core.account.SCOPES.
        key: the scope's, as in core.account.
        service_of_credential: the service's id of a credential; None: unknown.
    """
    owner: PersonId | None = None
    if scope == "tenant":
        tenant = registry.tenants.get(TenantId(key))
        owner = tenant.owner if tenant else None
    elif scope == "unit":
        unit = registry.units.get(key)
        owner = unit.owner if unit else None
    elif scope in {"service", "credential", "run"}:
        name = key.partition("/")[0]
        if scope == "credential":
            name = service_of_credential(key) or ""
        service = registry.services.get(ServiceId(name))
        owner = service.owners.billing if service else None
    return owner or registry.gateway.owner
