"""What a dialect is asked and what it answers, before latency and failures."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from comptroller.core.usage import Usage
from comptroller.testing.provider.behaviour import Behaviour
from comptroller.testing.provider.stored import StoredResponses
from comptroller.testing.provider.tokens import (
    CACHE_TOKENS_MIN,
    Draw,
    Length,
    PrefixCache,
    bounded,
    tokens_of,
)

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"

# Providers stamp replies; a fixed second keeps the same request's answer the same.
CREATED_S: Final = 1_767_225_600

encode = msgspec.json.encode


class Ask(NamedTuple):
    """One request to a dialect."""

    path: str
    query: str
    body: dict[str, Any]
    behaviour: Behaviour
    draw: Draw
    serial: int
    """Of the request, from 1."""
    prefixes: PrefixCache
    stored: StoredResponses

    @property
    def model(self) -> str:
        """The model that the body names."""
        return str(self.body.get("model", ""))

    def identifier(self, prefix: str) -> str:
        """An identifier of this reply."""
        return self.draw.identifier(prefix, self.serial)

    def answered_as(self, model: str) -> str:
        """The model that the reply names."""
        return self.behaviour.answered_as or model

    def length(self, model: str, ceiling: int | None) -> Length:
        """How long the answer is."""
        wanted = self.behaviour.output
        if wanted is not None:
            return bounded(wanted, 0, ceiling)
        drawn = self.draw.output_tokens()
        return bounded(drawn, self.draw.reasoning_tokens(model), ceiling)

    def prompt_tokens(self, counted: int) -> int:
        """Tokens of the prompt on the bill, where the body counts as so many."""
        wanted = self.behaviour.input
        return counted if wanted is None else wanted

    def states_usage(self) -> bool:
        """Whether the reply shall say what it consumed."""
        return self.behaviour.fail != "no_usage"


class Answer(NamedTuple):
    """A good reply, whole: the server sends it, or breaks it on demand."""

    content_type: str
    parts: list[bytes]
    """The body in the pieces in which it is sent; one for a JSON body."""
    model: str | None = None
    usage: Usage | None = None
    """What is billed for it; None: nothing is."""
    status: int = 200


class RefusedError(Exception):
    """The provider refuses the request, in its dialect's error shape."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def tokens_in(body: dict[str, Any], *fields: str) -> int:
    """Tokens of the fields that are put before the model; 0 when all are absent."""
    size = sum(len(encode(body[name])) for name in fields if body.get(name))
    return tokens_of(size) if size else 0


def automatic_cache(ask: Ask, prefix: object, tokens: int) -> int:
    """Prompt tokens read from a cache that the client did not ask for.

    From 1,024 tokens on, in steps of 128, as OpenAI documents its own.
    """
    steps = tokens // 128 * 128
    if tokens < CACHE_TOKENS_MIN or not ask.prefixes.seen_before(encode(prefix)):
        return 0
    return steps


def whole(ceiling: object) -> int | None:
    """A ceiling from a body, where it is a number."""
    return ceiling if isinstance(ceiling, int) else None
