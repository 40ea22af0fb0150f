"""Preparing: the body to send upstream, from the one that the client sent."""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.wire import splice
from comptroller.wire.ceiling import OutputCeiling, put_ceiling
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Operation, Route

_COUNTED: Final = ("generateContentRequest", "generate_content_request")


def prepare(
    route: Route,
    facts: RequestFacts,
    body: bytes,
    upstream_model: str,
    ceiling: OutputCeiling | None = None,
) -> tuple[bytes, bool]:
    """Makes the body to send upstream.

    Args:
        route: the request's route.
        facts: what `read_facts` read from this body.
        body: the body as the client sent it.
        upstream_model: the provider's own name of the model.
        ceiling: what one choice may generate, where the request states no less;
            None: nothing is put.

    Returns:
        The body, the same object when nothing had to change; and whether
        a chat stream was asked to state its usage for us alone, so that the
        extra chunk is to be taken out again.
    """
    if facts.model != upstream_model:
        body = _renamed(route, facts, body, upstream_model)
    if ceiling is not None:
        requested = facts.max_output_tokens
        if requested is None or requested > ceiling.tokens:
            body = put_ceiling(route, facts, body, ceiling)
    if route.operation is not Operation.CHAT or not facts.stream or facts.include_usage:
        return body, False
    options = facts.stream_options
    if options is None:
        # The body has a model, so it is not empty.
        asked = b'{"include_usage":true}'
        return splice.insert(body, "stream_options", asked, is_empty=False), True
    if options == b"null":
        options = b"{}"
    options = splice.put(options, "include_usage", b"true")
    return splice.put(body, "stream_options", options), True


def _renamed(
    route: Route, facts: RequestFacts, body: bytes, upstream_model: str
) -> bytes:
    """The body with the provider's own name of the model, wherever it is named."""
    if route.path_model is None:
        return splice.put(body, "model", msgspec.json.encode(upstream_model))
    if facts.is_model_repeated:
        body = splice.put(body, "model", _resource(upstream_model))
    if route.operation is not Operation.GEMINI_COUNT_TOKENS:
        return body
    # A count of tokens may hold the request that it counts, which names it again.
    found = splice.members(body)
    for name in _COUNTED:
        counted = bytes(found.get(name, b"null"))
        if counted.startswith(b"{") and "model" in splice.members(counted):
            counted = splice.put(counted, "model", _resource(upstream_model))
            body = splice.put(body, name, counted)
    return body


def _resource(upstream_model: str) -> bytes:
    """A model in a body of Gemini's, as JSON."""
    return msgspec.json.encode(f"models/{upstream_model.removeprefix('models/')}")
