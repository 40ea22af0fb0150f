"""Routes: every path the gateway serves, and the dialect that speaks it.

A route that is not here does not exist: nothing is forwarded blindly.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple


class Dialect(StrEnum):
    """A provider protocol; the keys of a provider's `speaks`."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class Operation(StrEnum):
    """What a route does; `gen_ai.operation.name` of its records."""

    CHAT = "chat"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    GENERATE_CONTENT = "generate_content"
    STREAM_GENERATE_CONTENT = "stream_generate_content"
    GEMINI_COUNT_TOKENS = "gemini_count_tokens"
    GET_RESPONSE = "get_response"
    DELETE_RESPONSE = "delete_response"
    CANCEL_RESPONSE = "cancel_response"
    RESPONSE_INPUT_ITEMS = "response_input_items"
    MODELS = "models"
    MODEL = "model"
    ROOT = "root"
    HEALTHZ = "healthz"
    READYZ = "readyz"


LOCAL_OPERATIONS: Final = frozenset(
    {
        Operation.MODELS,
        Operation.MODEL,
        Operation.ROOT,
        Operation.HEALTHZ,
        Operation.READYZ,
    }
)
"""Operations that the gateway answers itself; nothing goes upstream."""

OBJECT_OPERATIONS: Final = frozenset(
    {
        Operation.GET_RESPONSE,
        Operation.DELETE_RESPONSE,
        Operation.CANCEL_RESPONSE,
        Operation.RESPONSE_INPUT_ITEMS,
    }
)
"""Operations on one stored object, which the path names; free of charge."""

DEFAULT_PREFIXES: Final[dict[str, str]] = {
    Dialect.OPENAI: "/v1",
    Dialect.ANTHROPIC: "/v1",
    Dialect.GEMINI: "/v1beta",
}
"""The path prefix of a dialect where a provider's `speaks` names none."""


class Route(NamedTuple):
    """One request's route."""

    dialect: Dialect
    operation: Operation
    suffix: str
    """The path behind the provider's prefix of this dialect."""
    path_model: str | None
    """The model that the path names: Gemini's, and that of `/models/{id}`."""
    metered: bool
    """Whether its reply consumes tokens."""
    label: str
    """The path for records: no query, no model."""
    object_id: str | None = None
    """The stored object that the path names."""
    tail: str = ""
    """What follows the suffix for this request alone: it names the object."""


def _fixed(
    dialect: Dialect, operation: Operation, suffix: str, *, metered: bool = False
) -> Route:
    prefix = "" if operation in _BARE else DEFAULT_PREFIXES[dialect]
    return Route(dialect, operation, suffix, None, metered, prefix + suffix)


_BARE: Final = frozenset({Operation.ROOT, Operation.HEALTHZ, Operation.READYZ})

_FIXED: Final = {
    b"POST": (
        _fixed(Dialect.OPENAI, Operation.CHAT, "/chat/completions", metered=True),
        _fixed(Dialect.OPENAI, Operation.RESPONSES, "/responses", metered=True),
        _fixed(Dialect.OPENAI, Operation.EMBEDDINGS, "/embeddings", metered=True),
        _fixed(Dialect.ANTHROPIC, Operation.MESSAGES, "/messages", metered=True),
        _fixed(Dialect.ANTHROPIC, Operation.COUNT_TOKENS, "/messages/count_tokens"),
    ),
    b"GET": (
        _fixed(Dialect.OPENAI, Operation.MODELS, "/models"),
        _fixed(Dialect.GEMINI, Operation.MODELS, "/models"),
        _fixed(Dialect.OPENAI, Operation.HEALTHZ, "/healthz"),
        _fixed(Dialect.OPENAI, Operation.READYZ, "/readyz"),
    ),
    b"HEAD": (_fixed(Dialect.OPENAI, Operation.ROOT, "/"),),
}

_EXACT: Final = {
    (method, route.label.encode()): route
    for method, routes in _FIXED.items()
    for route in routes
}

_GEMINI_ACTIONS: Final = {
    "generateContent": (Operation.GENERATE_CONTENT, True),
    "streamGenerateContent": (Operation.STREAM_GENERATE_CONTENT, True),
    "countTokens": (Operation.GEMINI_COUNT_TOKENS, False),
}

_RESPONSE_ACTIONS: Final = {
    (b"GET", ""): Operation.GET_RESPONSE,
    (b"DELETE", ""): Operation.DELETE_RESPONSE,
    (b"POST", "/cancel"): Operation.CANCEL_RESPONSE,
    (b"GET", "/input_items"): Operation.RESPONSE_INPUT_ITEMS,
}

_RESPONSES: Final = b"/v1/responses/"
_OBJECT_ID: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9_.:=+-]{0,255})(/[a-z_]+)?")
_OPENAI_MODELS: Final = b"/v1/models/"
_GEMINI_MODELS: Final = b"/v1beta/models/"
_MODEL_BYTES: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:@/"
)
_MODEL_BYTES_MAX: Final = 256


def match(method: bytes, path: bytes) -> Route | None:
    """Finds the route of a request.

    Args:
        method: as on the wire, such as `POST`.
        path: the path as on the wire, without the query. Nothing is decoded or
            normalised: a percent-encoded or otherwise odd path has no route.

    Returns:
        The route; None: the gateway does not serve this.
    """
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    if method == b"POST" and path.startswith(_GEMINI_MODELS):
        return _gemini_action(path[len(_GEMINI_MODELS) :])
    if path.startswith(_RESPONSES):
        return _response(method, path[len(_RESPONSES) :])
    if method == b"GET" and path.startswith(_OPENAI_MODELS):
        return _model(Dialect.OPENAI, path[len(_OPENAI_MODELS) :])
    if method == b"GET" and path.startswith(_GEMINI_MODELS):
        return _model(Dialect.GEMINI, path[len(_GEMINI_MODELS) :])
    return None


def upstream_path(route: Route, prefix: str, upstream_model: str) -> str:
    """The path to call at a provider.

    Args:
        route: the request's route, not a local one.
        prefix: the provider's prefix of the route's dialect.
        upstream_model: the provider's own name of the model.
    """
    if route.path_model is None:
        return prefix + route.suffix
    action = route.suffix.rpartition(":")[2]
    return f"{prefix}/models/{_quoted(upstream_model)}:{action}"


def dialect_of(path: bytes) -> Dialect:
    """The dialect in which to refuse a path, whether or not it has a route."""
    if path.startswith(b"/v1/messages"):
        return Dialect.ANTHROPIC
    if path.startswith(b"/v1beta"):
        return Dialect.GEMINI
    return Dialect.OPENAI


def _gemini_action(tail: bytes) -> Route | None:
    name, _, action = tail.rpartition(b":")
    known = _GEMINI_ACTIONS.get(action.decode("latin-1"))
    if known is None or not _plain(name):
        return None
    operation, metered = known
    model = name.decode("ascii")
    suffix = f"/models/{model}:{operation_action(operation)}"
    label = f"/v1beta/models/{{model}}:{operation_action(operation)}"
    return Route(Dialect.GEMINI, operation, suffix, model, metered, label)


def operation_action(operation: Operation) -> str:
    """The verb behind the colon of a Gemini path."""
    for action, (known, _) in _GEMINI_ACTIONS.items():
        if known is operation:
            return action
    raise ValueError(f"{operation} is not an action on a Gemini model")


def _model(dialect: Dialect, name: bytes) -> Route | None:
    if not _plain(name):
        return None
    model = name.decode("ascii")
    label = f"{DEFAULT_PREFIXES[dialect]}/models/{{model}}"
    suffix = f"/models/{model}"
    return Route(dialect, Operation.MODEL, suffix, model, metered=False, label=label)


def _response(method: bytes, rest: bytes) -> Route | None:
    named = _OBJECT_ID.fullmatch(rest)
    if named is None:
        return None
    object_id, action = named[1].decode("ascii"), (named[2] or b"").decode("ascii")
    operation = _RESPONSE_ACTIONS.get((method, action))
    if operation is None:
        return None
    return Route(
        Dialect.OPENAI,
        operation,
        "/responses",
        path_model=None,
        metered=False,
        label=f"/v1/responses/{{id}}{action}",
        object_id=object_id,
        tail=f"/{object_id}{action}",
    )


def _plain(name: bytes) -> bool:
    """Whether a model name may stand in a path as it is."""
    if not name or len(name) > _MODEL_BYTES_MAX or name.translate(None, _MODEL_BYTES):
        return False
    return not any(part.strip(b".") == b"" for part in name.split(b"/"))


def _quoted(name: str) -> str:
    data = name.encode()
    return "".join(chr(c) if c in _MODEL_BYTES else f"%{c:02X}" for c in data)
