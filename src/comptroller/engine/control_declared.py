"""Declared controls: what a revision of the registry and a bundle ask of each one.

What is declared is read, never what a request met: which of several limits applied
to one request is in its decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from comptroller.core.account import Where
from comptroller.core.budget_path import money_limits, parallel_limits, rate_limits
from comptroller.core.difference import (
    ObjectKey,
    RegistryValue,
    registry_from_objects,
)
from comptroller.core.policy.plain import PlainSet
from comptroller.core.registry import Registry, Service, ServiceId
from comptroller.engine.control_ports import ChangeRow, RevisionRow
from comptroller.engine.controls import BUNDLED, CONTROLS, LIMITS
from comptroller.engine.registry_fold import decode_object

EACH: Final = "*"
"""In a limit's name: each credential, or each run, by itself."""
RELEVANT: Final = ("organization", "gateway", "tenant", "unit", "service", "model")
"""Kinds of objects that limits of services are declared in."""
_PARTS: Final = {
    "allow": "entitlement",
    "rules": "entitlement",
    "environments": "environment",
    "ceilings": "token_ceiling",
    "prompts": "prompt_restriction",
}
"""The control that each kind of part of a bundle belongs to (core.policy.rules)."""
POLICY_PART: Final = "policy part"
"""Unit of what a bundle declares."""
_ENFORCING: Final = ("enforce", "allow")


class Limit(NamedTuple):
    """One limit, list or part of a policy that a control enforces."""

    of: str
    """Such as `service:checkout/month`, or the id of a policy's part."""
    value: int | str
    unit: str
    """`nano_usd`, `requests`, `tokens`, `requests under way`, `output tokens`,
    `models`, or `policy part`, whose value is its mode."""
    period_s: int | None = None
    """Of a rate."""


class Declared(NamedTuple):
    """What is asked of one control, for one service."""

    is_on: bool
    """Whether there is anything for it to enforce."""
    limits: tuple[Limit, ...] = ()

    @property
    def is_lenient(self) -> bool:
        """Whether all of it only warns or is noted, and denies nothing."""
        parts = [one for one in self.limits if one.unit == POLICY_PART]
        return (
            bool(parts)
            and len(parts) == len(self.limits)
            and not any(one.value in _ENFORCING for one in parts)
        )


class Step(NamedTuple):
    """What one revision of the registry declares for a service."""

    row: RevisionRow
    declared: Mapping[str, Declared] | None
    """By control; None: the service is not declared, or nothing is known of it."""
    service: Service | None


def steps(
    rows: Sequence[RevisionRow], changes: Iterable[ChangeRow], service_id: str
) -> Iterator[Step]:
    """What each revision declares for a service, in their order.

    Args:
        rows: of all revisions.
        changes: of objects of the kinds RELEVANT, by revision.
        service_id: of which.
    """
    by_revision: dict[int, list[ChangeRow]] = {}
    for change in changes:
        by_revision.setdefault(change.revision, []).append(change)
    parts: dict[ObjectKey, RegistryValue] = {}
    declared: Mapping[str, Declared] | None = None
    service: Service | None = None
    for row in rows:
        touched = by_revision.get(row.revision, [])
        try:
            for change in touched:
                if change.body is None:
                    parts.pop((change.kind, change.id), None)
                else:
                    body = decode_object(change.kind, change.body)
                    parts[change.kind, change.id] = body
            if touched:
                registry = registry_from_objects(parts)
                service = registry.services.get(ServiceId(service_id))
                declared = None if service is None else of_registry(registry, service)
        except (KeyError, ValueError):
            declared = None  # what the store has cannot be what was applied
        yield Step(row, declared, service)


def of_registry(registry: Registry, service: Service) -> dict[str, Declared]:
    """What a registry declares for a service, by control; no policy's part."""
    where = Where(
        registry.organization, service.tenant, service.unit, service.id, EACH, EACH
    )
    found: dict[str, list[Limit]] = {name: [] for name in CONTROLS}
    found["model_selection"] = [
        Limit(f"service:{service.id}", ", ".join(service.models), "models")
    ]
    output = service.limits.output_tokens
    if output is not None:
        found["token_ceiling"] = [Limit(f"service:{service.id}", output, _OUTPUT)]
    found["budget"] = [
        Limit(f"{one.scope}:{one.key}/{one.window}", one.limit, "nano_usd")
        for one in money_limits(registry, where)
    ]
    for model in service.models:
        found["rate_limit"] += [
            Limit(one.id, one.count, one.unit, one.period_s)
            for one in rate_limits(registry, where, model)
        ]
        found["concurrency"] += [
            Limit(f"{one.scope}:{one.key}", one.limit, "requests under way")
            for one in parallel_limits(registry, where, model)
        ]
    return {
        name: Declared(
            bool(limits) if name in LIMITS else name not in BUNDLED,
            tuple(dict.fromkeys(limits)),
        )
        for name, limits in found.items()
    }


def of_bundle(
    sets: Sequence[PlainSet] | None, service: Service | None
) -> dict[str, Declared]:
    """What a bundle declares for a service, by control of policies.

    Args:
        sets: of the bundle; None: there is none.
        service: parts that are for others are left out; None: none are.
    """
    found: dict[str, list[Limit]] = {name: [] for name in _PARTS.values()}
    for one in sets or ():
        for kind, control in _PARTS.items():
            found[control] += [
                Limit(part["id"], part.get("mode", "allow"), POLICY_PART)
                for part in one.get(kind, ())
                if service is None or _is_for(part, service)
            ]
    return {
        # With no part at all a bundle still denies what no table allows.
        name: Declared(
            sets is not None and (bool(limits) or name == "entitlement"),
            tuple(limits),
        )
        for name, limits in found.items()
    }


def joined(
    registry: Mapping[str, Declared], bundle: Mapping[str, Declared]
) -> dict[str, Declared]:
    """What both together declare, by control."""
    return {
        name: Declared(
            one.is_on or (name in bundle and bundle[name].is_on),
            one.limits + (bundle[name].limits if name in bundle else ()),
        )
        for name, one in registry.items()
    }


def _is_for(part: Mapping[str, Any], service: Service) -> bool:
    """Whether a part may be for a service's requests, by what selects them."""
    known = {
        "principal.id": service.id,
        "principal.service": service.id,
        "principal.kind": service.kind,
        "principal.tenant": service.tenant,
        "principal.unit": f"{service.tenant}/{service.unit}",
        "data.classification": service.classification,
        "ctx.env": service.environment,
    }
    return all(
        name not in known or known[name] in values
        for name, values in part.get("for", ())
    )


_OUTPUT: Final = "output tokens"
