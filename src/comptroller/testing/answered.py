"""A small recorded day: an organization, its records, and a Reporting over them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.core.rates import ModelRates, RateCard, Step, rate_card
from comptroller.core.registry import (
    GatewaySettings,
    Model,
    ModelId,
    Owners,
    Person,
    PersonId,
    Provider,
    ProviderId,
    Registry,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
    UnitId,
)
from comptroller.core.timestamps import rfc3339
from comptroller.engine import records
from comptroller.engine.ports import Journal, JournalPosition
from comptroller.engine.registry_fold import registry_objects
from comptroller.engine.reporting import Reporting, ReportingParts
from comptroller.testing.cards import InMemoryCards
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS, FakeClock

_ACTOR: Final = {"person": None, "account": "root@host"}
_PEOPLE: Final = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "alan": "Alan Turing"}

CARD: Final[RateCard] = rate_card(
    "genai-prices 0.2.3",
    {
        "openai": {
            "gpt-5-mini": ModelRates(
                "gpt-5-mini",
                (Step(0, {"input": 250_000, "output": 2_000_000}),),
                source="genai-prices 0.2.3",
            )
        }
    },
)


def acme() -> Registry:
    """The organization of design.md §7, with one service."""
    ada, grace, alan = (PersonId(name) for name in _PEOPLE)
    tenant, unit = TenantId("acme"), UnitId("retail")
    service = ServiceId("checkout-assistant")
    model, provider = ModelId("gpt-5-mini"), ProviderId("openai")
    people = {
        PersonId(name): Person(PersonId(name), full, f"{name}@acme.example")
        for name, full in _PEOPLE.items()
    }
    return Registry(
        organization="acme",
        timezone="Europe/Amsterdam",
        people=people,
        gateway=GatewaySettings(owner=alan),
        providers={
            provider: Provider(provider, "https://api.openai.com", {"openai": ""})
        },
        models={model: Model(model, provider, model)},
        tenants={tenant: Tenant(tenant)},
        units={"acme/retail": Unit(unit, tenant, grace)},
        services={
            service: Service(
                id=service,
                tenant=tenant,
                unit=unit,
                purpose="Answers shoppers' questions at checkout",
                kind="internal",
                environment="production",
                owners=Owners(ada, grace, alan),
                models=(model,),
            )
        },
    )


class RecordedDay:
    """Writes records of the real shapes, and projects them into a fake store.

    Args:
        journal: where to write instead; then somebody else projects.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.clock = FakeClock()
        self.journals = InMemoryJournals()
        self.store = InMemoryStore()
        self.cards = InMemoryCards()
        self.cards.keep(CARD)
        self.projected = self.journals.open("/node/worker-1/boot")
        self.journal = journal or self.projected
        self.reporting = Reporting(
            ReportingParts(self.store, self.journals, self.cards, self.clock, dict)
        )

    def apply(self, registry: Registry) -> None:
        """Applies a registry as revision 1."""
        for one in registry_objects(registry):
            change = {
                "revision": 1,
                "kind": one.kind,
                "id": one.id,
                "before": records.NULL,
            }
            body = {"after": msgspec.Raw(one.body), "actor": _ACTOR}
            self.write(records.OBJECT_CREATED, change | body)
        applied = {"revision": 1, "changes": 1, "digest": "sha256:0", "actor": _ACTOR}
        self.write(records.REGISTRY_APPLIED, applied)

    def decide(self, request_id: str, **changed: object) -> None:
        """Records a decision; keywords change members of its data, by field."""
        decided = records.Decided(
            decision_id=request_id,
            path="/v1/chat/completions",
            result="allow",
            reason="allowed",
            operation="chat",
            dialect="openai",
            provider="openai",
            model="gpt-5-mini",
            model_upstream="gpt-5-mini",
            max_tokens=None,
            stream=False,
            server_address="api.openai.com",
            service="checkout-assistant",
            unit="retail",
            tenant="acme",
            kind="internal",
            environment="production",
            credential="cred_1",
            person="grace",
            owner_policy="ada",
            owner_billing="grace",
            owner_technical="alan",
            owner_unit="grace",
            owner_gateway="alan",
            operator=None,
            sponsor=None,
            registry_revision=1,
            bundles={},
            controls=[
                records.Control(
                    id="model_allowed",
                    version="1",
                    is_applied=True,
                    outcome="pass",
                    observed="gpt-5-mini",
                )
            ],
            rate_card=CARD.version,
            hold_nano_usd=10_000_000,
            hold_input_tokens=1500,
            hold_output_tokens=4096,
            body_bytes=476,
        )
        self.write(records.DECIDED, msgspec.structs.replace(decided, **changed))

    def settle(self, request_id: str, **changed: object) -> None:
        """Records a settlement; keywords change members of its data, by field."""
        settled = records.Settled(
            decision_id=request_id,
            outcome="completed",
            status=200,
            model_answered="gpt-5-mini",
            response_id="resp_1",
            input_tokens=1000,
            output_tokens=500,
            usage={"input": 1000, "output": 300, "reasoning": 200},
            usage_source="provider",
            usage_raw=[msgspec.Raw(b'{"prompt_tokens":1000}')],
            passes=[],
            service_tier=None,
            rate_card=CARD.version,
            cost_nano_usd=1_250_000,
            cost_source="rate_card",
            hold_exceeded=False,
            duration_us=123_456,
            first_byte_us=1000,
        )
        self.write(records.SETTLED, msgspec.structs.replace(settled, **changed))

    def write(self, kind: str, data: dict[str, Any] | msgspec.Struct) -> None:
        """Appends one record, projects it, and lets a second pass."""
        sequence = self.journal.sequence
        envelope = {
            "specversion": "1.0",
            "id": f"{sequence}",
            "source": self.journal.source,
            "type": kind,
            "time": rfc3339(self.clock.now_ns()),
            "subject": "test",
            "sequence": f"{sequence}",
            "data": data,
        }
        self.journal.append(records.encode(envelope))
        source = self.projected.source
        new = self.journals.read(source, self.store.position(source), 2**20)
        self.store.project(new, JournalPosition(source, self.projected.offset))
        self.clock.advance(1)


def recorded_day() -> RecordedDay:
    """One settled, one refused and one open request of `checkout-assistant`."""
    day = RecordedDay()
    day.apply(acme())
    record_requests(day)
    return day


def record_requests(day: RecordedDay) -> None:
    """Records the three requests of `recorded_day`."""
    day.decide("A" * 26)
    day.settle("A" * 26)
    day.decide("B" * 26, result="deny", reason="model_not_allowed", model="gpt-6-sol")
    day.decide("C" * 26)


__all__ = [
    "CARD",
    "START_NS",
    "RecordedDay",
    "acme",
    "record_requests",
    "recorded_day",
]
