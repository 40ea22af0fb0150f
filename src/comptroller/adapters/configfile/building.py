"""From the document to the registry; everything has been checked before."""

from __future__ import annotations

from comptroller.adapters.configfile.document import (
    BudgetEntry,
    Document,
    GatewayEntry,
    LimitsEntry,
    ModelEntry,
    PriceEntry,
    SandboxEntry,
    ServiceEntry,
    SharedLimitsEntry,
)
from comptroller.core.registry import (
    Budget,
    DeclaredPrice,
    GatewaySettings,
    Limits,
    Model,
    ModelId,
    Owners,
    Person,
    PersonId,
    Provider,
    ProviderId,
    Registry,
    Sandbox,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
    UnitId,
)


def build_registry(document: Document) -> Registry:
    """Makes the registry that a document declares."""
    units: dict[str, Unit] = {}
    services: dict[ServiceId, Service] = {}
    for tenant, entry in document.tenants.items():
        for unit, unit_entry in entry.units.items():
            units[f"{tenant}/{unit}"] = Unit(
                UnitId(unit),
                TenantId(tenant),
                PersonId(unit_entry.owner),
                _budget(unit_entry.budget),
            )
            for name, service in unit_entry.services.items():
                services[ServiceId(name)] = _service(
                    name, TenantId(tenant), UnitId(unit), service
                )
    return Registry(
        organization=document.organization,
        timezone=document.timezone,
        people={
            PersonId(key): Person(PersonId(key), one.name, one.email)
            for key, one in document.people.items()
        },
        gateway=_gateway(document.gateway),
        providers={
            ProviderId(key): Provider(
                ProviderId(key),
                one.base_url,
                one.speaks,
                one.credential,
                one.ca_file,
                one.prices,
            )
            for key, one in document.providers.items()
        },
        models={
            ModelId(key): _model(ModelId(key), one)
            for key, one in document.models.items()
        },
        tenants={
            TenantId(key): Tenant(
                TenantId(key), _person(one.owner), _budget(one.budget)
            )
            for key, one in document.tenants.items()
        },
        units=units,
        services=services,
        budget=_budget(document.budget),
    )


def _gateway(entry: GatewayEntry) -> GatewaySettings:
    return GatewaySettings(
        owner=PersonId(entry.owner),
        body_bytes_max=entry.body_max,
        upstream_first_byte_timeout_s=entry.first_byte_timeout,
        upstream_idle_timeout_s=entry.idle_timeout,
        drain_count_max=entry.drain_max,
        drain_timeout_s=entry.drain_timeout,
    )


def _model(key: ModelId, entry: ModelEntry) -> Model:
    return Model(
        id=key,
        provider=ProviderId(entry.provider),
        upstream=entry.upstream or key,
        price=_price(entry.price) if entry.price else None,
        max_output_tokens=entry.max_output_tokens,
        context_window_tokens=entry.context_window_tokens,
        tokenizer=entry.tokenizer,
        limits=_shared_limits(entry.limits),
    )


def _price(entry: PriceEntry) -> DeclaredPrice:
    rates: dict[str, int] = entry.model_dump(exclude={"per_unit"}, exclude_none=True)
    if entry.per_unit is not None:
        rates |= entry.per_unit.model_dump()
    return DeclaredPrice(rates)


def _service(name: str, tenant: TenantId, unit: UnitId, entry: ServiceEntry) -> Service:
    owners = entry.owners
    return Service(
        id=ServiceId(name),
        tenant=tenant,
        unit=unit,
        purpose=entry.purpose,
        kind=entry.kind,
        environment=entry.environment,
        owners=Owners(
            PersonId(owners.policy),
            PersonId(owners.billing),
            PersonId(owners.technical),
        ),
        models=tuple(ModelId(one) for one in entry.models),
        escalation=tuple(PersonId(one) for one in entry.escalation),
        budget=_budget(entry.budget),
        limits=_limits(entry.limits),
        credential_budget=_budget(entry.credential_budget),
        credential_limits=_shared_limits(entry.credential_limits),
        operator=_person(entry.operator),
        sponsor=_person(entry.sponsor),
        run_budget=entry.run_budget,
        sandbox=_sandbox(entry.sandbox) if entry.sandbox else None,
    )


def _sandbox(entry: SandboxEntry) -> Sandbox:
    return Sandbox(PersonId(entry.sponsor), entry.budget, entry.ends)


def _limits(entry: LimitsEntry) -> Limits:
    return Limits(entry.requests, entry.tokens, entry.concurrency, entry.output_tokens)


def _shared_limits(entry: SharedLimitsEntry) -> Limits:
    return Limits(entry.requests, entry.tokens, entry.concurrency)


def _budget(entry: BudgetEntry | None) -> Budget | None:
    if entry is None:
        return None
    return Budget(
        tuple(entry.limit), tuple(entry.alert_at), entry.on_shortfall, entry.hold
    )


def _person(name: str | None) -> PersonId | None:
    return PersonId(name) if name is not None else None
