"""References: the stored objects of a provider that a request's body names.

Whoever shares a provider's account can name what another has stored there. So each
name is found, wherever it stands; what a client's own tools say is left alone, for no
provider looks it up. A body that names nothing is searched once and not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from comptroller.core.errors import BadRequestError
from comptroller.wire.prompt_json import Json, JsonObject, read_document
from comptroller.wire.response_items import WHOLE_ITEMS
from comptroller.wire.routes import Operation, Route

REFERENCES_MAX: Final = 200
"""In one request."""


class ObjectKind(StrEnum):
    """What providers store."""

    RESPONSE = "response"
    ITEM = "item"
    """Of a response: it is looked up by its id alone."""
    CONVERSATION = "conversation"
    PROMPT = "prompt"
    FILE = "file"
    VECTOR_STORE = "vector_store"
    CONTAINER = "container"
    SKILL = "skill"
    AUDIO = "audio"
    CACHED_CONTENT = "cached_content"


class Reference(NamedTuple):
    """One stored object that a request names."""

    kind: ObjectKind
    id: str
    """As the client wrote it: any text at all."""
    field: str
    """Where it stands, such as `previous_response_id`."""


_Found: TypeAlias = dict[tuple[ObjectKind, str], Reference]
_Look: TypeAlias = Callable[[_Found, JsonObject], frozenset[str]]
"""Takes the references of one object; returns the members that are not looked into."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=+-]{0,255}")


def is_plain_id(text: str) -> bool:
    """Whether a text can be the id of an object that is remembered.

    Such an id may stand in a path, in a record and in a log as it is.
    """
    return _ID.fullmatch(text) is not None


def references(route: Route, body: bytes) -> tuple[Reference, ...]:
    """The stored objects that a body names, each once, in the body's order.

    Args:
        route: the request's route.
        body: a body that `read_facts` has read.

    Raises:
        BadRequestError: it may name some and cannot be read in one way only, or it
            names more than REFERENCES_MAX.
    """
    reading = _READ.get(route.operation)
    if reading is None:
        return ()
    marks, look = reading
    if marks.search(body) is None and not _may_hide(body):
        return ()
    found: _Found = {}
    document = read_document(body)
    if route.operation is Operation.RESPONSES:
        _top_level(found, document)
        _items(found, document)
    for one in _objects(document, look, found):
        if len(found) > REFERENCES_MAX:
            raise BadRequestError(
                f"the field {one!r} is one of more than {REFERENCES_MAX} that name"
                " stored objects"
            )
    return tuple(found.values())


def _may_hide(body: bytes) -> bool:
    """Whether a name may stand in a body that looks otherwise than it reads."""
    if _ESCAPED.search(body) is not None:
        return True
    return not body.isascii() and _FOLDING.search(body) is not None


def _objects(document: JsonObject, look: _Look, found: _Found) -> Iterator[str]:
    """Looks at every object of a document; yields the last field that was found."""
    left: list[Json] = [document]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(reversed(value))
        elif isinstance(value, dict):
            closed = look(found, value)
            if found:
                yield next(reversed(found.values())).field
            inner = [one for name, one in value.items() if name not in closed]
            left.extend(reversed(inner))


def _folded(name: str) -> str:
    """A name as the most lenient of servers reads it."""
    return name.casefold().replace("_", "")


def _take(found: _Found, kind: ObjectKind, field: str, value: Json) -> None:
    """Takes an id, a list of ids, or an object with an id."""
    if isinstance(value, str):
        if value:
            found.setdefault((kind, value), Reference(kind, value, field))
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, str):
                _take(found, kind, field, one)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _folded(name) == "id" and isinstance(inner, str):
                _take(found, kind, field, inner)


def _kind_of(value: JsonObject) -> str:
    kind = value.get("type")
    return kind if isinstance(kind, str) else ""


def _named(found: _Found, value: JsonObject, names: dict[str, ObjectKind]) -> None:
    for name, inner in value.items():
        kind = names.get(_folded(name))
        if kind is not None:
            _take(found, kind, name[:64], inner)


def _top_level(found: _Found, body: JsonObject) -> None:
    """Takes what names something at the top level alone.

    vLLM and SGLang store a response under the `request_id` of its request: who may
    choose it would replace another's, or be taken for its maker.
    """
    for name, value in body.items():
        folded = _folded(name)
        if folded == "prompt" and isinstance(value, dict):
            _take(found, ObjectKind.PROMPT, "prompt.id", value)
        elif folded == "requestid":
            _take(found, ObjectKind.RESPONSE, name[:64], value)


def _items(found: _Found, body: JsonObject) -> None:
    """Takes the items of a response's input that hold less than they stand for."""
    for field, value in body.items():
        listed = value if _folded(field) == "input" else None
        for item in listed if isinstance(listed, list) else (listed,):
            if isinstance(item, dict) and _is_looked_up(item):
                _take(found, ObjectKind.ITEM, "input.id", item)


def _openai(found: _Found, value: JsonObject) -> frozenset[str]:
    _named(found, value, _OPENAI_NAMES)
    kind = _kind_of(value)
    if kind == "item_reference":
        _take(found, ObjectKind.ITEM, "input.id", value)
    if kind not in _FUNCTIONS:
        return _OPENAI_CLOSED - {"parameters"}
    return _OPENAI_CLOSED


def _chat(found: _Found, value: JsonObject) -> frozenset[str]:
    if any(_folded(name) == "role" for name in value):
        for name, audio in value.items():
            if _folded(name) == "audio" and isinstance(audio, dict):
                _take(found, ObjectKind.AUDIO, "audio.id", audio)
    return _openai(found, value)


def _is_looked_up(item: JsonObject) -> bool:
    """Whether an item stands for more than it holds.

    A bare id without a type is a reference, too.
    """
    kind = _kind_of(item)
    if kind in ("", "message"):
        return item.get("content") is None
    if kind in _SEALED:
        return not (item.get("encrypted_content") or item.get("content"))
    return kind not in _WHOLE


def _messages(found: _Found, value: JsonObject) -> frozenset[str]:
    kind = _kind_of(value)
    # A type alone closes nothing: where it means nothing, servers do not look at it.
    if kind.endswith("code_execution_output") and value.keys() <= _TOLD:
        # What a tool had made, as it was told; it is not read from here again.
        return _TOLD
    if kind == "anthropic" and value.keys() <= _SKILL:
        # A skill of the provider's own, for everybody.
        return _SKILL
    _named(found, value, _ANTHROPIC_NAMES)
    is_call = kind.endswith("tool_use") and "name" in value
    return _TOOL_USE if is_call else _ANTHROPIC_CLOSED


def _gemini(found: _Found, value: JsonObject) -> frozenset[str]:
    for name, inner in value.items():
        folded = _folded(name)
        if folded == "fileuri":
            if isinstance(inner, str) and _is_stored(inner):
                _take(found, ObjectKind.FILE, name[:64], inner)
        elif folded in _GEMINI_NAMES:
            _take(found, _GEMINI_NAMES[folded], name[:64], inner)
    return frozenset([name for name in value if _folded(name) in _GEMINI_CLOSED])


def _is_stored(uri: str) -> bool:
    """Whether the provider reads a URI by its own rights, not as anybody could."""
    scheme, mark, rest = uri.strip().partition("://")
    if not mark or scheme.casefold() not in ("http", "https"):
        return True
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0].casefold().rstrip(".")
    if _HOST.fullmatch(host) is None:
        return True  # it may be read as another one
    return host.endswith(("googleapis.com", "cloud.google.com"))


_AUTHORITY_END: Final = re.compile(r"[/\\?#]")
_HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+")
_FUNCTIONS: Final = frozenset({"", "function"})
_SEALED: Final = frozenset({"reasoning", "compaction", "compaction_summary"})
_WHOLE: Final = WHOLE_ITEMS | {"additional_tools"}
"""Any other item is looked up by its id."""
_OPENAI_NAMES: Final = {
    "previousresponseid": ObjectKind.RESPONSE,
    "conversation": ObjectKind.CONVERSATION,
    "conversationid": ObjectKind.CONVERSATION,
    "fileid": ObjectKind.FILE,
    "fileids": ObjectKind.FILE,
    "vectorstoreid": ObjectKind.VECTOR_STORE,
    "vectorstoreids": ObjectKind.VECTOR_STORE,
    "collectionids": ObjectKind.VECTOR_STORE,
    "container": ObjectKind.CONTAINER,
    "containerid": ObjectKind.CONTAINER,
    "skillid": ObjectKind.SKILL,
}
_OPENAI_CLOSED: Final = frozenset(
    {"parameters", "schema", "input_schema", "metadata", "annotations", "results"}
)
"""Schemas, and what earlier replies said of their sources."""
_ANTHROPIC_NAMES: Final = {
    "fileid": ObjectKind.FILE,
    "container": ObjectKind.CONTAINER,
    "containerid": ObjectKind.CONTAINER,
    "skillid": ObjectKind.SKILL,
}
_ANTHROPIC_CLOSED: Final = frozenset(
    {"input_schema", "input_examples", "metadata", "citations"}
)
_TOLD: Final = frozenset({"type", "file_id"})
_SKILL: Final = frozenset({"type", "skill_id", "version"})
_TOOL_USE: Final = _ANTHROPIC_CLOSED | {"input"}
_GEMINI_NAMES: Final = {
    "cachedcontent": ObjectKind.CACHED_CONTENT,
    "filesearchstorenames": ObjectKind.VECTOR_STORE,
    "ragcorpora": ObjectKind.VECTOR_STORE,
    "ragcorpus": ObjectKind.VECTOR_STORE,
    "datastore": ObjectKind.VECTOR_STORE,
    "engine": ObjectKind.VECTOR_STORE,
}
_GEMINI_CLOSED: Final = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersjsonschema",
        "responseschema",
        "responsejsonschema",
        "labels",
    }
)


def _marks(*patterns: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"(?:%b)"' % b"|".join(patterns), re.IGNORECASE)


_ESCAPED: Final = re.compile(rb"\\u(?:00[4-7]|017[fF]|212[aA])")
"""ASCII letters written otherwise, and the two others that fold to one."""
_FOLDING: Final = re.compile(rb'"[A-Za-z_]{0,24}(?:\xc5\xbf|\xe2\x84\xaa)')
"""The two other letters that fold to one of ASCII, where a name may begin."""
_OPENAI_MARKS: Final = (
    rb"(?:file|skill|container)_?id",
    rb"(?:file|collection)_?ids",
    rb"vector_?store_?ids?",
    rb"container",
    rb"previous_?response_?id",
)
_CHAT_MARKS: Final = _marks(*_OPENAI_MARKS, rb"audio")
_RESPONSE_NAMES: Final = _marks(
    *_OPENAI_MARKS,
    rb"conversation(?:_?id)?",
    rb"prompt",
    rb"request_?id",
)
_RESPONSE_MARKS: Final = re.compile(
    rb'%b|"id"[ \t\r\n]*:[ \t\r\n]*"' % _RESPONSE_NAMES.pattern, re.IGNORECASE
)
"""Names, and anything with an id: an item may be no more than that."""
_MESSAGE_MARKS: Final = _marks(rb"(?:file|skill|container)_?id", rb"container")
_GEMINI_MARKS: Final = _marks(
    rb"file_?uri",
    rb"cached_?content",
    rb"file_?search_?store_?names",
    rb"rag_?corp(?:ora|us)",
    rb"data_?store",
    rb"engine",
)
_READ: Final[dict[Operation, tuple[re.Pattern[bytes], _Look]]] = {
    Operation.CHAT: (_CHAT_MARKS, _chat),
    Operation.RESPONSES: (_RESPONSE_MARKS, _openai),
    Operation.MESSAGES: (_MESSAGE_MARKS, _messages),
    Operation.COUNT_TOKENS: (_MESSAGE_MARKS, _messages),
    Operation.GENERATE_CONTENT: (_GEMINI_MARKS, _gemini),
    Operation.STREAM_GENERATE_CONTENT: (_GEMINI_MARKS, _gemini),
    Operation.GEMINI_COUNT_TOKENS: (_GEMINI_MARKS, _gemini),
}
