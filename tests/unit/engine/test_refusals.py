from __future__ import annotations

import pytest

from comptroller.engine import refusals
from comptroller.testing.administration import small_registry


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("the field 'model' is missing", "The field 'model' is missing."),
        ("The body is cut off.", "The body is cut off."),
    ],
)
def test_a_bad_request_is_told_in_a_sentence(what: str, sentence: str) -> None:
    """The request's id follows it, so that it needs an end."""
    assert refusals.bad_request(what).message == sentence


def test_a_missing_provider_credential_is_told_in_a_sentence() -> None:
    """The message of the resolver has no end of its own."""
    refusal = refusals.provider_credential_missing("openai", "file:key is empty")

    assert refusal.message == (
        "The gateway has no credential for provider openai: file:key is empty."
    )


def test_who_cannot_be_attributed_learns_whom_to_ask() -> None:
    """A service that is gone has no owner to name: the gateway has."""
    refusal = refusals.unattributable("search", "it is gone", small_registry())

    assert refusal.message.startswith("Requests of service search cannot be attributed")
    assert refusal.message.endswith("@acme.example>; ask them.")
