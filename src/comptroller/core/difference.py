"""Difference: what a new configuration changes, object by object and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias, cast

from comptroller.core.registry import (
    GatewaySettings,
    Model,
    ModelId,
    Organization,
    Person,
    PersonId,
    Provider,
    ProviderId,
    Registry,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
)
from comptroller.core.wording import changes, details, summary

RegistryValue: TypeAlias = (
    Organization | Person | GatewaySettings | Provider | Model | Tenant | Unit | Service
)
"""One object of the configuration."""

ObjectKey: TypeAlias = tuple[str, str]
"""Kind and id; a unit's id is `tenant/unit`."""

KIND_TYPES: Final[Mapping[str, type[RegistryValue]]] = {
    "organization": Organization,
    "person": Person,
    "gateway": GatewaySettings,
    "provider": Provider,
    "model": Model,
    "tenant": Tenant,
    "unit": Unit,
    "service": Service,
}
"""Every kind, in an order in which no object precedes what it refers to."""

SINGLE_KINDS: Final = ("organization", "gateway")
"""Kinds of which there is one; its id is the kind's name."""


class Change(NamedTuple):
    """One object before and after; None: it was not there, or is no more."""

    kind: str
    id: str
    before: RegistryValue | None
    after: RegistryValue | None

    def subject(self) -> str:
        """What changes: `service checkout-assistant`, or `gateway`."""
        return self.kind if self.kind in SINGLE_KINDS else f"{self.kind} {self.id}"

    def in_words(self) -> list[str]:
        """Says what changes, a line for each difference, for people."""
        subject = self.subject()
        if self.after is None:
            return [f"{subject}: removed"]
        if self.before is None:
            more = details(self.after)
            added = f"{subject}: added{summary(self.after)}"
            return [added, f"{subject}: {more}"] if more else [added]
        return [f"{subject}: {line}" for line in changes(self.before, self.after)]


def objects(registry: Registry) -> dict[ObjectKey, RegistryValue]:
    """Takes a registry apart; `registry_from_objects` puts it together again."""
    taken: dict[ObjectKey, RegistryValue] = {
        ("organization", "organization"): Organization(
            registry.organization, registry.timezone, registry.budget
        ),
    }
    taken.update((("person", key), one) for key, one in registry.people.items())
    taken["gateway", "gateway"] = registry.gateway
    taken.update((("provider", key), one) for key, one in registry.providers.items())
    taken.update((("model", key), one) for key, one in registry.models.items())
    taken.update((("tenant", key), one) for key, one in registry.tenants.items())
    taken.update((("unit", key), one) for key, one in registry.units.items())
    taken.update((("service", key), one) for key, one in registry.services.items())
    return taken


def registry_from_objects(parts: Mapping[ObjectKey, RegistryValue]) -> Registry:
    """Puts a registry together from its objects.

    Raises:
        KeyError: the organization or the gateway is not among them.
    """

    def of_kind(kind: str) -> dict[str, RegistryValue]:
        return {key[1]: one for key, one in parts.items() if key[0] == kind}

    organization = cast("Organization", parts["organization", "organization"])
    return Registry(
        organization=organization.name,
        timezone=organization.timezone,
        budget=organization.budget,
        gateway=cast("GatewaySettings", parts["gateway", "gateway"]),
        people=cast("dict[PersonId, Person]", of_kind("person")),
        providers=cast("dict[ProviderId, Provider]", of_kind("provider")),
        models=cast("dict[ModelId, Model]", of_kind("model")),
        tenants=cast("dict[TenantId, Tenant]", of_kind("tenant")),
        units=cast("dict[str, Unit]", of_kind("unit")),
        services=cast("dict[ServiceId, Service]", of_kind("service")),
    )


def difference(before: Registry | None, after: Registry) -> list[Change]:
    """Lists the objects that a new registry adds, changes and removes.

    Additions and changes come first, so that whoever follows the list meets no
    reference to something that is not there; removals come last, in the
    opposite order.
    """
    old = objects(before) if before is not None else {}
    new = objects(after)
    made = [
        Change(kind, name, old.get((kind, name)), value)
        for (kind, name), value in new.items()
        if old.get((kind, name)) != value
    ]
    gone = [
        Change(kind, name, value, None)
        for (kind, name), value in old.items()
        if (kind, name) not in new
    ]
    return made + gone[::-1]


def answerable(change: Change, registry: Registry) -> dict[str, PersonId]:
    """Names who answers for what a change touches, by role.

    Args:
        change: one change of a difference.
        registry: the side of the difference on which the object is: the new
            one, or for a removal the old one.

    Returns:
        Role in words to person; a person answers for nothing but themselves.
    """
    value = change.after if change.after is not None else change.before
    match value:
        case Service():
            unit = registry.units[f"{value.tenant}/{value.unit}"]
            people: dict[str, PersonId | None] = {
                "policy owner": value.owners.policy,
                "billing owner": value.owners.billing,
                "technical owner": value.owners.technical,
                "unit owner": unit.owner,
                "operator": value.operator,
                "sponsor": value.sponsor,
                "sandbox sponsor": value.sandbox.sponsor if value.sandbox else None,
            }
            people |= {
                f"approver of {one.id}": one.approved_by for one in value.exceptions
            }
            return {role: one for role, one in people.items() if one is not None}
        case Unit():
            return {"unit owner": value.owner}
        case Tenant() if value.owner is not None:
            return {"tenant owner": value.owner}
        case Person():
            return {}
        case _:
            return {"gateway owner": registry.gateway.owner}
