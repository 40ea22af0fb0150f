"""What a request asks for: the few fields that a decision needs.

Only the top level of a body is read, everything else is skipped. A field that
decides must mean the same to us and to the provider, whose parser is another:
so a field given twice, and a field that differs from one of ours in nothing but
case (some servers match names regardless of it), is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice
from comptroller.wire.request_shapes import (
    FALLBACKS,
    FLAG,
    METADATA,
    MODELS,
    PARAMETERS,
    TEXT,
    TOOLS,
    WHOLE,
    Tool,
)
from comptroller.wire.routes import Operation, Route


class RequestFacts(NamedTuple):
    """What the body and the path of a request say; never any prompt text."""

    model: str
    """As the client names it."""
    stream: bool
    max_output_tokens: int | None = None
    """The client's own ceiling for one choice; None: it set none."""
    choices: int = 1
    """How many replies are generated, each up to the ceiling."""
    include_usage: bool = False
    """Whether the client itself asked a stream to state its usage."""
    session: str | None = None
    """The client's session id as it asserts it; correlation, not identity."""
    service_tier: str | None = None
    """The processing tier asked for."""
    other_models: tuple[str, ...] = ()
    """Further models that the request may run: fallbacks, advisors, tools."""
    is_background: bool = False
    """Whether the reply comes before the work is done, and without its usage."""
    has_context_elsewhere: bool = False
    """Whether the prompt holds more than the body: a stored conversation or
    cached content. Then the body's size bounds no tokens."""
    stream_options: bytes | None = None
    """The field as written; None: absent."""
    is_model_repeated: bool = False
    """Whether the body names the model that the path names, too."""
    ceiling_fields: tuple[str, ...] = ()
    """The names at the top level under which the body has a ceiling, null or not."""


MODEL_BYTES_MAX: Final = 256
CHOICES_MAX: Final = 1024
"""More replies to one request no provider gives, and no hold can be made for."""
_SESSION_BYTES_MAX: Final = 128
_SESSION_MARK: Final = "_session_"

_FORMS: Final = frozenset({b"", b"sse", b"json"})
_FORM_PARAMETERS: Final = frozenset({b"fields", b"callback", b"httpheaders"})

_Members: TypeAlias = dict[str, msgspec.Raw]

_CONTROL: Final = frozenset(
    {
        "model",
        "models",
        "fallbacks",
        "stream",
        "stream_options",
        "service_tier",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "background",
        "tools",
        "generationconfig",
        "generation_config",
        "maxoutputtokens",
        "candidatecount",
        "candidate_count",
        "cachedcontent",
        "cached_content",
        "messages",
        "input",
        "contents",
        "prompt",
        "previous_response_id",
        "conversation",
        "container",
        "context_management",
        "mcp_servers",
        "modalities",
        "reasoning",
        "speed",
        "max_tool_calls",
        "best_of",
        "prediction",
        "plugins",
        "preset",
        "deferred",
        "web_search_options",
        "search_parameters",
        "enable_search",
        "n_predict",
        "max_new_tokens",
    }
)
"""Fields that decide, in lower case: here, or in `extras`."""


def read_facts(route: Route, body: bytes) -> RequestFacts:
    """Reads what a decision needs from a request.

    Args:
        route: the request's route, not a local one.
        body: the whole body, decoded.

    Raises:
        BadRequestError: the body is not a JSON object, a field that decides is
            of the wrong type, missing, or given more than once. The message
            names the field and never repeats a prompt.
    """
    found = _members(body, "the body", _EXACT_NAMES[route.operation])
    return _READ[route.operation](route, found)


def refuse_other_forms(query: bytes) -> None:
    """Makes sure that a query does not ask for a reply in another form.

    Google's servers take from any query in which form to answer, and which fields:
    such a reply may leave its usage out, or write it in a form that no meter reads.

    Args:
        query: of the request, as on the wire.

    Raises:
        BadRequestError: it does; the message names the parameter.
    """
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        known = unquote_to_bytes(name).lower().lstrip(b"$")
        if known == b"alt":
            if unquote_to_bytes(value).lower() in _FORMS:
                continue
        elif known not in _FORM_PARAMETERS:
            continue
        raise BadRequestError(
            f"the parameter {known.decode()!r} of the query asks for a reply whose "
            "usage cannot be read; leave it out"
        )


def _members(data: bytes, what: str, names: frozenset[str]) -> _Members:
    """Reads an object whose fields decide, each of them once and unmistakable."""
    found = splice.members(data, what)
    if not splice.is_compact(data, found):
        splice.refuse_repeats(data, found)
    for name in found:
        if name not in names:
            folded = name.casefold()
            if folded != name and folded in _CONTROL:
                raise BadRequestError(
                    f"the field {name!r} is not one that this API has; "
                    f"it is too much like {folded!r}"
                )
    return found


def _chat(_: Route, found: _Members) -> RequestFacts:
    options = found.get("stream_options")
    is_stream = _flag(found, "stream")
    include_usage = False
    if options is not None and is_stream:
        written = bytes(options)
        if written != b"null":
            asked = _members(written, "the field 'stream_options'", _NO_NAMES)
            include_usage = _flag(asked, "include_usage")
    return RequestFacts(
        model=_model(found),
        stream=is_stream,
        max_output_tokens=_larger(
            _ceiling(found, "max_completion_tokens"), _ceiling(found, "max_tokens")
        ),
        choices=_choices("n", found.get("n")),
        include_usage=include_usage,
        service_tier=_text(found, "service_tier"),
        other_models=_other_models(found),
        stream_options=None if options is None else bytes(options),
        ceiling_fields=_present(found, _CHAT_CEILINGS),
    )


def _responses(_: Route, found: _Members) -> RequestFacts:
    is_stream = _flag(found, "stream")
    is_background = _flag(found, "background")
    return RequestFacts(
        model=_model(found),
        stream=is_stream,
        max_output_tokens=_ceiling(found, "max_output_tokens"),
        service_tier=_text(found, "service_tier"),
        other_models=_other_models(found),
        # Streamed, a background response states its usage at its end.
        is_background=is_background and not is_stream,
        has_context_elsewhere=_is_given(
            found, "previous_response_id", "conversation", "prompt"
        ),
        ceiling_fields=_present(found, _RESPONSES_CEILINGS),
    )


def _embeddings(_: Route, found: _Members) -> RequestFacts:
    return RequestFacts(model=_model(found), stream=False)


def _messages(_: Route, found: _Members) -> RequestFacts:
    return RequestFacts(
        model=_model(found),
        stream=_flag(found, "stream"),
        max_output_tokens=_whole(found, "max_tokens"),
        session=_session(found),
        service_tier=_text(found, "service_tier"),
        other_models=_other_models(found),
        has_context_elsewhere=_is_given(found, "container", "mcp_servers"),
        ceiling_fields=_present(found, _MESSAGES_CEILINGS),
    )


def _gemini(route: Route, found: _Members) -> RequestFacts:
    model = route.path_model
    if model is None:
        raise BadRequestError("the path names no model")
    stated = _text(found, "model")
    if stated is not None and stated.removeprefix("models/") != model:
        raise BadRequestError("the field 'model' names another model than the path")
    ceiling = None
    choices = 1
    settings = _either(found, "generationConfig", "generation_config")
    if settings is not None and bytes(settings) != b"null":
        config = _members(
            bytes(settings), "the field 'generationConfig'", _GEMINI_NAMES
        )
        ceiling = (
            _whole_of(
                "maxOutputTokens",
                _either(config, "maxOutputTokens", "max_output_tokens"),
            )
            or None
        )
        choices = _choices(
            "candidateCount", _either(config, "candidateCount", "candidate_count")
        )
    return RequestFacts(
        model=model,
        stream=route.operation is Operation.STREAM_GENERATE_CONTENT,
        max_output_tokens=ceiling,
        choices=choices,
        has_context_elsewhere=_is_given(found, "cachedContent", "cached_content"),
        is_model_repeated=stated is not None,
    )


_READ: Final[dict[Operation, Callable[[Route, _Members], RequestFacts]]] = {
    Operation.CHAT: _chat,
    Operation.RESPONSES: _responses,
    Operation.EMBEDDINGS: _embeddings,
    Operation.MESSAGES: _messages,
    Operation.COUNT_TOKENS: _messages,
    Operation.GENERATE_CONTENT: _gemini,
    Operation.STREAM_GENERATE_CONTENT: _gemini,
    Operation.GEMINI_COUNT_TOKENS: _gemini,
}

_CHAT_CEILINGS: Final = ("max_completion_tokens", "max_tokens")
_RESPONSES_CEILINGS: Final = ("max_output_tokens",)
_MESSAGES_CEILINGS: Final = ("max_tokens",)

_NO_NAMES: Final[frozenset[str]] = frozenset()
_GEMINI_NAMES: Final = frozenset(
    {"generationConfig", "maxOutputTokens", "candidateCount", "cachedContent"}
)
_EXACT_NAMES: Final = {
    operation: _GEMINI_NAMES if read is _gemini else _NO_NAMES
    for operation, read in _READ.items()
}
"""Names that an operation really has although they are not in lower case."""


def _model(found: _Members) -> str:
    name = _text(found, "model")
    if not name:
        raise BadRequestError("the field 'model' is missing; name a model")
    if len(name) > MODEL_BYTES_MAX or not name.isprintable():
        raise BadRequestError("the field 'model' is not the name of a model")
    return name


def _text(found: _Members, name: str) -> str | None:
    raw = found.get(name)
    if raw is None:
        return None
    try:
        return TEXT.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        raise BadRequestError(f"the field {name!r} must be a string") from None


def _whole(found: _Members, name: str) -> int | None:
    raw = found.get(name)
    return None if raw is None else _whole_of(name, raw)


def _whole_of(name: str, raw: msgspec.Raw | None) -> int | None:
    if raw is None:
        return None
    try:
        value = WHOLE.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        value = -1
    if isinstance(value, float):
        # Some clients write every number as a float; 5.0 is five.
        value = int(value) if value.is_integer() else -1
    if value is not None and not 0 <= value < 1 << 53:
        raise BadRequestError(f"the field {name!r} must be a whole number, 0 or more")
    return value


def _choices(name: str, raw: msgspec.Raw | None) -> int:
    choices = _whole_of(name, raw) or 1
    if choices > CHOICES_MAX:
        raise BadRequestError(f"the field {name!r} must be at most {CHOICES_MAX}")
    return choices


def _flag(found: _Members, name: str) -> bool:
    raw = found.get(name)
    if raw is None:
        return False
    try:
        return FLAG.decode(raw) is True
    except (msgspec.MsgspecError, ValueError):
        raise BadRequestError(f"the field {name!r} must be true or false") from None


def _either(found: _Members, name: str, other: str) -> msgspec.Raw | None:
    """The field under either of the names that the API takes for it."""
    if name in found and other in found:
        raise BadRequestError(f"the field {name!r} is given more than once")
    return found.get(name, found.get(other))


def _is_given(found: _Members, *names: str) -> bool:
    return any(name in found and bytes(found[name]) != b"null" for name in names)


def _present(found: _Members, names: tuple[str, ...]) -> tuple[str, ...]:
    present = tuple([name for name in names if name in found])
    return names if len(present) == len(names) else present


def _ceiling(found: _Members, name: str) -> int | None:
    """A ceiling of 0 means none to some servers, and is an error to the others."""
    return _whole(found, name) or None


def _larger(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _other_models(found: _Members) -> tuple[str, ...]:
    """Models that the request names beside its own, in its own order."""
    if not found.keys() & {"tools", "models", "fallbacks"}:
        return ()
    names: list[object] = []
    for name, decoder in (("models", MODELS), ("fallbacks", FALLBACKS)):
        raw = found.get(name)
        if raw is not None:
            try:
                names += decoder.decode(raw) or ()
            except (msgspec.MsgspecError, ValueError):
                raise BadRequestError(
                    f"the field {name!r} must be a list of models"
                ) from None
    raw = found.get("tools")
    if raw is not None:
        try:
            names += TOOLS.decode(raw) or ()
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise BadRequestError("the field 'tools' must be a list of tools") from None
    found_models: dict[str, None] = {}
    for one in names:
        for model in _named(one):
            found_models[model] = None
    return tuple(found_models)


def _named(one: object) -> tuple[str, ...]:
    if isinstance(one, str):
        return (one,)
    if not isinstance(one, Tool):
        return ()
    inner = None
    if one.type != "function":
        # A provider's own tool, not a function with a schema.
        try:
            inner = PARAMETERS.decode(one.parameters).model
        except (msgspec.MsgspecError, ValueError, RecursionError):
            inner = None
    return tuple(name for name in (one.model, inner) if isinstance(name, str))


def _session(found: _Members) -> str | None:
    """Claude Code puts its session into `metadata.user_id`."""
    raw = found.get("metadata")
    if raw is None:
        return None
    try:
        metadata = METADATA.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    user = metadata.user_id if metadata is not None else None
    if not isinstance(user, str):
        return None
    session = user.partition(_SESSION_MARK)[2]
    is_plain = session.isascii() and session.isprintable()
    return (
        session if session and is_plain and len(session) <= _SESSION_BYTES_MAX else None
    )
