from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    GatewaySettings,
    ModelId,
    Owners,
    PersonId,
    Registry,
    ServiceId,
    Unit,
)
from comptroller.engine import records
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.snapshot import Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Refused
from comptroller.testing.answered import CARD, acme
from comptroller.testing.system import FixedSecrets
from comptroller.wire.routes import match

NOW_NS = 1_000
PEOPLE = tuple(PersonId(name) for name in ("ada", "grace", "alan", "nobody"))
ROUTE = match(b"POST", b"/v1/chat/completions")
BODY = b'{"model":"gpt-5-mini","messages":[]}'
SERVICE = ServiceId("checkout-assistant")
UNIT = "acme/retail"

a_person = st.sampled_from((*PEOPLE[:3] * 5, PEOPLE[3]))
maybe_ns = st.sampled_from([None, NOW_NS - 1, NOW_NS, NOW_NS + 1])


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """An organization in which anything that people do may be lacking."""
    base = acme()
    people = {
        name: one for name, one in base.people.items() if draw(st.integers(0, 19)) > 0
    }
    service = replace(
        base.services[SERVICE],
        owners=Owners(draw(a_person), draw(a_person), draw(a_person)),
        kind=draw(st.sampled_from(["internal", "agent"])),
        operator=draw(st.none() | a_person),
        sponsor=draw(st.none() | a_person),
        models=draw(st.sampled_from([(), (ModelId("gpt-5-mini"),)])),
    )
    unit = base.units[UNIT]
    units = {UNIT: Unit(unit.id, unit.tenant, draw(a_person))}
    return replace(
        base,
        people=people,
        gateway=GatewaySettings(draw(a_person)),
        tenants=base.tenants if draw(st.integers(0, 9)) else {},
        units=units if draw(st.integers(0, 9)) else {},
        services={SERVICE: service} if draw(st.integers(0, 9)) else {},
    )


@st.composite
def credentials(draw: st.DrawFn) -> Credential:
    """A credential of the secret `good`, valid or not."""
    secret = Secret(
        hash_secret(draw(st.sampled_from(["good", "good", "good", "other"]))),
        draw(st.sampled_from([0, NOW_NS, NOW_NS + 1])),
        draw(maybe_ns),
    )
    return Credential(
        id=CredentialId("c1"),
        service=draw(st.sampled_from([SERVICE, SERVICE, "gone"])),
        person=draw(a_person),
        issued_ns=0,
        secrets=(secret,),
        revoked_ns=draw(st.sampled_from([None, None, 5])),
        expires_ns=draw(maybe_ns),
    )


def desk(registry: Registry, *listed: Credential) -> Desk:
    secrets = FixedSecrets({})
    return Desk(Snapshot(1, 1, registry, list(listed), CARD), secrets)


def verdict(registry: Registry, credential: Credential, body: bytes = BODY) -> Any:  # noqa: ANN401  one of two
    assert ROUTE is not None
    ask = Ask(ROUTE, b"good", body, b"")
    return Admission(desk(registry, credential)).admit(ask, NOW_NS)


def is_valid(credential: Credential) -> bool:
    secret = credential.secrets[0]
    ends = [t for t in (secret.not_after_ns, credential.expires_ns) if t is not None]
    return (
        secret.sha256_hex == hash_secret("good")
        and secret.not_before_ns <= NOW_NS
        and credential.revoked_ns is None
        and all(end > NOW_NS for end in ends)
    )


def answerable(registry: Registry, credential: Credential) -> list[PersonId | None]:
    """Everybody who answers for a request; None where there is nobody."""
    service = registry.services.get(ServiceId(credential.service))
    unit = registry.units.get(UNIT)
    if service is None or unit is None or service.tenant not in registry.tenants:
        return [None]
    owners = service.owners
    people: list[PersonId | None] = [
        *(owners.policy, owners.billing, owners.technical, unit.owner),
        *(registry.gateway.owner, PersonId(credential.person)),
    ]
    if service.kind == "agent":
        people += [service.operator, service.sponsor]
    return people


@settings(max_examples=400, deadline=None)
@given(registries(), credentials())
def test_only_what_resolves_to_living_people_is_admitted(
    registry: Registry, credential: Credential
) -> None:
    """G1: admitted exactly if credential, path, people and model all resolve."""
    named = answerable(registry, credential)
    service = registry.services.get(ServiceId(credential.service))
    resolves = (
        is_valid(credential)
        and all(person in registry.people for person in named)
        and service is not None
        and bool(service.models)
    )

    decided = verdict(registry, credential)

    assert isinstance(decided, Admitted) is resolves


@settings(max_examples=200, deadline=None)
@given(registries(), credentials(), st.binary(max_size=40) | st.just(BODY))
def test_every_decision_is_a_record_of_its_shape(
    registry: Registry, credential: Credential, body: bytes
) -> None:
    """Whatever was asked, a decision about a known credential can be read back."""
    decided = verdict(registry, credential, body)
    if decided.data is None:
        return

    data = msgspec.json.decode(
        b'{"decision_id":"D",%b}' % decided.data, type=records.Decided
    )

    allowed = isinstance(decided, Admitted)
    assert data.result == ("allow" if allowed else "deny")
    assert data.reason == (
        "allowed" if isinstance(decided, Admitted) else decided.refusal.code
    )
    denied = [one.id for one in data.controls if one.outcome == "deny"]
    assert len(denied) == (0 if allowed else 1)
    assert data.credential == "c1"


def test_the_hold_covers_what_a_request_can_cost() -> None:
    """The hold is at least the price of its bytes and of its output ceiling."""
    credential = Credential(
        CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
    )
    body = b'{"model":"gpt-5-mini","max_tokens":100,"n":3,"messages":[]}'

    admitted = verdict(acme(), credential, body)

    assert admitted.hold.output_tokens == 300
    assert admitted.hold.input_tokens >= len(body)
    least = (len(body) * 250_000 + 300 * 2_000_000) // 1000
    assert admitted.hold.nano_usd >= least


def test_a_second_model_needs_to_be_allowed_too() -> None:
    """A fallback that the service may not use is refused by its name."""
    credential = Credential(
        CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
    )
    body = b'{"model":"gpt-5-mini","models":["gpt-5-mini","dear-model"],"messages":[]}'

    refused = verdict(acme(), credential, body)

    assert isinstance(refused, Refused)
    assert refused.refusal.code == "model_not_allowed"
    assert "'dear-model'" in refused.refusal.message


def test_more_than_can_be_held_is_refused() -> None:
    """However many replies at whatever price: no hold outgrows 64-bit sums."""
    base = acme()
    declared = {
        name: replace(one, max_output_tokens=10**15)
        for name, one in base.models.items()
    }
    credential = Credential(
        CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
    )
    body = b'{"model":"gpt-5-mini","messages":[],"n":1024}'

    found = verdict(replace(base, models=declared), credential, body)

    assert isinstance(found, Refused)
    assert found.refusal.code == "bad_request"
    assert found.data is not None
    said = msgspec.json.decode(b"{%b}" % found.data)
    assert (said["result"], said["comptroller.hold.nano_usd"]) == ("deny", 0)


def test_tokens_that_cost_nothing_have_a_bound_too() -> None:
    """A record that no store can add up would hold up its journal for ever."""
    free = ModelRates("gpt-5-mini", (Step(0, {"input": 0, "output": 0}),))
    card = rate_card("t", {"openai": {"gpt-5-mini": free}})
    credential = Credential(
        CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
    )
    desk = Desk(Snapshot(1, 1, acme(), [credential], card), FixedSecrets({}))
    assert ROUTE is not None
    body = b'{"model":"gpt-5-mini","messages":[],"n":1024,"max_tokens":%d}'

    refused = Admission(desk).admit(Ask(ROUTE, b"good", body % 10**15, b""), NOW_NS)
    passed = Admission(desk).admit(Ask(ROUTE, b"good", body % 10**8, b""), NOW_NS)

    assert isinstance(passed, Admitted)
    assert isinstance(refused, Refused)
    assert refused.refusal.code == "bad_request"
    assert refused.data is not None
    said = msgspec.json.decode(b"{%b}" % refused.data)
    assert said["comptroller.hold.output_tokens"] == 0


@pytest.mark.parametrize(
    ("model", "recorded"),
    [
        ("gpt-9", "gpt-9"),
        ("org/model:free@1", "org/model:free@1"),
        ("tell me about the merger", None),
        ("ctl_0123456789ab_secret", None),
        ("sk-proj-0123456789", None),
        ("m" * 101, None),
    ],
)
def test_what_is_no_models_name_is_not_recorded(
    model: str, recorded: str | None
) -> None:
    """A prompt or a secret in the model's place stays out of the records."""
    credential = Credential(
        CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
    )
    body = msgspec.json.encode({"model": model, "messages": []})

    found = verdict(acme(), credential, body)

    assert found.refusal.code == "model_not_allowed"
    said = msgspec.json.decode(b"{%b}" % found.data)
    assert said["gen_ai.request.model"] == recorded
