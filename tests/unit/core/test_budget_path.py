from __future__ import annotations

from dataclasses import replace
from datetime import date

from comptroller.core.account import Account, Where, parse_account
from comptroller.core.budget_path import (
    Limited,
    RateLimit,
    declared_limit,
    declared_rate,
    money_limits,
    parallel_limits,
    rate_limits,
)
from comptroller.core.registry import (
    Budget,
    GatewaySettings,
    Limits,
    Model,
    ModelId,
    Owners,
    PersonId,
    ProviderId,
    Rate,
    Registry,
    Sandbox,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
    UnitId,
    Window,
)

ANA = PersonId("ana")
WHERE = Where("acme", "shop", "web", "checkout", "cred-1", "r1")


def budget(*windows: tuple[int, str]) -> Budget:
    return Budget(tuple(Window(limit, window) for limit, window in windows), (80,))


SERVICE = Service(
    id=ServiceId("checkout"),
    tenant=TenantId("shop"),
    unit=UnitId("web"),
    purpose="sell",
    kind="agent",
    environment="production",
    owners=Owners(ANA, ANA, ANA),
    models=(ModelId("acme/small:1"),),
    budget=Budget((Window(40, "month"), Window(4, "day")), (50, 80), "clamp"),
    run_budget=Window(2, "total"),
    credential_budget=Budget((Window(3, "day"),), (), "refuse", "progressive"),
    limits=Limits(Rate(600, 60), Rate(9000, 60), 8),
    credential_limits=Limits(requests=Rate(60, 60), concurrency=2),
)
REGISTRY = Registry(
    organization="acme",
    timezone="Europe/Amsterdam",
    people={},
    gateway=GatewaySettings(ANA),
    providers={},
    models={
        ModelId("acme/small:1"): Model(
            ModelId("acme/small:1"),
            ProviderId("acme"),
            "small",
            limits=Limits(tokens=Rate(5000, 60), concurrency=30),
        )
    },
    tenants={TenantId("shop"): Tenant(TenantId("shop"), ANA, budget((600, "month")))},
    units={
        "shop/web": Unit(UnitId("web"), TenantId("shop"), ANA, budget((300, "month")))
    },
    services={ServiceId("checkout"): SERVICE},
    budget=budget((1000, "month"), (9000, "total")),
)


def with_service(service: Service) -> Registry:
    return replace(REGISTRY, services={service.id: service})


def service_of(credential: str) -> str | None:
    return {"cred-1": "checkout"}.get(credential)


def test_every_budget_on_the_path_widest_first() -> None:
    """Organization, tenant, unit, service, credential and run all hold at once."""
    assert money_limits(REGISTRY, WHERE) == (
        Limited("organization", "acme", "month", 1000, (80,)),
        Limited("organization", "acme", "total", 9000, (80,)),
        Limited("tenant", "shop", "month", 600, (80,)),
        Limited("unit", "shop/web", "month", 300, (80,)),
        Limited("service", "checkout", "month", 40, (50, 80), "clamp"),
        Limited("service", "checkout", "day", 4, (50, 80), "clamp"),
        Limited("credential", "cred-1", "day", 3, (), "refuse", "progressive"),
        Limited("run", "checkout/r1", "total", 2),
    )


def test_a_request_without_a_run_has_no_run_budget() -> None:
    """Only what names a run is held against it."""
    limits = money_limits(REGISTRY, WHERE._replace(run=None))
    assert "run" not in {each.scope for each in limits}
    assert len(limits) == 7


def test_what_is_not_declared_is_not_limited() -> None:
    """A path without budgets, or of things that are gone, has no limits."""
    bare = replace(SERVICE, budget=None, run_budget=None, credential_budget=None)
    registry = replace(with_service(bare), tenants={}, units={}, budget=None)
    assert money_limits(registry, WHERE) == ()
    assert money_limits(replace(registry, services={}), WHERE) == ()
    assert parallel_limits(replace(registry, services={}), WHERE, "gone") == ()
    assert rate_limits(replace(registry, services={}), WHERE, "gone") == ()


def test_a_sandbox_limits_its_service_in_total() -> None:
    """A trial's budget is one of the service's, without alerts of its own."""
    trial = replace(
        SERVICE, sandbox=Sandbox(ANA, Window(7, "total"), date(2026, 12, 1))
    )
    limits = money_limits(with_service(trial), WHERE)
    assert Limited("service", "checkout", "total", 7) in limits


def test_two_budgets_on_one_account_the_smaller_holds() -> None:
    """A trial of a service with a total budget: one account, the smaller limit."""
    for own, trial in [(5, 7), (7, 5)]:
        service = replace(
            SERVICE,
            budget=budget((own, "total")),
            sandbox=Sandbox(ANA, Window(trial, "total"), date(2026, 12, 1)),
        )
        limits = [
            each
            for each in money_limits(with_service(service), WHERE)
            if each.scope == "service"
        ]
        assert limits == [Limited("service", "checkout", "total", 5, (80,))]


def test_requests_under_way_are_limited_in_three_places() -> None:
    """Service, credential and model may each bound parallel requests."""
    assert parallel_limits(REGISTRY, WHERE, "acme/small:1") == (
        Limited("service", "checkout", "parallel", 8),
        Limited("credential", "cred-1", "parallel", 2),
        Limited("model", "acme/small:1", "parallel", 30),
    )


def test_rates_have_ids_of_scope_key_and_unit() -> None:
    """Requests and tokens are limited apart, each under its own name."""
    assert rate_limits(REGISTRY, WHERE, "acme/small:1") == (
        RateLimit("service:checkout/requests", 600, 60, "requests"),
        RateLimit("service:checkout/tokens", 9000, 60, "tokens"),
        RateLimit("credential:cred-1/requests", 60, 60, "requests"),
        RateLimit("model:acme/small:1/tokens", 5000, 60, "tokens"),
    )


def test_what_is_declared_is_found_by_its_account() -> None:
    """The account of every limit on a path leads back to that limit."""
    limits = money_limits(REGISTRY, WHERE)
    parallel = parallel_limits(REGISTRY, WHERE, "acme/small:1")
    for limited in (*limits, *parallel):
        account = parse_account(limited.account("2026-11").id)
        assert declared_limit(REGISTRY, account, service_of) == limited


def test_what_is_declared_is_found_by_its_rate() -> None:
    """The id of every rate on a path leads back to that rate."""
    for rate in rate_limits(REGISTRY, WHERE, "acme/small:1"):
        assert declared_rate(REGISTRY, rate.id, service_of) == rate


def test_what_is_not_declared_is_not_found() -> None:
    """Accounts and rates of what has no limit, or is unknown, have none."""
    for scope, key, window in [
        ("organization", "other", "month"),
        ("tenant", "gone", "month"),
        ("unit", "shop/gone", "month"),
        ("service", "gone", "month"),
        ("service", "checkout", "week"),
        ("credential", "unknown", "day"),
        ("run", "gone/r1", "total"),
        ("model", "acme/small:1", "month"),
        ("model", "gone", "parallel"),
        ("credential", "unknown", "parallel"),
        ("tenant", "shop", "parallel"),
    ]:
        account = Account(scope, key, window, "any")
        assert declared_limit(REGISTRY, account, service_of) is None, account
    for rate in ["model:acme/small:1/requests", "model:gone/tokens", "nonsense"]:
        assert declared_rate(REGISTRY, rate, service_of) is None
