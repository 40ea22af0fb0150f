from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.rules import AllowTable, Policy, PolicySet
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    Deployment,
    ModelId,
    Provider,
    ProviderId,
    Registry,
    ServiceId,
    Tenant,
    TenantId,
)
from comptroller.core.usage import Pass, Reading
from comptroller.engine import isolation, records
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.judging import Judge
from comptroller.engine.objects import Owned
from comptroller.engine.refusals import Refusal
from comptroller.engine.settlement import Reply, settle
from comptroller.engine.snapshot import ActivePolicy, Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Candidate, Missing, Refused
from comptroller.testing.answered import acme
from comptroller.testing.routes import MESSAGES, RESPONSES
from comptroller.testing.system import FixedSecrets
from comptroller.wire.references import ObjectKind, Reference
from comptroller.wire.routes import Route, match

OTHER = TenantId("umbrella")
THEIRS = ServiceId("search")
MODEL = ModelId("gpt-5-mini")
RATES = ModelRates("gpt-5-mini", (Step(0, {"input": 1, "output": 2}),), source="test")
CARD = rate_card(
    "test", {"openai": {"gpt-5-mini": RATES}, "spare": {"gpt-5-mini": RATES}}
)
CREDENTIALS = [
    Credential(
        CredentialId(f"c-{name}"), name, "ada", 0, (Secret(hash_secret(key), 0),)
    )
    for name, key in (("checkout-assistant", "ours"), (THEIRS, "theirs"))
]


def two_tenants() -> Registry:
    base = acme()
    ours, unit = (
        base.services[ServiceId("checkout-assistant")],
        base.units["acme/retail"],
    )
    return replace(
        base,
        tenants={**base.tenants, OTHER: Tenant(OTHER)},
        units={**base.units, "umbrella/retail": replace(unit, tenant=OTHER)},
        services={**base.services, THEIRS: replace(ours, id=THEIRS, tenant=OTHER)},
    )


def scattered(registry: Registry) -> Registry:
    """The same with the model at two providers."""
    spare = ProviderId("spare")
    model = registry.models[MODEL]
    places = tuple(
        Deployment(provider, model.upstream) for provider in (model.provider, spare)
    )
    return replace(
        registry,
        providers={
            **registry.providers,
            spare: Provider(spare, "https://spare.example", {"openai": "/v1"}),
        },
        models={MODEL: replace(model, deployments=places)},
    )


def admission(registry: Registry | None = None) -> Admission:
    snapshot = Snapshot(1, 1, registry or two_tenants(), CREDENTIALS, CARD)
    return Admission(Desk(snapshot, FixedSecrets({})))


def going_on(**more: Any) -> Ask:  # noqa: ANN401  members of an Ask
    body = b'{"model":"gpt-5-mini","input":"Hi","previous_response_id":"resp_1"}'
    return msgspec.structs.replace(Ask(RESPONSES, b"ours", body, b""), **more)


def stored(target: str = "resp_1", method: bytes = b"GET") -> Route:
    route = match(method, f"/v1/responses/{target}".encode())
    assert route is not None
    return route


def owned(tenant: str = "acme", provider: str = "openai") -> tuple[Owned, ...]:
    return (Owned("resp_1", provider, "response", tenant, "s", "gpt-5-mini", "R1"),)


def told(verdict: Admitted | Refused | Candidate | Missing) -> dict[str, Any]:
    """The decision's data; the outcome of the control under `isolation`."""
    assert isinstance(verdict, Admitted | Refused)
    assert verdict.data is not None
    line = b'{"decision_id":"R2",%b}' % verdict.data
    msgspec.json.decode(line, type=records.Decided)
    members = msgspec.json.decode(line)
    named = {one["id"]: one for one in members["comptroller.controls"]}
    return {**members, "isolation": named["tenant_isolation"]}


def test_what_is_named_is_asked_for_before_anything_is_decided() -> None:
    """Admission itself asks nobody: it says what it has to know."""
    verdict = admission().admit(going_on(), 1)

    assert isinstance(verdict, Missing)
    assert verdict.objects is not None
    assert verdict.objects.tenant == "acme"
    assert [one.id for one in verdict.objects.named] == ["resp_1"]
    assert verdict.texts == ()


def test_ones_own_goes_on_and_the_control_says_so() -> None:
    """The record tells that it was asked, and passed."""
    verdict = admission().admit(going_on(owned=owned()), 1)

    assert isinstance(verdict, Admitted)
    assert told(verdict)["isolation"] == {
        "id": "tenant_isolation",
        "version": "1",
        "is_applied": True,
        "outcome": "pass",
    }


@pytest.mark.parametrize("found", [(), owned("umbrella"), owned(provider="spare")])
def test_anything_else_is_not_found(found: tuple[Owned, ...]) -> None:
    """Nobody's, another's, or another provider's: one refusal, without the id in it."""
    verdict = admission().admit(going_on(owned=found), 1)

    assert isinstance(verdict, Refused)
    assert verdict.refusal == Refusal(
        404, "object_not_found", "Previous response with id 'resp_1' not found."
    )
    data = told(verdict)
    assert (data["result"], data["reason"]) == ("deny", "object_not_found")
    assert data["isolation"]["outcome"] == "deny"
    assert (data["isolation"]["observed"], data["isolation"]["limit"]) == (1, 0)
    assert verdict.data is not None
    assert b"resp_1" not in verdict.data


def test_where_nobody_can_say_it_is_refused_for_now() -> None:
    """It may succeed later, unchanged."""
    verdict = admission().admit(going_on(is_owner_unknown=True), 1)

    assert isinstance(verdict, Refused)
    assert verdict.refusal == isolation.OWNERSHIP_UNAVAILABLE
    assert told(verdict)["isolation"]["outcome"] == "deny"


def test_what_names_nothing_is_not_concerned() -> None:
    """The control does not apply, and the record says so."""
    ask = Ask(RESPONSES, b"ours", b'{"model":"gpt-5-mini","input":"Hi"}', b"")
    verdict = admission().admit(ask, 1)

    assert isinstance(verdict, Admitted)
    assert told(verdict)["isolation"]["outcome"] == "not_applicable"


def test_a_body_that_may_name_two_things_is_refused() -> None:
    """The provider's parser could read the other one."""
    body = b'{"model":"gpt-5-mini","input":[{"file_id":"a","file_id":"b"}]}'
    verdict = admission().admit(going_on(body=body), 1)

    assert isinstance(verdict, Refused)
    assert verdict.refusal.code == "bad_request"


def test_counting_tokens_names_objects_too() -> None:
    """A count tells something of a stranger's file."""
    registry = two_tenants()
    openai = ProviderId("openai")
    both = replace(registry.providers[openai], speaks={"anthropic": "/v1"})
    registry = replace(registry, providers={openai: both})
    count = match(b"POST", b"/v1/messages/count_tokens")
    assert count is not None
    source = b'{"type":"file","file_id":"file_1"}'
    body = (
        b'{"model":"gpt-5-mini","max_tokens":9,"messages":[{"role":"user",'
        b'"content":[{"type":"document","source":%b}]}]}' % source
    )
    for route in (MESSAGES, count):
        ask = Ask(route, b"ours", body, b"", owned=())
        verdict = admission(registry).admit(ask, 1)
        assert isinstance(verdict, Refused)
        assert verdict.refusal.code == "object_not_found"
        assert "send its content instead" in verdict.refusal.message


def test_one_tenant_is_isolated_from_nobody() -> None:
    """Nothing is looked for, and what was never seen made passes."""
    assert isinstance(admission(acme()).admit(going_on(), 1), Admitted)


def test_a_response_is_gone_on_from_where_it_is() -> None:
    """Of several places of a model the one that has it is asked."""
    for registry in (scattered(acme()), scattered(two_tenants())):
        for provider in ("openai", "spare"):
            found = owned(provider=provider)
            for _ in range(4):
                verdict = admission(registry).admit(going_on(owned=found), 1)
                assert isinstance(verdict, Admitted)
                assert verdict.entitlement.model.provider == provider
    alone = admission(scattered(acme()))
    assert isinstance(alone.admit(going_on(owned=()), 1), Admitted)
    assert isinstance(alone.admit(going_on(is_owner_unknown=True), 1), Admitted)


@pytest.mark.parametrize(
    ("tail", "method"),
    [("", b"GET"), ("", b"DELETE"), ("/cancel", b"POST"), ("/input_items", b"GET")],
)
@pytest.mark.parametrize("registry", [acme(), two_tenants()])
def test_a_stored_response_is_asked_for_by_the_model_that_made_it(
    tail: str, method: bytes, registry: Registry
) -> None:
    """It is decided like any other, holds nothing, and sends no body."""
    decides = admission(registry)
    ask = Ask(stored("resp_1" + tail, method), b"ours", b"", b"")

    asked = decides.admit(ask, 1)
    assert isinstance(asked, Missing)
    verdict = decides.admit(msgspec.structs.replace(ask, owned=owned()), 1)

    assert isinstance(verdict, Admitted)
    assert (verdict.body, verdict.hold.nano_usd) == (b"", 0)
    assert verdict.entitlement.rates is None
    assert verdict.entitlement.path == b"/responses"
    data = told(verdict)
    assert data["path"] == "/v1/responses/{id}" + tail
    assert data["gen_ai.request.model"] == "gpt-5-mini"
    assert b"resp_1" not in verdict.data


def test_an_entitlement_is_remembered_without_the_first_ones_id() -> None:
    """Two stored responses are two requests."""
    decides = admission()
    for name in ("resp_1", "resp_2"):
        found = (msgspec.structs.replace(owned()[0], id=name),)
        verdict = decides.admit(Ask(stored(name), b"ours", b"", b"", owned=found), 1)
        assert isinstance(verdict, Admitted)
        assert verdict.entitlement.route.tail == ""
        assert verdict.entitlement.route.object_id is None


@pytest.mark.parametrize(
    "found",
    [
        (),
        owned("umbrella"),
        owned(provider="spare"),
        (msgspec.structs.replace(owned()[0], model="gone"),),
        (msgspec.structs.replace(owned()[0], kind="item"),),
    ],
)
def test_a_stored_response_that_is_not_ones_own_is_not_found(
    found: tuple[Owned, ...],
) -> None:
    """Likewise one whose model the service may not use any more."""
    verdict = admission().admit(Ask(stored(), b"ours", b"", b"", owned=found), 1)

    assert isinstance(verdict, Refused)
    assert verdict.refusal.status == 404
    assert verdict.refusal.message == "Response with id 'resp_1' not found."
    data = told(verdict)
    assert data["isolation"]["observed"] == 1
    assert (data["gen_ai.request.model"], data["comptroller.model.upstream"]) == (
        None,
        None,
    )


@pytest.mark.parametrize(
    ("route", "query", "body"),
    [
        (stored(), b"stream=true", b""),
        (stored(), b"stre%61m=true", b""),
        (stored(), b"starting_after=3", b""),
        (stored(method=b"DELETE"), b"include=x", b""),
        (stored("resp_1/input_items"), b"stream=false", b""),
        (stored(), b"", b'{"model":"x"}'),
    ],
)
def test_a_stored_response_is_asked_for_and_nothing_else(
    route: Route, query: bytes, body: bytes
) -> None:
    """A parameter that is not known to be harmless is refused."""
    verdict = admission().admit(Ask(route, b"ours", body, query, owned=owned()), 1)

    assert isinstance(verdict, Refused)
    assert verdict.refusal.code == "bad_request"


@pytest.mark.parametrize(
    ("route", "query", "body"),
    [
        (stored(), b"include[]=a&include%5B%5D=b&stream=false", b""),
        (stored("resp_1/input_items"), b"after=x&limit=3&order=asc", b""),
        (stored("resp_1/cancel", b"POST"), b"", b"{}"),
    ],
)
def test_what_clients_send_is_passed(route: Route, query: bytes, body: bytes) -> None:
    """The official client's own parameters, and its empty body."""
    ask = Ask(route, b"ours", body, query, owned=owned())
    assert isinstance(admission().admit(ask, 1), Admitted)


def test_a_reply_that_names_a_response_says_what_was_stored() -> None:
    """Provider and model are those that answered; odd ids name nothing."""
    decides = admission()
    body = b'{"model":"gpt-5-mini","input":"Hi"}'
    verdict = decides.admit(Ask(RESPONSES, b"ours", body, b""), 1)
    assert isinstance(verdict, Admitted)
    passes = (Pass("gpt-5-mini", {"input": 1, "output": 1}),)

    def told_of(response_id: str | None, status: int | None) -> object:
        items = ("rs_1", "../x")
        reading = Reading(
            passes, None, response_id, None, (), None, 0, complete=True, item_ids=items
        )
        return settle(verdict, Reply("R1", "completed", status, reading, 1, 1)).stored

    assert told_of("resp_1", 200) == records.Stored(
        "openai", "gpt-5-mini", "resp_1", ["rs_1"]
    )
    for response_id, status in (("a b", 200), (None, 200), ("r", 500), ("r", None)):
        assert told_of(response_id, status) is msgspec.UNSET


def test_an_id_is_shown_as_it_was_written_and_no_longer_than_needed() -> None:
    """Whatever a client writes, the message stays a message."""
    one = Reference(ObjectKind.FILE, "x'\n" * 999, "file_id")

    message = isolation.not_found(one).message

    assert len(message) < 700
    assert "\n" not in message


def test_the_policy_is_not_asked_of_what_is_stored() -> None:
    """It decides what reaches a model; the record does not say that it was asked."""
    declared = PolicySet("test", "ada", allow=(AllowTable("none", {}),))
    active = ActivePolicy("sha256:" + "ab" * 32, [plain_set(declared)])
    judge = Judge(active, Policy.of([declared]))
    snapshot = Snapshot(1, 1, two_tenants(), CREDENTIALS, CARD)
    decides = Admission(Desk(snapshot, FixedSecrets({}), judge))
    ask = Ask(stored(), b"ours", b"", b"", owned=owned())

    verdict = decides.admit(ask, 1)
    denied = decides.admit(going_on(owned=owned()), 1)

    assert isinstance(verdict, Admitted)
    listed = {one["id"]: one for one in told(verdict)["comptroller.controls"]}
    assert listed["entitlement"]["outcome"] == "not_applicable"
    assert isinstance(denied, Refused)
    assert denied.refusal.code == "policy_denied"
    assert told(denied)["isolation"]["outcome"] == "pass"
