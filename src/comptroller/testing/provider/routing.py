"""Which dialect answers a request, and how it says no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from comptroller.testing.provider import (
    anthropic_messages,
    gemini_content,
    openai_chat,
    openai_responses,
)
from comptroller.testing.provider.answer import Answer, Ask, RefusedError
from comptroller.testing.provider.framing import Request


class Route(NamedTuple):
    """Who answers, and in whose error shape."""

    answer: Callable[[Ask], Answer]
    error: Callable[[int, str], bytes]


_OPENAI: Final = openai_chat.error
_ANTHROPIC: Final = anthropic_messages.error
_GEMINI: Final = gemini_content.error

# Ends of paths, because providers put dialects behind prefixes of their own.
POSTED: Final[Mapping[str, Route]] = {
    "/chat/completions": Route(openai_chat.chat, _OPENAI),
    "/responses": Route(openai_responses.responses, _OPENAI),
    "/embeddings": Route(openai_chat.embeddings, _OPENAI),
    "/messages/count_tokens": Route(anthropic_messages.count_tokens, _ANTHROPIC),
    "/messages": Route(anthropic_messages.messages, _ANTHROPIC),
    ":generateContent": Route(gemini_content.generate, _GEMINI),
    ":streamGenerateContent": Route(gemini_content.stream, _GEMINI),
    ":countTokens": Route(gemini_content.count_tokens, _GEMINI),
}
STORED: Final[Mapping[tuple[str, str], Route]] = {
    ("GET", ""): Route(openai_responses.get_response, _OPENAI),
    ("DELETE", ""): Route(openai_responses.delete_response, _OPENAI),
    ("POST", "cancel"): Route(openai_responses.cancel_response, _OPENAI),
    ("GET", "input_items"): Route(openai_responses.input_items, _OPENAI),
}
"""What is done with one stored response."""
MODELS: Final = Route(openai_chat.models, _OPENAI)


def _unknown(ask: Ask) -> Answer:
    raise RefusedError(404, f"Invalid URL ({ask.path})")


def match(request: Request) -> Route:
    """The route of a request; an unknown one answers 404."""
    path = request.path
    _, is_stored, rest = path.rpartition("/responses/")
    if is_stored:
        action = rest.partition("/")[2]
        return STORED.get((request.method, action), Route(_unknown, _OPENAI))
    if request.method == "GET" and "/models" in path:
        return MODELS
    if request.method == "POST":
        for end, route in POSTED.items():
            if path.endswith(end):
                return route
    return Route(_unknown, _OPENAI)


def credential(request: Request) -> str | None:
    """The credential that came with a request, from wherever clients put it."""
    headers = request.headers
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer:
        return bearer
    named = headers.get("x-api-key") or headers.get("x-goog-api-key")
    if named:
        return named
    query = request.target.partition("?")[2].split("&")
    return next((pair[4:] for pair in query if pair.startswith("key=")), None)


def decode(request: Request) -> dict[str, Any]:
    """The body as an object.

    Raises:
        RefusedError: it is not one.
    """
    if not request.body:
        return {}
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise RefusedError(400, "We could not parse the JSON body.") from None
