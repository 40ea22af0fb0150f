from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from comptroller.core.registry import (
    DIALECT_PREFIXES,
    GatewaySettings,
    Person,
    PersonId,
)


def test_values_of_the_registry_do_not_change() -> None:
    """Who holds a registry may pass it on: nobody can change it."""
    person = Person(PersonId("ada"), "Ada Lovelace", "ada@acme.example")

    with pytest.raises(FrozenInstanceError):
        person.name = "Grace"  # type: ignore[misc]  # what must fail


def test_every_dialect_has_its_usual_prefix() -> None:
    """The dialects that a provider can speak are these three."""
    assert DIALECT_PREFIXES == {
        "openai": "/v1",
        "anthropic": "/v1",
        "gemini": "/v1beta",
    }


def test_the_gateway_is_bounded_unless_said_otherwise() -> None:
    """Every bound of the gateway has a finite default."""
    settings = GatewaySettings(PersonId("alan"))

    others = {"owner", "separation_of_duties", "privacy"}
    bounds = [
        getattr(settings, name) for name in settings.__slots__ if name not in others
    ]
    assert all(0 < bound < 10**9 for bound in bounds)
