"""Downgrading: which model answers once a budget has reached a threshold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    Budget,
    Deployment,
    Downgrade,
    Model,
    ModelId,
    PersonId,
    Provider,
    ProviderId,
    Registry,
    ServiceId,
    Tenant,
    TenantId,
    Window,
)
from comptroller.engine import records, refusals
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.downgrading import Downgrading
from comptroller.engine.objects import Owned
from comptroller.engine.snapshot import ReachedThreshold, Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Candidate, Missing, Refused
from comptroller.testing.administration import small_registry
from comptroller.testing.lessee import World
from comptroller.testing.routes import route_of
from comptroller.testing.system import START_NS, FixedSecrets
from comptroller.wire.request import RequestFacts

ACCOUNT = "service:checkout/month@2025-11"
PRICES = {"big": 9, "mid": 5, "cheap": 2, "tiny": 1, "alike": 9}
PLACES = {"other": "elsewhere", "mute": "mute", "dark": "dark"}
CHAT = "/v1/chat/completions"


def registry(*steps: tuple[int, str]) -> Registry:
    """Service checkout may use all models but `foreign`, and has thresholds.

    `other` runs elsewhere, `mute` speaks another dialect, `dark` has no credential.
    """
    base = small_registry()
    local = ProviderId("local")
    speaks = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
    origin = "http://127.0.0.1:9"
    providers = {
        local: Provider(local, origin, speaks),
        ProviderId("elsewhere"): Provider(ProviderId("elsewhere"), origin, speaks),
        ProviderId("mute"): Provider(ProviderId("mute"), origin, {"anthropic": "/v1"}),
        ProviderId("dark"): Provider(ProviderId("dark"), origin, speaks, "env:NONE"),
    }
    names = [*PRICES, *PLACES, "unpriced", "foreign"]
    models = {
        ModelId(name): Model(
            ModelId(name),
            ProviderId(PLACES.get(name, "local")),
            f"{name}-1",
            max_output_tokens=100,
            context_window_tokens=10_000,
        )
        for name in names
    }
    name = ServiceId("checkout")
    budget = Budget(
        (Window(10**9, "month"),),
        on_threshold=tuple(Downgrade(percent, ModelId(use)) for percent, use in steps),
    )
    mine = tuple(ModelId(one) for one in names if one != "foreign")
    service = replace(base.services[name], models=mine, budget=budget)
    services = {**base.services, name: service}
    return replace(base, providers=providers, models=models, services=services)


def desk_of(declared: Registry, percent: int) -> Desk:
    listed: dict[str, dict[str, ModelRates]] = {}
    for model in declared.models.values():
        price = PRICES.get(model.id, 1)
        if model.id != "unpriced":
            rates = ModelRates(
                model.upstream, (Step(0, {"input": price, "output": price}),)
            )
            for provider in declared.providers:
                listed.setdefault(provider, {})[model.upstream] = rates
    credential = Credential(
        CredentialId("key-1"),
        "checkout",
        PersonId("ada"),
        0,
        (Secret(hash_secret("good"), 0),),
    )
    reached = [ReachedThreshold(ACCOUNT, percent)] if percent else []
    card = rate_card("test", listed)
    snapshot = Snapshot(1, 1, declared, [credential], card, reached=reached)
    return Desk(snapshot, FixedSecrets({}))


def used(
    desk: Desk,
    model: str,
    path: str = CHAT,
    now_ns: int = START_NS,
    others: tuple[str, ...] = (),
) -> str:
    """The model that answers a request for a model."""
    held = desk.find(b"good")
    assert held is not None
    service = desk.service(held.credential)
    assert service is not None
    found = desk.entitlements(held.credential, service, model, route_of(path))
    facts = RequestFacts(model, stream=False, other_models=others)
    (first, *_) = Downgrading(desk).apply(found, facts, now_ns)
    if first.downgraded is not None:
        assert first.downgraded.step.use == first.model.id
    return str(first.model.id)


def test_a_request_goes_to_the_model_of_the_reached_share() -> None:
    """Not before, not after the window, and to the one of the highest share."""
    declared = registry((80, "mid"), (95, "cheap"))
    month_ns = 31 * 86_400 * 10**9
    assert Downgrading(desk_of(declared, 0)).is_idle
    assert used(desk_of(declared, 0), "big") == "big"
    assert used(desk_of(declared, 80), "big") == "mid"
    assert used(desk_of(declared, 95), "big") == "cheap"
    assert used(desk_of(declared, 95), "mid") == "cheap"
    assert used(desk_of(declared, 95), "big", now_ns=START_NS + month_ns) == "big"


def test_a_request_never_goes_to_a_model_that_is_no_cheaper() -> None:
    """Its own, a dearer one, and one of the same price leave it as it is."""
    desk = desk_of(registry((80, "mid")), 80)
    assert [used(desk, one) for one in ("mid", "cheap", "tiny")] == [
        "mid",
        "cheap",
        "tiny",
    ]
    assert used(desk_of(registry((80, "alike")), 80), "big") == "big"
    assert used(desk_of(registry((80, "big"), (95, "mid")), 95), "mid") == "mid"


@pytest.mark.parametrize("use", ["foreign", "mute", "dark", "unpriced", "gone"])
def test_a_model_that_cannot_answer_is_passed_over(use: str) -> None:
    """The next lower share's stands in, and where there is none the one asked for."""
    assert used(desk_of(registry((80, use)), 80), "big") == "big"
    assert used(desk_of(registry((80, "mid"), (95, use)), 95), "big") == "mid"


def test_models_change_once() -> None:
    """What stands in is not itself downgraded, whatever else is declared."""
    declared = registry((80, "mid"), (90, "cheap"), (95, "mid"))
    assert used(desk_of(declared, 95), "big") == "mid"
    assert used(desk_of(declared, 90), "mid") == "cheap"


def test_embeddings_and_what_is_free_are_left_alone() -> None:
    """Vectors of different models do not compare; counting tokens costs nothing."""
    desk = desk_of(registry((80, "mid")), 80)
    assert used(desk, "big", "/v1/embeddings") == "big"
    assert used(desk, "big", "/v1/messages/count_tokens") == "big"
    assert used(desk, "big", "/v1/messages") == "mid"


def test_further_models_have_to_run_beside_the_other_model() -> None:
    """They run at its provider; else the request stays as it was written."""
    assert used(desk_of(registry((80, "mid")), 80), "big", others=("tiny",)) == "mid"
    assert used(desk_of(registry((80, "other")), 80), "big") == "other"
    desk = desk_of(registry((80, "other")), 80)
    assert used(desk, "big", others=("tiny",)) == "big"


def test_a_model_that_was_refused_stays_refused() -> None:
    """A budget gives no way around what a service or a dialect forbids."""
    desk = desk_of(registry((80, "tiny")), 80)
    assert used(desk, "dark") == "dark"
    body = b'{"model":"foreign","messages":[]}'
    ask = Ask(route_of(CHAT), b"good", body, b"")
    found = Admission(desk).admit(ask, START_NS)
    assert isinstance(found, Refused)
    assert found.refusal.code == "model_not_allowed"


def test_every_place_of_the_other_model_stays_in_turn() -> None:
    """One that cannot answer is passed over as ever, not taken out of the turns."""
    declared = registry((80, "mid"))
    places = tuple(
        Deployment(ProviderId(one), "mid-1") for one in ("dark", "local", "elsewhere")
    )
    mid = replace(declared.models[ModelId("mid")], deployments=places)
    declared = replace(declared, models={**declared.models, mid.id: mid})
    desk = desk_of(declared, 80)
    held = desk.find(b"good")
    assert held is not None
    service = desk.service(held.credential)
    assert service is not None
    route = route_of(CHAT)
    found = desk.entitlements(held.credential, service, "big", route)
    facts = RequestFacts("big", stream=False)
    instead = Downgrading(desk).apply(found, facts, START_NS)
    assert [one.model.provider for one in instead] == ["dark", "local", "elsewhere"]
    assert len(desk.in_turn(instead)) == len(places)


def admitted(path: str, body: dict[str, Any]) -> Admitted:
    """What goes on of a request while 80% of the budget are spent."""
    declared = registry((80, "mid"))
    lessee = World().lessee(declared)
    admission = Admission(desk_of(declared, 80), lessee.holding)
    ask = Ask(route_of(path), b"good", json.dumps(body).encode(), b"")
    candidate = admission.admit(ask, START_NS)
    assert isinstance(candidate, Candidate)
    return admission.allow(candidate)


def test_the_provider_the_client_and_the_record_are_told() -> None:
    """The body names the cheaper model, the record keeps what the caller wrote."""
    messages = [{"role": "user", "content": "Hi"}]
    found = admitted(CHAT, {"model": "big", "messages": messages})
    decided = msgspec.json.decode(
        b'{"decision_id":"1",%b}' % found.data, type=records.Decided
    )
    (selection,) = [one for one in decided.controls if one.id == "model_selection"]

    assert json.loads(found.body)["model"] == "mid-1"
    assert found.notes == (
        b"x-comptroller-model-downgraded: big; to=mid;"
        b" budget=service:checkout/month; threshold=80%\r\n"
    )
    assert (decided.model, decided.model_upstream) == ("big", "mid-1")
    assert decided.downgraded_from == "big"
    assert decided.downgraded_by == records.DowngradedBy(ACCOUNT, 80, "mid")
    assert (selection.outcome, selection.observed, selection.limit) == (
        "pass",
        "big",
        "mid",
    )
    assert decided.hold_nano_usd == found.hold.nano_usd > 0


def test_a_model_that_the_path_names_is_replaced_there() -> None:
    """Gemini's, whose body names none."""
    path = "/v1beta/models/big:generateContent"
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    found = admitted(path, body)
    assert found.entitlement.path == b"/v1beta/models/mid-1:generateContent"


def test_a_refusal_for_want_of_room_says_so_too() -> None:
    """The record of a denied request names the model that it would have gone to."""
    declared = registry((80, "mid"))
    lessee = World().lessee(declared)
    admission = Admission(desk_of(declared, 80), lessee.holding)
    body = b'{"model":"big","messages":[]}'
    ask = Ask(route_of(CHAT), b"good", body, b"")
    candidate = admission.admit(ask, START_NS)
    assert isinstance(candidate, Candidate)
    data = admission.deny(candidate, refusals.TOO_DEAR, None, None).data
    assert data is not None
    decided = msgspec.json.decode(
        b'{"decision_id":"1",%b}' % data, type=records.Decided
    )
    (selection,) = [one for one in decided.controls if one.id == "model_selection"]
    assert decided.downgraded_from == selection.observed == "big"


@pytest.mark.parametrize("tenants", [("acme",), ("acme", "umbrella")])
@pytest.mark.parametrize(
    ("use", "answers"), [("other", "big"), ("mid", "mid")], ids=["away", "there"]
)
def test_what_names_a_stored_object_stays_where_that_is(
    tenants: tuple[str, ...], use: str, answers: str
) -> None:
    """Else its maker would be told that it does not exist."""
    declared = registry((80, use))
    named = {TenantId(one): Tenant(TenantId(one)) for one in tenants}
    desk = desk_of(replace(declared, tenants={**declared.tenants, **named}), 80)
    body = b'{"model":"big","input":"Hi","previous_response_id":"resp_1"}'
    ask = Ask(route_of("/v1/responses"), b"good", body, b"")
    admission = Admission(desk, World().lessee(declared).holding)
    own = Owned("resp_1", "local", "response", "acme", "checkout", "big", "R1")

    asked = admission.admit(ask, START_NS)
    assert isinstance(asked, Missing)
    found = admission.admit(msgspec.structs.replace(ask, owned=(own,)), START_NS)
    assert isinstance(found, Candidate)
    assert found.entitlement.model.id == answers
    strange = msgspec.structs.replace(ask, owned=())
    verdict = admission.admit(strange, START_NS)
    assert isinstance(verdict, Refused) is (len(desk.registry.tenants) > 1)
