from __future__ import annotations

import pytest

from comptroller.core.credential import Credential, CredentialId, Secret
from comptroller.core.errors import StoreUnavailableError
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import Budget as DeclaredBudget
from comptroller.core.registry import (
    GatewaySettings,
    Person,
    PersonId,
    Registry,
    Window,
)
from comptroller.engine.snapshot import Snapshot, decode, encode

ADA = PersonId("ada")
REGISTRY = Registry(
    organization="acme",
    timezone="Europe/Amsterdam",
    people={ADA: Person(ADA, "Ada Lovelace", "ada@acme.example")},
    gateway=GatewaySettings(owner=ADA),
    providers={},
    models={},
    tenants={},
    units={},
    services={},
    budget=DeclaredBudget((Window(5, "month"),), (50,)),
)
CARD = rate_card("test", {"p": {"m": ModelRates("m", (Step(0, {"input": 1}),))}})
CREDENTIAL = Credential(
    CredentialId("Ab0000000009"), "s", "ada", 1, (Secret("aa", 1, 2), Secret("bb", 2))
)


def test_a_snapshot_survives_being_written_and_read() -> None:
    """What a worker reads equals what was published, the rate card usable."""
    snapshot = Snapshot(3, 7, REGISTRY, [CREDENTIAL], CARD)
    again = decode(encode(snapshot))
    assert again == snapshot
    assert again.rate_card.find("p", "m") == CARD.find("p", "m")
    assert again.rate_card.find("p", "absent") is None


@pytest.mark.parametrize("document", [b"", b"{", b"{}", b'{"sequence":"x"}', b"\xff"])
def test_a_broken_snapshot_is_refused(document: bytes) -> None:
    """A document that is no snapshot is an error with its own code, never a crash."""
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        decode(document)
