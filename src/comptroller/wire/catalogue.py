"""The model lists that the gateway answers itself, for each dialect's clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from comptroller.wire.routes import Dialect


class ModelCard(NamedTuple):
    """One model that a service may use."""

    id: str
    created_s: int
    """Seconds since the Unix epoch; clients want one, no decision needs it."""
    owned_by: str
    """The provider's id."""


def model_list_body(dialect: str, cards: Sequence[ModelCard]) -> bytes:
    """The body of `GET /v1/models`, or of Gemini's `/v1beta/models`.

    OpenAI's and Anthropic's clients ask the same path, so one body serves both:
    each finds its own fields in it.

    Args:
        dialect: `gemini`, or any other for the two together.
        cards: the models, in the order to show them.
    """
    if dialect == Dialect.GEMINI:
        return msgspec.json.encode({"models": [_gemini(card) for card in cards]})
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [_shared(card) for card in cards],
            "has_more": False,
            "first_id": cards[0].id if cards else None,
            "last_id": cards[-1].id if cards else None,
            # Codex reads its own catalogue from here; empty: it uses the one
            # it was built with.
            "models": [],
        }
    )


def model_body(dialect: str, card: ModelCard) -> bytes:
    """The body of `GET /v1/models/{id}`, or of Gemini's `/v1beta/models/{id}`."""
    is_gemini = dialect == Dialect.GEMINI
    return msgspec.json.encode(_gemini(card) if is_gemini else _shared(card))


def _shared(card: ModelCard) -> dict[str, Any]:
    created = datetime.fromtimestamp(card.created_s, UTC)
    return {
        "id": card.id,
        "object": "model",
        "created": card.created_s,
        "owned_by": card.owned_by,
        "type": "model",
        "display_name": card.id,
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _gemini(card: ModelCard) -> dict[str, Any]:
    return {
        "name": f"models/{card.id}",
        "displayName": card.id,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
