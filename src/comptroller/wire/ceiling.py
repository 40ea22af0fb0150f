"""Output ceilings: put into a request what it may generate at the most.

The bound of a request's cost is true only when the provider enforces it, so a
ceiling stands in the body that is sent, under the name that the dialect has for it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from comptroller.wire import splice
from comptroller.wire.request import RequestFacts
from comptroller.wire.request_shapes import THINKING, WHOLE
from comptroller.wire.routes import Operation, Route

COMPLETION_TOKENS: Final = "max_completion_tokens"
MAX_TOKENS: Final = "max_tokens"

_OPENAI_HOSTS: Final = ("api.openai.com", ".api.openai.com", ".openai.azure.com")
_OPENAI_CATALOGUES: Final = frozenset({"openai"})
_OPENAI_REASONING: Final = re.compile(r"(?:.*/)?(?:o\d|gpt-5)(?:$|[-.@:])")
"""Models that refuse `max_tokens`, whoever serves them."""

_LEAST_OF_RESPONSES: Final = 16
"""The API refuses a smaller `max_output_tokens`."""

_FIELD_OF: Final = {
    Operation.MESSAGES: MAX_TOKENS,
    Operation.RESPONSES: "max_output_tokens",
}
_GEMINI: Final = frozenset(
    {Operation.GENERATE_CONTENT, Operation.STREAM_GENERATE_CONTENT}
)


class OutputCeiling(NamedTuple):
    """What one choice may generate, to be put into a request."""

    tokens: int
    chat_field: str
    """Its name in chat completions: `max_completion_tokens` or `max_tokens`."""


def ceiling_field(host: str, prices: str | None, upstream: str) -> str:
    """The name under which a provider's chat completions take a ceiling.

    OpenAI and Azure's OpenAI have replaced `max_tokens`, and their reasoning models
    refuse it; servers that speak the same dialect may know nothing but `max_tokens`.

    Args:
        host: of the provider's URL.
        prices: the provider's declared id in the price catalogue.
        upstream: the provider's name of the model.
    """
    is_openai = (
        host.endswith(_OPENAI_HOSTS[1:])
        or host == _OPENAI_HOSTS[0]
        or prices in _OPENAI_CATALOGUES
        or _OPENAI_REASONING.match(upstream.lower()) is not None
    )
    return COMPLETION_TOKENS if is_openai else MAX_TOKENS


def put_ceiling(
    route: Route, facts: RequestFacts, body: bytes, ceiling: OutputCeiling
) -> bytes:
    """Puts a ceiling into a request, or lowers the request's own in its place.

    Args:
        route: the request's route.
        facts: what `read_facts` read from this body.
        body: the body; the model's name in it may be replaced already.
        ceiling: what to put.

    Returns:
        The body: no other byte of it has changed. The same object where the
        request's own maximum is not higher, or where nothing is generated.
    """
    requested = facts.max_output_tokens
    if requested is not None and requested <= ceiling.tokens:
        return body
    operation = route.operation
    tokens = b"%d" % ceiling.tokens
    if operation in _GEMINI:
        return _put_in_settings(body, tokens)
    field = ceiling.chat_field
    if operation is not Operation.CHAT:
        known = _FIELD_OF.get(operation)
        if known is None:
            return body
        field = known
    if not facts.ceiling_fields:
        # The body has a model, so it is not empty.
        return splice.insert(body, field, tokens, is_empty=False)
    found = splice.members(body)
    stated = [name for name in facts.ceiling_fields if bytes(found[name]) != b"null"]
    for name in stated:
        own = WHOLE.decode(found[name])
        if not own or own > ceiling.tokens:
            body = splice.put(body, name, tokens)
    return body if stated else splice.put(body, field, tokens)


def least_output(route: Route, body: bytes) -> int:
    """The smallest ceiling that a provider takes for a request.

    Args:
        route: the request's route.
        body: a body that `read_facts` has read.
    """
    if route.operation is Operation.RESPONSES:
        return _LEAST_OF_RESPONSES
    if route.operation is Operation.MESSAGES and b"budget_tokens" in body:
        try:
            thinking = THINKING.decode(body).thinking
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return 1  # not what the API has; the provider will say so
        if thinking is not None and thinking.type == "enabled":
            return thinking.budget_tokens + 1
    return 1


def _put_in_settings(body: bytes, tokens: bytes) -> bytes:
    """Gemini's ceiling stands one level deeper, and all of it in two spellings."""
    found = splice.members(body)
    name = "generation_config" if "generation_config" in found else "generationConfig"
    settings = bytes(found.get(name, b"null"))
    if settings == b"null":
        settings = b"{}"
    inner = splice.members(settings, f"the field {name!r}")
    snake = "max_output_tokens"
    field = snake if snake in inner else "maxOutputTokens"
    return splice.put(body, name, splice.put(settings, field, tokens))
