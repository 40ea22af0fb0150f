"""Organizations: registries with limits at several levels, drawn and changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from comptroller.core.account import Where
from comptroller.core.registry import (
    BUDGET_WINDOWS,
    Budget,
    GatewaySettings,
    Limits,
    Model,
    ModelId,
    Owners,
    Person,
    PersonId,
    Provider,
    ProviderId,
    Rate,
    Registry,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
    UnitId,
    Window,
)
from comptroller.testing.simulation.draw import Draw

NAME: Final = "acme"
ADA: Final = PersonId("ada")
ZONES: Final = ("UTC", "Europe/Amsterdam", "Asia/Kolkata", "America/New_York")
LEVELS: Final = ("organization", "tenant", "unit", "service", "credential", "run")
_NO_LIMITS: Final = Limits()

Scope = tuple[str, str]
"""A level and its key; of `credential` and `run` the service's id."""


class Client(NamedTuple):
    """Somebody who asks."""

    where: Where
    models: tuple[str, ...]
    has_runs: bool


@dataclass(slots=True)
class Organization:
    """What is declared; `registry` makes of it what is applied."""

    zone: str
    services: list[tuple[str, str, str]]
    """Tenant, unit, and the service's id."""
    credentials: dict[str, list[str]]
    """Of each service."""
    models: tuple[str, ...]
    budgets: dict[Scope, Budget] = field(default_factory=dict)
    limits: dict[Scope, Limits] = field(default_factory=dict)
    """Of `service`, `credential` (by service) and `model`."""

    def clients(self) -> list[Client]:
        """Everybody who may ask."""
        return [
            Client(
                Where(NAME, tenant, unit, service, credential, None),
                self.models,
                ("run", service) in self.budgets,
            )
            for tenant, unit, service in self.services
            for credential in self.credentials[service]
        ]

    def scopes(self) -> list[Scope]:
        """Every scope that may have a budget."""
        found: dict[Scope, None] = {("organization", NAME): None}
        for tenant, unit, service in self.services:
            found["tenant", tenant] = None
            found["unit", f"{tenant}/{unit}"] = None
            for level in ("service", "credential", "run"):
                found[level, service] = None
        return list(found)

    def registry(self) -> Registry:
        """What is applied of it."""
        budget = self.budgets.get
        return Registry(
            organization=NAME,
            timezone=self.zone,
            people={ADA: Person(ADA, "Ada", "ada@acme.example")},
            gateway=GatewaySettings(owner=ADA),
            providers={
                ProviderId("p"): Provider(
                    ProviderId("p"), "https://p.example", {"openai": "/v1"}
                )
            },
            models={
                ModelId(name): Model(
                    ModelId(name),
                    ProviderId("p"),
                    name,
                    limits=self.limits.get(("model", name), _NO_LIMITS),
                )
                for name in self.models
            },
            tenants={
                TenantId(name): Tenant(TenantId(name), ADA, budget(("tenant", name)))
                for name in dict.fromkeys(tenant for tenant, _, _ in self.services)
            },
            units={
                f"{tenant}/{unit}": Unit(
                    UnitId(unit),
                    TenantId(tenant),
                    ADA,
                    budget(("unit", f"{tenant}/{unit}")),
                )
                for tenant, unit, _ in self.services
            },
            services={ServiceId(one[2]): self._service(*one) for one in self.services},
            budget=budget(("organization", NAME)),
        )

    def copy(self) -> Organization:
        """The same, to be changed."""
        return replace(self, budgets=dict(self.budgets), limits=dict(self.limits))

    def _service(self, tenant: str, unit: str, name: str) -> Service:
        run = self.budgets.get(("run", name))
        return Service(
            id=ServiceId(name),
            tenant=TenantId(tenant),
            unit=UnitId(unit),
            purpose="simulated",
            kind="agent",
            environment="test",
            owners=Owners(ADA, ADA, ADA),
            models=tuple(ModelId(one) for one in self.models),
            budget=self.budgets.get(("service", name)),
            limits=self.limits.get(("service", name), _NO_LIMITS),
            run_budget=run.windows[0] if run else None,
            credential_budget=self.budgets.get(("credential", name)),
            credential_limits=self.limits.get(("credential", name), _NO_LIMITS),
        )


class Demand(NamedTuple):
    """What is asked of an organization, so that its limits matter."""

    nano_usd: int
    """All bounds together."""
    requests: int
    tokens: int
    seconds: float
    has_rates: bool
    is_tight: bool
    """Whether some budget is certainly smaller than the demand."""


def draw_organization(draw: Draw, demand: Demand) -> Organization:
    """An organization with limits on two to four levels."""
    tenants = ["t0", "t1"][: draw.whole(1, 2)]
    services = [
        (draw.one(tenants), draw.one(("u0", "u1")), f"s{number}")
        for number in range(draw.whole(1, 3))
    ]
    made = Organization(
        zone=draw.one(ZONES),
        services=services,
        credentials={
            name: [f"k{place}{number}" for number in range(draw.whole(1, 2))]
            for place, (_, _, name) in enumerate(services)
        },
        models=("m0", "m1")[: draw.whole(1, 2)],
    )
    levels = set(draw.some(LEVELS, 2, 4))
    for scope in made.scopes():
        if scope[0] in levels and (scope[0] != "run" or draw.chance(0.5)):
            made.budgets[scope] = draw_budget(draw, scope, demand)
    if demand.is_tight:
        scope = draw.one([one for one in made.scopes() if one[0] != "run"])
        limit = max(1, int(demand.nano_usd * draw.real(0.05, 0.3)))
        made.budgets[scope] = Budget((Window(limit, "total"),), (50, 90))
    for scope in limited_scopes(made):
        if draw.chance(0.3):
            made.limits[scope] = draw_limits(draw, demand)
    return made


def draw_budget(draw: Draw, scope: Scope, demand: Demand) -> Budget:
    """One or two windows that a part of the demand fits into."""
    kinds = ["total"] if scope[0] == "run" else draw.some(BUDGET_WINDOWS, 1, 2)
    scale = {"organization": 1.0, "run": 0.1}.get(scope[0], 0.5)
    windows = tuple(
        Window(max(1, int(demand.nano_usd * scale * draw.real(0.05, 1.5))), kind)
        for kind in kinds
    )
    clamps = draw.chance(0.3)
    return Budget(windows, (50, 80, 100), "clamp" if clamps else "refuse")


def draw_limits(draw: Draw, demand: Demand) -> Limits:
    """Requests under way, and where rates are drawn these, too."""
    parallel = draw.whole(1, 6) if draw.chance(0.6) else None
    if not demand.has_rates:
        return Limits(concurrency=parallel)
    requests = tokens = None
    if draw.chance(0.6):
        requests = draw_rate(draw, demand.requests, demand.seconds)
    if draw.chance(0.5):
        tokens = draw_rate(draw, demand.tokens, demand.seconds)
    return Limits(requests, tokens, parallel)


def draw_rate(draw: Draw, units: int, seconds: float) -> Rate:
    """A rate that a part of the demand fits into."""
    period = draw.one((1, 2, 10, 60))
    share = draw.real(0.1, 0.9) * min(1.0, period / seconds)
    return Rate(max(1, int(units * share)), period)


def limited_scopes(made: Organization) -> list[Scope]:
    """Every scope that may have limits other than money."""
    found = [("model", name) for name in made.models]
    for _, _, service in made.services:
        found += [("service", service), ("credential", service)]
    return found


def changed(made: Organization, draw: Draw, demand: Demand) -> Organization:
    """Another version of it: a limit raised, lowered, removed, or a new one."""
    after = made.copy()
    if draw.chance(0.25):
        scope = draw.one(limited_scopes(made))
        before = after.limits.get(scope, _NO_LIMITS)
        parallel = draw.one((None, 1, 2, 5))
        after.limits[scope] = replace(before, concurrency=parallel)
        return after
    # A run's budget stays, for without one there is no run.
    scope = draw.one([one for one in made.scopes() if one[0] != "run"])
    budget = after.budgets.get(scope)
    if budget is None:
        after.budgets[scope] = draw_budget(draw, scope, demand)
    elif draw.chance(0.15):
        del after.budgets[scope]
    else:
        factor = draw.one((0.0, 0.2, 0.5, 0.8, 1.3, 2.0, 4.0))
        windows = tuple(
            replace(one, limit_nano_usd=int(one.limit_nano_usd * factor))
            for one in budget.windows
        )
        after.budgets[scope] = replace(budget, windows=windows)
    return after
