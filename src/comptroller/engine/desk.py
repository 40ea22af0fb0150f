"""The desk: a snapshot indexed for decisions, with all that is the same precomputed.

A worker replaces its desk as a whole when a new snapshot appears.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from comptroller.core.account import Where
from comptroller.core.aliases import model_named, names_of
from comptroller.core.bound import Ceiling, OutputRule, ceilings, output_rule
from comptroller.core.budget_path import money_limits, parallel_limits, rate_limits
from comptroller.core.credential import Credential, Secret
from comptroller.core.deployment import deployments, weights
from comptroller.core.errors import ComptrollerError, UnpricedError
from comptroller.core.model_maxima import known_max_output
from comptroller.core.provider_credential import credential_reference
from comptroller.core.rates import ModelRates, RateCard
from comptroller.core.registry import (
    Model,
    ModelId,
    PersonId,
    Provider,
    Registry,
    Service,
    ServiceId,
    TenantId,
)
from comptroller.engine import refusals
from comptroller.engine.judging import Judge
from comptroller.engine.policy_facts import Standing, standing
from comptroller.engine.ports import SecretResolver, UpstreamTarget
from comptroller.engine.reached import Downgraded
from comptroller.engine.refusals import Refusal
from comptroller.engine.snapshot import Snapshot
from comptroller.engine.turns import Turns
from comptroller.wire.ceiling import OutputCeiling, ceiling_field
from comptroller.wire.counting import encoding_of
from comptroller.wire.routes import Operation, Route, upstream_path

CAPS_MAX: Final = 1_000
"""Ceilings remembered of one entitlement; a policy has a few."""

ENTITLEMENTS_MAX: Final = 50_000
"""Remembered combinations; strangers' model names are never remembered."""

KEY_BYTES_MIN: Final = 16
"""A shorter provider credential, such as `ollama`, is also a word of replies."""

_CREDENTIAL_HEADERS: Final = {
    "openai": b"authorization: Bearer ",
    "anthropic": b"x-api-key: ",
    "gemini": b"x-goog-api-key: ",
}

json = msgspec.json.Encoder().encode


class Held(NamedTuple):
    """One valid secret's credential."""

    credential: Credential
    secret: Secret


class Entitlement(msgspec.Struct, frozen=True):
    """What one credential gets when it asks for a model by a route."""

    credential: Credential
    service: Service
    model: Model
    route: Route
    refusal: Refusal | None
    """Why this combination is never allowed; None: it is."""
    rates: ModelRates | None
    """None: the route is free of charge."""
    card: RateCard
    rate_card: str | None
    """Its version; None: nothing is priced."""
    ceilings: tuple[Ceiling, ...]
    """What bounds the cost of a request that asks for no service tier."""
    output: OutputRule
    """What bounds one choice's output, and what is put into a request for it."""
    ceiling: OutputCeiling
    """What is put into a request that states no maximum of its own."""
    target: UpstreamTarget
    path: bytes
    """Where to call the provider, without a query."""
    head: bytes
    """Header lines of our own for the provider: host, credential, coding."""
    key: bytes
    """The provider's credential, where it is one that no reply may show."""
    data: bytes
    """The members of the decision record that are the same for every request."""
    where: Where
    """Every scope that the request belongs to, without a run."""
    encoding: str | None
    """The model's tokenizer, where it is known exactly."""
    deployment: tuple[str, str]
    """Where the model runs: provider and its own name of the model."""
    standing: Standing | None
    """The facts for the active policy; None: none is active."""
    capped: dict[int, Entitlement]
    """The same with lower ceilings on output, by what a policy allows."""
    downgraded: Downgraded | None = None
    """How a budget had it stand in for what was asked for; None: it is just that."""

    def ceilings_for(self, tier: str | None) -> tuple[Ceiling, ...]:
        """What bounds the cost of a request that asks for a service tier.

        Raises:
            UnpricedError: the tier has no price.
        """
        if tier is None or self.rates is None:
            return self.ceilings
        return ceilings(self.rates, tier)


class Desk:
    """Everything that a worker needs to decide, from one snapshot."""

    def __init__(
        self, snapshot: Snapshot, secrets: SecretResolver, judge: Judge | None = None
    ) -> None:
        self.snapshot = snapshot
        self.registry = snapshot.registry
        self.judge = judge
        """Decides by the active policy; None: none is active."""
        self.names = names_of(snapshot.registry)
        self._secrets = secrets
        self._held = {
            bytes.fromhex(secret.sha256_hex): Held(credential, secret)
            for credential in snapshot.credentials
            for secret in credential.secrets
        }
        self._entitlements: dict[
            tuple[str, str, str, str], tuple[Entitlement, ...]
        ] = {}
        self._turns: dict[ModelId, Turns] = {}

    def find(self, secret: bytes) -> Held | None:
        """The credential of a secret.

        The look-up is by SHA-256: how long it takes says nothing about how much of
        a guess was right.
        """
        return self._held.get(hashlib.sha256(secret).digest())

    def service(self, credential: Credential) -> Service | None:
        """The service that owns a credential, while it is declared."""
        return self.registry.services.get(ServiceId(credential.service))

    def validity(self, held: Held, now_ns: int) -> str:
        """`valid`, `revoked`, `expired` or `not valid yet`."""
        credential, secret = held
        if credential.revoked_ns is not None:
            return "revoked"
        ends = [t for t in (credential.expires_ns, secret.not_after_ns) if t]
        if ends and now_ns >= min(ends):
            return "expired"
        return "valid" if now_ns >= secret.not_before_ns else "not valid yet"

    def may_run(self, service: Service, asked: Model, other: str) -> bool:
        """Whether a request may run a further model inside the one asked for.

        Args:
            service: whose request it is.
            asked: the model asked for; the other one runs at its provider.
            other: as the body names it: our name of it, or the provider's.
        """
        for name in service.models:
            for model in deployments(self.registry.models[name]):
                names = (model.id, model.upstream)
                if other in names and model.provider == asked.provider:
                    return True
        return False

    def has_limits(self, where: Where, model: ModelId) -> bool:
        """Whether a budget, rate or concurrency limit applies to such requests."""
        registry = self.registry
        return bool(
            money_limits(registry, where)
            or parallel_limits(registry, where, model)
            or rate_limits(registry, where, model)
        )

    def entitlements(
        self, credential: Credential, service: Service, model: str, route: Route
    ) -> tuple[Entitlement, ...]:
        """What the credential gets: one for each place where the model runs.

        Args:
            credential: that asks.
            service: of the credential.
            model: an id or an alias, as the caller wrote it.
            route: by which it asks.

        Returns:
            Empty: the service may not use such a model.
        """
        key = (credential.id, model, route.dialect, route.operation)
        found = self._entitlements.get(key)
        if found is None:
            declared = model_named(self.registry, model, self.names)
            if declared is None or declared.id not in service.models:
                return ()
            found = tuple(
                [
                    self._entitle(credential, service, deployed, route)
                    for deployed in deployments(declared)
                ]
            )
            if len(self._entitlements) < ENTITLEMENTS_MAX:
                self._entitlements[key] = found
        return found

    def is_one_of_many(self, entitlement: Entitlement) -> bool:
        """Whether the model runs in other places, too."""
        declared = self.registry.models.get(entitlement.model.id)
        return declared is not None and len(declared.deployments) > 1

    def in_turn(self, found: tuple[Entitlement, ...]) -> Sequence[Entitlement]:
        """The same in the order in which to try them: by weight, each in its turn."""
        if len(found) <= 1:
            return found
        return [found[place] for place in self._turns_of(found[0].model.id).order()]

    def take_turn(self, found: tuple[Entitlement, ...]) -> None:
        """Ends the turn of the first: once for a request, however often it is asked."""
        if len(found) > 1:
            self._turns_of(found[0].model.id).take()

    def _turns_of(self, model: ModelId) -> Turns:
        turns = self._turns.get(model)
        if turns is None:
            turns = self._turns[model] = Turns(weights(self.registry.models[model]))
        return turns

    def capped(self, entitlement: Entitlement, tokens: int) -> Entitlement:
        """The same, with no more output than a policy allows a request."""
        found = entitlement.capped.get(tokens)
        if found is None:
            service, model = entitlement.service, entitlement.model
            output = _output_rule(service, model, entitlement.route, tokens)
            if output == entitlement.output:
                found = entitlement
            else:
                provider = self.registry.providers[model.provider]
                ceiling = _ceiling(output, provider, model)
                found = replace(entitlement, output=output, ceiling=ceiling)
            if len(entitlement.capped) < CAPS_MAX:
                entitlement.capped[tokens] = found
        return found

    def _entitle(
        self, credential: Credential, service: Service, model: Model, route: Route
    ) -> Entitlement:
        provider = self.registry.providers[model.provider]
        card = self.snapshot.rate_card
        rates = card.find(provider.id, model.upstream) if route.metered else None
        refusal = _unattributable(credential, service, self.registry)
        prefix = provider.speaks.get(route.dialect)
        if refusal is None and prefix is None:
            speaks = tuple(provider.speaks)
            refusal = refusals.dialect_not_spoken(model.id, route.dialect, speaks)
        reachable: tuple[Ceiling, ...] = ()
        if rates is not None:
            try:
                reachable = ceilings(rates, None)
            except UnpricedError:
                rates = None
        if refusal is None and rates is None and route.metered:
            refusal = refusals.unpriced(model.id, service, self.registry)
        output = _output_rule(service, model, route)
        hostname = urlsplit(provider.base_url).hostname or ""
        head = key = b""
        if refusal is None:
            try:
                key = self._key(service.tenant, provider)
                head = _head(provider, route.dialect, key)
            except ComptrollerError as error:
                refusal = refusals.provider_credential_missing(
                    provider.id, error.message
                )
        data = _decision_data(
            credential, service, self, _Asked(model, provider, route, rates)
        )
        return Entitlement(
            credential=credential,
            service=service,
            model=model,
            route=route,
            refusal=refusal,
            rates=rates,
            card=card,
            rate_card=card.version if rates else None,
            ceilings=reachable,
            output=output,
            ceiling=_ceiling(output, provider, model),
            target=_target(provider),
            path=upstream_path(route, prefix or "", model.upstream).encode(),
            head=head,
            key=key if len(key) >= KEY_BYTES_MIN else b"",
            data=data,
            where=self._where(credential, service),
            encoding=model.tokenizer or encoding_of(hostname, model.upstream),
            deployment=(model.provider, model.upstream),
            standing=self._standing(credential, service, model, provider),
            capped={},
        )

    def _where(self, credential: Credential, service: Service) -> Where:
        """Every scope of such a request, but for its run."""
        return Where(
            self.registry.organization,
            service.tenant,
            service.unit,
            service.id,
            credential.id,
            None,
        )

    def _standing(
        self, credential: Credential, service: Service, model: Model, provider: Provider
    ) -> Standing | None:
        """The facts of such a request for the active policy, if there is one."""
        if self.judge is None:
            return None
        zone = self.registry.timezone
        return standing(credential, service, model, provider, zone)

    def _key(self, tenant: TenantId, provider: Provider) -> bytes:
        reference = credential_reference(self.registry, tenant, provider)
        if reference is None:
            return b""
        return self._secrets.resolve(reference).encode("latin-1")


def _head(provider: Provider, dialect: str, key: bytes) -> bytes:
    lines = [b"host: " + urlsplit(provider.base_url).netloc.encode("latin-1")]
    if key:
        lines.append(_CREDENTIAL_HEADERS[dialect] + key)
    # The meter reads the reply as it passes; a coding would hide it.
    lines.append(b"accept-encoding: identity")
    return b"".join(b"%b\r\n" % line for line in lines)


def _output_rule(
    service: Service, model: Model, route: Route, cap: int | None = None
) -> OutputRule:
    if route.operation is Operation.EMBEDDINGS:
        return OutputRule(0, "model", None, is_always=False)
    limit = service.limits.output_tokens
    if cap is not None:
        limit = cap if limit is None else min(limit, cap)
    known = known_max_output(model.upstream)
    return output_rule(limit, model.max_output_tokens, known)


def _ceiling(output: OutputRule, provider: Provider, model: Model) -> OutputCeiling:
    host = urlsplit(provider.base_url).hostname or ""
    field = ceiling_field(host, provider.prices, model.upstream)
    return OutputCeiling(output.tokens, field)


class _Asked(NamedTuple):
    model: Model
    provider: Provider
    route: Route
    rates: ModelRates | None


def refused_data(
    credential: Credential, service: Service, desk: Desk, route: Route
) -> bytes:
    """Members of a refusal's record where no declared model was asked for."""
    return _decision_data(credential, service, desk, (route,))


def _target(provider: Provider) -> UpstreamTarget:
    parts = urlsplit(provider.base_url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return UpstreamTarget(parts.hostname or "", port, tls, provider.ca_file)


def _unattributable(
    credential: Credential, service: Service, registry: Registry
) -> Refusal | None:
    """Requirement 15: three living people, and two more for an agent."""
    if service.tenant not in registry.tenants:
        return refusals.unattributable(
            service.id, "its tenant is not declared", registry
        )
    if credential.person not in registry.people:
        what = f"credential {credential.id} is for {credential.person}, who is gone"
        return refusals.unattributable(service.id, what, registry)
    owners = service.owners
    roles = {
        "policy owner": owners.policy,
        "billing owner": owners.billing,
        "technical owner": owners.technical,
        "gateway owner": registry.gateway.owner,
    }
    if service.kind == "agent":
        roles["operator"] = service.operator or PersonId("")
        roles["sponsor"] = service.sponsor or PersonId("")
    unit = registry.units.get(f"{service.tenant}/{service.unit}")
    roles["unit owner"] = unit.owner if unit else PersonId("")
    for role, person in roles.items():
        if person not in registry.people:
            return refusals.unattributable(service.id, f"it has no {role}", registry)
    return None


def _decision_data(
    credential: Credential,
    service: Service,
    desk: Desk,
    asked: _Asked | tuple[Route],
) -> bytes:
    """What every decision record of an entitlement has in common, encoded once."""
    snapshot, registry = desk.snapshot, desk.registry
    bundles = {"registry": {"revision": str(snapshot.revision)}}
    if desk.judge is not None:
        bundles["policy"] = {"revision": desk.judge.revision}
    unit = registry.units.get(f"{service.tenant}/{service.unit}")
    model = provider = rates = None
    if isinstance(asked, _Asked):
        model, provider, route, rates = asked
    else:
        (route,) = asked
    members: dict[str, object] = {
        "path": route.label,
        "gen_ai.operation.name": str(route.operation),
        "comptroller.dialect": route.dialect,
        "gen_ai.provider.name": provider.id if provider else None,
        "comptroller.model.upstream": model.upstream if model else None,
        "server.address": urlsplit(provider.base_url).hostname if provider else None,
        "service.name": service.id,
        "comptroller.unit.id": service.unit,
        "comptroller.tenant.id": service.tenant,
        "comptroller.service.kind": service.kind,
        "deployment.environment.name": service.environment,
        "comptroller.credential.id": credential.id,
        "comptroller.credential.person": credential.person,
        "comptroller.owner.policy": service.owners.policy,
        "comptroller.owner.billing": service.owners.billing,
        "comptroller.owner.technical": service.owners.technical,
        "comptroller.owner.unit": unit.owner if unit else "",
        "comptroller.owner.gateway": registry.gateway.owner,
        "comptroller.operator": service.operator,
        "comptroller.sponsor": service.sponsor,
        "comptroller.registry.revision": snapshot.revision,
        "bundles": bundles,
        "comptroller.rate_card": snapshot.rate_card.version if rates else None,
    }
    return json(members)[1:-1]
