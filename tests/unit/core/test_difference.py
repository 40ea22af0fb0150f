from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.difference import (
    KIND_TYPES,
    answerable,
    difference,
    objects,
    registry_from_objects,
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
    Provider,
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
from comptroller.core.wording import summary

USD = 10**9
MAXI = ModelId("maxi")
ADA, GRACE, ALAN = PersonId("ada"), PersonId("grace"), PersonId("alan")
ASSISTANT = ServiceId("assistant")


def monthly(usd: int, *alerts: int) -> Budget:
    return Budget((Window(usd * USD, "month"),), alerts)


LAUNCH = PolicyException("EXC-1", ALAN, "The launch", date(2027, 3, 31))


SERVICE = Service(
    id=ASSISTANT,
    tenant=TenantId("acme"),
    unit=UnitId("retail"),
    purpose="Answers",
    kind="internal",
    environment="production",
    owners=Owners(ADA, GRACE, ALAN),
    models=(ModelId("mini"),),
    escalation=(ALAN, GRACE),
    budget=monthly(1200, 50),
    limits=Limits(Rate(600, 60), Rate(200_000, 60), 50, 4096),
)
REGISTRY = Registry(
    organization="acme",
    timezone="UTC",
    people={
        one: Person(one, one.title(), f"{one}@acme.example")
        for one in (ADA, GRACE, ALAN)
    },
    gateway=GatewaySettings(ALAN),
    providers={
        ProviderId("house"): Provider(
            ProviderId("house"), "http://127.0.0.1:1", {"openai": "/v1"}
        )
    },
    models={ModelId("mini"): Model(ModelId("mini"), ProviderId("house"), "mini-1")},
    tenants={TenantId("acme"): Tenant(TenantId("acme"))},
    units={
        "acme/retail": Unit(UnitId("retail"), TenantId("acme"), GRACE, monthly(5000))
    },
    services={ASSISTANT: SERVICE},
)


def words(before: Registry | None, after: Registry) -> list[str]:
    return [line for one in difference(before, after) for line in one.in_words()]


def with_service(**changed: Any) -> Registry:  # noqa: ANN401  fields of a Service
    return replace(REGISTRY, services={ASSISTANT: replace(SERVICE, **changed)})


def test_a_registry_and_its_objects_say_the_same() -> None:
    """Taking a registry apart and putting it together changes nothing."""
    assert registry_from_objects(objects(REGISTRY)) == REGISTRY
    assert {kind for kind, _ in objects(REGISTRY)} == set(KIND_TYPES)


def test_the_same_has_no_difference() -> None:
    """A configuration that is applied already changes nothing."""
    assert difference(REGISTRY, REGISTRY) == []


def test_the_first_configuration_adds_everything() -> None:
    """Without anything applied, each object is added, referred-to ones first."""
    assert words(None, REGISTRY) == [
        "organization: added (acme, UTC)",
        "person ada: added (Ada, ada@acme.example)",
        "person grace: added (Grace, grace@acme.example)",
        "person alan: added (Alan, alan@acme.example)",
        "gateway: added (owner alan)",
        "provider house: added (http://127.0.0.1:1, speaks openai)",
        "model mini: added (mini-1 at house)",
        "tenant acme: added",
        "unit acme/retail: added (owner grace, budget 5,000 USD/month)",
        (
            "service assistant: added in acme/retail (policy owner ada, billing owner "
            "grace, technical owner alan, budget 1,200 USD/month (alerts at 50%))"
        ),
        (
            "service assistant: purpose Answers; kind internal; environment production;"
            " models mini; escalation alan, grace; requests limit 600/minute; tokens"
            " limit 200,000/minute; concurrency limit 50; output tokens limit 4,096"
        ),
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"budget": monthly(1500, 50)}, ["budget 1,200 → 1,500 USD/month"]),
        ({"budget": monthly(1200, 50, 80)}, ["budget alerts at 50% → 50%, 80%"]),
        (
            {"budget": Budget((Window(90 * USD, "day"),), (50,))},
            ["budget 1,200 USD/month → 90 USD/day"],
        ),
        (
            {"budget": None},
            ["budget removed (was 1,200 USD/month (alerts at 50%))"],
        ),
        ({"owners": Owners(ADA, ALAN, ALAN)}, ["billing owner grace → alan"]),
        (
            {"owners": Owners(GRACE, GRACE, ADA)},
            ["policy owner ada → grace", "technical owner alan → ada"],
        ),
        ({"escalation": (ALAN, ADA)}, ["escalation +ada -grace"]),
        ({"escalation": (GRACE, ALAN)}, ["escalation alan, grace → grace, alan"]),
        ({"escalation": ()}, ["escalation removed (was alan, grace)"]),
        (
            {"models": (ModelId("mini"), ModelId("maxi"))},
            ["models +maxi"],
        ),
        (
            {"limits": Limits(Rate(10, 1), None, 60, 8192)},
            [
                "requests limit 600/minute → 10/second",
                "tokens limit removed (was 200,000/minute)",
                "concurrency limit 50 → 60",
                "output tokens limit 4,096 → 8,192",
            ],
        ),
        (
            {"budget": replace(monthly(1200, 50), on_shortfall="clamp")},
            ["budget on shortfall refuse → clamp"],
        ),
        (
            {"budget": replace(monthly(1200, 50), hold="progressive")},
            ["budget hold full → progressive"],
        ),
        (
            {"credential_budget": replace(monthly(9, 80), on_shortfall="clamp")},
            [
                (
                    "credential budget added: 9 USD/month (alerts at 80%; clamp on"
                    " shortfall)"
                )
            ],
        ),
        (
            {"credential_limits": Limits(Rate(6, 60), None, 2)},
            [
                "credential requests limit added: 6/minute",
                "credential concurrency limit added: 2",
            ],
        ),
        (
            {"budget": replace(monthly(1200, 50), on_threshold=(Downgrade(80, MAXI),))},
            ["budget on threshold added: use maxi from 80%"],
        ),
        (
            {"exceptions": (LAUNCH,)},
            [
                (
                    "exceptions added: EXC-1 until 2027-03-31 (approved by alan: The"
                    " launch)"
                )
            ],
        ),
        (
            {"classification": "restricted"},
            ["classification internal → restricted"],
        ),
        ({"kind": "external"}, ["kind internal → external"]),
        (
            {"run_budget": Window(USD // 2, "total")},
            ["run budget added: 0.50 USD in all"],
        ),
        (
            {"sandbox": Sandbox(ADA, Window(USD, "total"), date(2027, 3, 31))},
            ["sandbox added: sponsor ada, budget 1 USD in all, ends 2027-03-31"],
        ),
        (
            {"unit": UnitId("online")},
            ["moved acme/retail → acme/online"],
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_changed_service_is_said_in_words(
    changed: dict[str, object], expected: list[str]
) -> None:
    """Each field that differs is one line that a person understands."""
    lines = words(REGISTRY, with_service(**changed))

    assert lines == [f"service assistant: {line}" for line in expected]


def test_prices_and_prefixes_are_said_in_units() -> None:
    """A price is in USD per million tokens; a dialect's prefix is named."""
    house, mini = ProviderId("house"), ModelId("mini")
    after = replace(
        REGISTRY,
        providers={house: Provider(house, "http://127.0.0.1:1", {"openai": "/api/v1"})},
        models={
            mini: Model(
                mini,
                house,
                "mini-1",
                DeclaredPrice({"input": 100_000, "web_search": 10**10}),
            )
        },
    )

    assert words(REGISTRY, after) == [
        "provider house: speaks openai /v1 → /api/v1",
        "model mini: price added: input 0.10 USD per million, web_search 0.01 USD each",
    ]


def test_places_and_names_of_a_model_are_said() -> None:
    """A plan shows where a model will run, at what price, and how it is asked for."""
    house, annex, mini = ProviderId("house"), ProviderId("annex"), ModelId("mini")
    before = replace(REGISTRY.models[mini], aliases=("small",))
    price = DeclaredPrice({"input": 100_000})
    after = replace(
        before,
        tier="basic",
        aliases=("small", "cheap"),
        deployments=(
            Deployment(house, "mini-1"),
            Deployment(annex, "mini-2", 3, price, "eu"),
        ),
    )

    assert words(
        replace(REGISTRY, models={mini: before}),
        replace(REGISTRY, models={mini: after}),
    ) == [
        "model mini: tier added: basic",
        "model mini: aliases +cheap",
        (
            "model mini: deployments added: mini-1 at house (weight 1), mini-2 at annex"
            " (weight 3; price input 0.10 USD per million; region eu)"
        ),
    ]


def test_flags_and_own_credentials_are_said() -> None:
    """A flag is true or false; a reference is named, for it is no secret."""
    house, acme = ProviderId("house"), TenantId("acme")
    after = replace(
        REGISTRY,
        gateway=replace(REGISTRY.gateway, separation_of_duties=False),
        providers={house: replace(REGISTRY.providers[house], self_hosted=True)},
        tenants={acme: Tenant(acme, provider_credentials={house: "env:OWN"})},
    )

    assert words(REGISTRY, after) == [
        "gateway: separation of duties added: false",
        "provider house: self hosted false → true",
        "tenant acme: provider credentials added: house env:OWN",
    ]


def test_who_approved_an_exception_answers_for_it() -> None:
    """The approver is named with those who answer for the service."""
    after = with_service(exceptions=(LAUNCH,))

    (change,) = difference(REGISTRY, after)

    assert answerable(change, after)["approver of EXC-1"] == ALAN


def test_removals_come_last_and_backwards() -> None:
    """What refers is removed before what it refers to."""
    after = replace(REGISTRY, units={}, services={}, tenants={}, timezone="Asia/Tokyo")

    assert words(REGISTRY, after) == [
        "organization: timezone UTC → Asia/Tokyo",
        "service assistant: removed",
        "unit acme/retail: removed",
        "tenant acme: removed",
    ]


def test_those_who_answer_are_named_by_role() -> None:
    """A service has four who answer; an agent and a sandbox more; a model one."""
    agent = with_service(
        kind="agent",
        operator=ALAN,
        sponsor=GRACE,
        sandbox=Sandbox(ADA, Window(USD, "total"), date(2027, 3, 31)),
    )
    named = {one.kind: answerable(one, agent) for one in difference(None, agent)}

    assert named["service"] == {
        "policy owner": "ada",
        "billing owner": "grace",
        "technical owner": "alan",
        "unit owner": "grace",
        "operator": "alan",
        "sponsor": "grace",
        "sandbox sponsor": "ada",
    }
    assert named["unit"] == {"unit owner": "grace"}
    assert named["model"] == {"gateway owner": "alan"}
    assert named["person"] == {}


@given(
    limit=st.integers(1, 10**18),
    policy=st.sampled_from([ADA, GRACE, ALAN]),
    kept=st.sets(st.sampled_from(list(objects(REGISTRY))[1:4])),
    timezone=st.sampled_from(["UTC", "Europe/Amsterdam"]),
)
def test_applying_a_difference_gives_the_other_side(
    limit: int,
    policy: PersonId,
    kept: set[tuple[str, str]],
    timezone: str,
) -> None:
    """The objects before, with every change made, are the objects after."""
    after = replace(
        with_service(
            budget=Budget((Window(limit, "month"),)),
            owners=Owners(policy, GRACE, ALAN),
        ),
        timezone=timezone,
        people={
            key: one for key, one in REGISTRY.people.items() if ("person", key) in kept
        },
    )

    parts = objects(REGISTRY)
    for change in difference(REGISTRY, after):
        assert parts.get((change.kind, change.id)) == change.before
        assert change.in_words()
        if change.after is None:
            del parts[change.kind, change.id]
        else:
            parts[change.kind, change.id] = change.after

    assert registry_from_objects(parts) == after


def test_a_tenant_with_an_owner_has_one_who_answers() -> None:
    """A tenant's owner answers for it; without one the gateway's owner does."""
    owned = replace(
        REGISTRY, tenants={TenantId("acme"): Tenant(TenantId("acme"), ADA, monthly(9))}
    )

    (change,) = difference(REGISTRY, owned)

    assert change.in_words() == [
        "tenant acme: owner added: ada",
        "tenant acme: budget added: 9 USD/month",
    ]
    assert answerable(change, owned) == {"tenant owner": "ada"}
    (back,) = difference(owned, REGISTRY)
    assert answerable(back, REGISTRY) == {"gateway owner": "alan"}


def test_the_gateways_bounds_are_said_with_their_units() -> None:
    """A changed bound says what it counts."""
    after = replace(
        REGISTRY,
        gateway=replace(
            REGISTRY.gateway, body_bytes_max=2**20, upstream_idle_timeout_s=30
        ),
    )

    assert words(REGISTRY, after) == [
        "gateway: largest body (bytes) 33,554,432 → 1,048,576",
        "gateway: upstream idle timeout (s) 300 → 30",
    ]


def test_only_objects_of_the_registry_have_a_summary() -> None:
    """What is no object of the registry cannot have been added to it."""
    with pytest.raises(TypeError, match="int is not an object of the registry"):
        summary(1)


def test_a_budget_inside_another_value_is_not_taken_for_the_services() -> None:
    """A trial's budget, and a credential's, are named as what they are."""
    trial = with_service(
        sandbox=Sandbox(ADA, Window(USD, "total"), date(2027, 3, 31)),
        credential_budget=monthly(9),
        credential_limits=Limits(concurrency=2),
    )
    after = with_service(
        sandbox=Sandbox(ADA, Window(2 * USD, "total"), date(2027, 3, 31)),
        credential_budget=monthly(8, 50),
        credential_limits=Limits(concurrency=3),
    )

    assert words(trial, after) == [
        "service assistant: sandbox budget 1 USD in all → 2 USD in all",
        "service assistant: credential budget 9 → 8 USD/month",
        "service assistant: credential budget alerts at none → 50%",
        "service assistant: credential concurrency limit 2 → 3",
    ]


def test_limits_of_a_model_are_said() -> None:
    """A model's limits are for all who ask for it."""
    mini = ModelId("mini")
    limited = replace(REGISTRY.models[mini], limits=Limits(Rate(60, 60)))

    assert words(REGISTRY, replace(REGISTRY, models={mini: limited})) == [
        "model mini: requests limit added: 60/minute"
    ]
