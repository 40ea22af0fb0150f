"""What a request asks for: the few fields that a decision needs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice
from comptroller.wire.routes import Operation, Route


class RequestFacts(NamedTuple):
    """What the body and the path of a request say; never any prompt text."""

    model: str | None
    """As the client names it; None only where the operation has no model."""
    stream: bool
    max_output_tokens: int | None
    """The client's own ceiling for one choice; None: it set none."""
    choices: int
    """How many replies are generated, each up to the ceiling."""
    include_usage: bool
    """Whether the client itself asked a stream to state its usage."""
    session: str | None
    """The client's session id as it asserts it; correlation, not identity."""
    service_tier: str | None
    """The processing tier asked for."""
    other_models: tuple[str, ...]
    """Further models that the request may run: fallbacks, advisors, tools."""
    stream_options: bytes | None
    """The field as written; None: absent."""


_CEILINGS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def read_facts(route: Route, body: bytes) -> RequestFacts:
    """Reads what a decision needs from a request.

    Raises:
        BadRequestError: the body is not a JSON object, a field that decides is
            of the wrong type, missing, or given more than once. The message
            names the field and never repeats a prompt.
    """
    found = splice.members(body)
    if not splice.is_compact(body, found):
        splice.spans(body, found)
    model = route.path_model or _text(found, "model")
    if model is None and route.operation is not Operation.GEMINI_COUNT_TOKENS:
        raise BadRequestError("the field 'model' is missing; name a model")
    return RequestFacts(
        model=model,
        stream=_value(found, "stream") is True
        or route.operation is Operation.STREAM_GENERATE_CONTENT,
        max_output_tokens=max(
            (n for n in (_count(found, name) for name in _CEILINGS) if n is not None),
            default=None,
        ),
        choices=_count(found, "n") or 1,
        include_usage=False,
        session=None,
        service_tier=_text(found, "service_tier"),
        other_models=(),
        stream_options=None,
    )


def prepare(
    route: Route, facts: RequestFacts, body: bytes, upstream_model: str
) -> tuple[bytes, bool]:
    """Makes the body to send upstream.

    Args:
        route: the request's route.
        facts: what `read_facts` read from this body.
        body: the body as the client sent it.
        upstream_model: the provider's own name of the model.

    Returns:
        The body, the same object when nothing had to change; and whether
        a chat stream was asked to state its usage for us alone, so that the
        extra chunk is to be taken out again.
    """
    if route.path_model is None and facts.model != upstream_model:
        body = splice.put(body, "model", msgspec.json.encode(upstream_model))
    if route.operation is not Operation.CHAT or not facts.stream or facts.include_usage:
        return body, False
    return splice.put(body, "stream_options", b'{"include_usage":true}'), True


def _value(found: dict[str, msgspec.Raw], name: str) -> Any:  # noqa: ANN401
    raw = found.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _text(found: dict[str, msgspec.Raw], name: str) -> str | None:
    value = _value(found, name)
    if value is None or isinstance(value, str):
        return value
    raise BadRequestError(f"the field {name!r} must be a string")


def _count(found: dict[str, msgspec.Raw], name: str) -> int | None:
    value = _value(found, name)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise BadRequestError(f"the field {name!r} must be a whole number, 0 or more")
