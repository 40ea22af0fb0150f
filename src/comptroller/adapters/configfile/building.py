"""From the document to the registry; everything has been checked before."""

from __future__ import annotations

from comptroller.adapters.configfile.document import (
    Document,
    ExceptionEntry,
    GatewayEntry,
    SandboxEntry,
    ServiceEntry,
)
from comptroller.adapters.configfile.limit_entries import (
    BudgetEntry,
    LimitsEntry,
    SharedLimitsEntry,
)
from comptroller.adapters.configfile.model_entries import (
    DeploymentEntry,
    ModelEntry,
    PriceEntry,
    ProviderEntry,
)
from comptroller.core.registry import (
    Budget,
    DeclaredPrice,
    Deployment,
    Downgrade,
    GatewaySettings,
    Limits,
    Model,
    ModelId,
    Owners,
    Person,
    PersonId,
    PolicyException,
    Privacy,
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
            ProviderId(key): _provider(ProviderId(key), one)
            for key, one in document.providers.items()
        },
        models={
            ModelId(key): _model(ModelId(key), one)
            for key, one in document.models.items()
        },
        tenants={
            TenantId(key): Tenant(
                TenantId(key),
                _person(one.owner),
                _budget(one.budget),
                {ProviderId(k): own for k, own in one.provider_credentials.items()},
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
        separation_of_duties=entry.separation_of_duties,
        privacy=Privacy(
            entry.privacy.end_user,
            entry.privacy.client_address,
            entry.privacy.prompt_fingerprint,
        ),
    )


def _provider(key: ProviderId, entry: ProviderEntry) -> Provider:
    return Provider(
        id=key,
        base_url=entry.base_url,
        speaks=entry.speaks,
        credential=entry.credential,
        ca_file=entry.ca_file,
        prices=entry.prices,
        region=entry.region,
        self_hosted=entry.self_hosted,
    )


def _model(key: ModelId, entry: ModelEntry) -> Model:
    spread = tuple(_deployment(key, one) for one in entry.deployments or ())
    return Model(
        id=key,
        provider=spread[0].provider if spread else ProviderId(entry.provider or ""),
        upstream=spread[0].upstream if spread else entry.upstream or key,
        price=_price(entry.price) if entry.price else None,
        max_output_tokens=entry.max_output_tokens,
        context_window_tokens=entry.context_window_tokens,
        tokenizer=entry.tokenizer,
        limits=_shared_limits(entry.limits),
        tier=entry.tier,
        region=entry.region,
        environments=tuple(entry.environments),
        aliases=tuple(entry.aliases),
        deployments=spread,
    )


def _deployment(model: ModelId, entry: DeploymentEntry) -> Deployment:
    return Deployment(
        provider=ProviderId(entry.provider),
        upstream=entry.upstream or model,
        weight=entry.weight,
        price=_price(entry.price) if entry.price else None,
        region=entry.region,
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
        classification=entry.classification,
        exceptions=tuple(_exception(key, one) for key, one in entry.exceptions.items()),
    )


def _exception(key: str, entry: ExceptionEntry) -> PolicyException:
    return PolicyException(key, PersonId(entry.approved_by), entry.reason, entry.until)


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
        windows=tuple(entry.limit),
        alert_at_percent=tuple(entry.alert_at),
        on_shortfall=entry.on_shortfall,
        hold=entry.hold,
        on_threshold=tuple(
            Downgrade(percent, ModelId(use))
            for percent, use in sorted(entry.on_threshold.items())
        ),
    )


def _person(name: str | None) -> PersonId | None:
    return PersonId(name) if name is not None else None
