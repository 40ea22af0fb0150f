"""What a request is bounded at, and what is put into it, from a real desk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from msgspec import structs

from comptroller.core.bound import ceilings
from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.errors import UnpricedError
from comptroller.core.rates import ModelRates, Step
from comptroller.core.registry import Limits, ModelId, PersonId, ProviderId, ServiceId
from comptroller.engine.admission import Admission
from comptroller.engine.bounding import Bounded, bounded, counted
from comptroller.engine.desk import Desk, Entitlement
from comptroller.engine.snapshot import Snapshot
from comptroller.engine.verdicts import Admitted, Ask
from comptroller.testing.answered import CARD, acme
from comptroller.testing.counter import WordCounter
from comptroller.testing.routes import CHAT, MESSAGES
from comptroller.testing.system import FixedSecrets
from comptroller.wire.request import read_facts
from comptroller.wire.routes import Route

SERVICE = ServiceId("checkout-assistant")
MODEL = ModelId("gpt-5-mini")
CREDENTIAL = Credential(
    id=CredentialId("c1"),
    service=SERVICE,
    person=PersonId("ada"),
    issued_ns=0,
    secrets=(Secret(hash_secret("good"), 0, None),),
)


def desk(
    *,
    output_tokens: int | None = None,
    max_output_tokens: int | None = None,
    host: str = "api.openai.com",
    tokenizer: str | None = None,
) -> Desk:
    base = acme()
    limits = Limits(output_tokens=output_tokens)
    service = replace(base.services[SERVICE], limits=limits)
    model = replace(
        base.models[MODEL], max_output_tokens=max_output_tokens, tokenizer=tokenizer
    )
    registry = replace(
        base,
        services={SERVICE: service},
        models={MODEL: model},
        providers={
            ProviderId("openai"): replace(
                base.providers[ProviderId("openai")],
                base_url=f"https://{host}",
                speaks={"openai": "/v1"},
                prices="openai",
            )
        },
    )
    snapshot = Snapshot(1, 1, registry, [CREDENTIAL], CARD)
    return Desk(snapshot, FixedSecrets({}))


def entitlement_of(place: Desk) -> Entitlement:
    service = place.registry.services[SERVICE]
    (found,) = place.entitlements(CREDENTIAL, service, MODEL, CHAT)
    return found


def bound_of(place: Desk, *, is_limited: bool, **body: object) -> Bounded:
    data = json.dumps({"model": MODEL, **body}).encode()
    facts = read_facts(CHAT, data)
    return bounded(entitlement_of(place), facts, data, is_limited=is_limited)


def sent(place: Desk, **body: object) -> dict[str, object]:
    """What goes upstream where no budget applies."""
    data = json.dumps({"model": MODEL, **body}).encode()
    decided = Admission(place).admit(Ask(CHAT, b"good", data, b""), 1)
    assert isinstance(decided, Admitted)
    found: dict[str, object] = json.loads(decided.body)
    return found


def test_a_services_own_limit_is_enforced_upstream_without_a_budget() -> None:
    """It is put where the request states none, and lowers what states more."""
    place = desk(output_tokens=300)
    assert sent(place)["max_completion_tokens"] == 300
    assert sent(place, max_tokens=900)["max_tokens"] == 300
    assert sent(place, max_tokens=200) == {"model": MODEL, "max_tokens": 200}


def test_nothing_is_put_where_nothing_is_limited() -> None:
    """A declared or known maximum is no limit of ours."""
    assert sent(desk()) == {"model": MODEL}
    assert sent(desk(max_output_tokens=50)) == {"model": MODEL}


@pytest.mark.parametrize(
    ("output_tokens", "max_output_tokens", "asked", "expected", "is_put"),
    [
        (None, None, None, 128_000, True),
        (None, 5000, None, 5000, True),
        (300, 5000, None, 300, True),
        (None, None, 200_000, 200_000, False),
        (None, 5000, 9000, 5000, True),
        (300, 5000, 200, 200, False),
    ],
)
def test_on_a_limited_path_the_bound_is_true(
    output_tokens: int | None,
    max_output_tokens: int | None,
    asked: int | None,
    expected: int,
    is_put: bool,
) -> None:
    """What the request does not state itself is put into it."""
    place = desk(output_tokens=output_tokens, max_output_tokens=max_output_tokens)
    found = bound_of(place, is_limited=True, max_tokens=asked)
    assert found.output_tokens == expected
    assert (found.ceiling is not None) is is_put
    assert found.hold().output_tokens == expected


def test_what_has_no_bound_is_said_only_where_a_budget_rests_on_it() -> None:
    """Elsewhere it is passed on."""
    tools = [{"type": "openrouter:web_search"}]
    found = bound_of(desk(), is_limited=True, tools=tools)
    assert found.unbounded is not None
    assert "openrouter:web_search" in found.unbounded
    assert bound_of(desk(), is_limited=False, tools=tools).unbounded is None


@pytest.mark.parametrize(
    ("route", "asked"),
    [(MESSAGES, {"speed": "fast"}), (CHAT, {"service_tier": "fast"})],
)
def test_a_tier_is_held_at_its_price_by_whatever_name(
    route: Route, asked: dict[str, str]
) -> None:
    """`speed: fast` is six times as dear, and says nothing of a tier."""
    fast = Step(0, {"input": 6000, "output": 48_000})
    usual = Step(0, {"input": 1000, "output": 8000})
    rates = ModelRates("m", (usual,), {"fast": (fast,)})
    entitlement = structs.replace(
        entitlement_of(desk()), route=route, rates=rates, ceilings=ceilings(rates, None)
    )
    reached = []
    for body in ({"model": MODEL}, {"model": MODEL, **asked}):
        data = json.dumps(body).encode()
        found = bounded(entitlement, read_facts(route, data), data, is_limited=True)
        reached.append(found.demand.reachable)
    assert reached == [ceilings(rates, None), ceilings(rates, "fast")]
    assert reached[0] != reached[1]


def test_what_has_no_price_is_not_bounded() -> None:
    """Audio of a model that lists none is refused, never held as text."""
    with pytest.raises(UnpricedError, match="output_audio"):
        bound_of(desk(), is_limited=True, modalities=["audio"])


def test_a_count_makes_the_hold_smaller_once_it_is_loaded() -> None:
    """The first ask loads; a later one counts, and never raises the bound."""
    place = desk()
    text = "word " * 4000
    data = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    ).encode()
    facts = read_facts(CHAT, data)
    entitlement = entitlement_of(place)
    first = bounded(entitlement, facts, data, is_limited=True)
    counter = WordCounter("o200k_base")

    assert counted(entitlement, facts, data, first, counter) is None
    smaller = counted(entitlement, facts, data, first, counter)

    assert smaller is not None
    assert smaller.demand.input_tokens < first.demand.input_tokens // 2
    assert smaller.output_tokens == first.output_tokens
    assert counted(entitlement, facts, data, smaller, counter) is None
    assert counted(entitlement, facts, data, first, None) is None


def test_prompts_are_counted_where_a_tokenizer_is_proven_or_declared() -> None:
    """Whose prices are paid proves nothing: a proxy may add to prompts."""
    assert entitlement_of(desk()).encoding == "o200k_base"
    proxy = "proxy.acme.example"
    assert entitlement_of(desk(host=proxy)).encoding is None
    declared = entitlement_of(desk(host=proxy, tokenizer="cl100k_base"))
    assert declared.encoding == "cl100k_base"
