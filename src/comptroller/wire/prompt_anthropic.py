"""Prompts of Anthropic's dialect: messages."""

from __future__ import annotations

from typing import Final

from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import Place
from comptroller.wire.prompt_json import Json, JsonObject, list_in, object_in, text_in
from comptroller.wire.prompt_tally import Tally

_BODY: Final = frozenset(
    {"messages", "system", "tools", "mcp_servers", "container", "model"}
)
_MESSAGE: Final = frozenset({"role", "content"})
_PART: Final = frozenset({"type", "text", "content", "source"})
_TOOL: Final = frozenset({"type", "name"})
_PLACES: Final = {"user": Place.USER, "assistant": Place.ASSISTANT}
_TEXTS: Final = ("text",)
_INLINE: Final = frozenset({"text", "content", "base64"})


def read_messages(tally: Tally, body: JsonObject) -> None:
    """Reads a message's prompt.

    Raises:
        BadRequestError: it cannot be read for certain.
    """
    found = object_in(body, "the body", _BODY)
    tally.system(found.get("system"), _TEXTS)
    for one in list_in(found, "messages"):
        _message(tally, object_in(one, "a message", _MESSAGE))
    for one in list_in(found, "tools"):
        _tool(tally, object_in(one, "a tool", _TOOL))
    if list_in(found, "mcp_servers"):
        tally.builtin("mcp")
    tally.elsewhere(found, "container")
    for name, value in found.items():
        if name not in ("system", "messages"):
            is_tool = name == "tools"
            tally.take(Place.DEFINITIONS if is_tool else Place.OTHER, value, name)


def _message(tally: Tally, message: JsonObject) -> None:
    role = text_in(message, "role", "a message")
    content = message.get("content")
    if role == "system":
        _system(tally, content)
    elif role not in _PLACES:
        raise BadRequestError("the field 'role' of a message is none of those known")
    elif isinstance(content, str):
        tally.take(_PLACES[role], content)
    else:
        for one in list_in(message, "content"):
            _part(tally, object_in(one, "a part of a message", _PART), _PLACES[role])
    for name, value in message.items():
        if name != "content":
            tally.take(Place.OTHER, value, name)


def _system(tally: Tally, content: Json) -> None:
    """A system message between the others, which may add tools besides."""
    if not isinstance(content, list):
        tally.system(content, _TEXTS)
        return
    for one in content:
        part = object_in(one, "a part of a message", _PART)
        if part.get("type") == "tool_addition":
            _part(tally, part, Place.SYSTEM)
        else:
            tally.system([part], _TEXTS)


def _part(tally: Tally, part: JsonObject, place: Place) -> None:
    kind = text_in(part, "type", "a part of a message")
    _refer(tally, kind, part.get("source"))
    is_tool = "tool_" in kind or kind.endswith("_result")
    if kind == "tool_addition":
        tally.by_reference(kind)
    tally.take(Place.TOOL if is_tool else place, part)


def _refer(tally: Tally, kind: str, source: Json) -> None:
    """Notes a file or document that the provider fetches; images hold no text."""
    fetched = (
        kind == "document"
        and isinstance(source, dict)
        and source.get("type") not in _INLINE
    )
    if fetched or kind == "container_upload":
        tally.by_reference("file")


def _tool(tally: Tally, tool: JsonObject) -> None:
    kind = tool.get("type")
    if kind is None or kind == "custom":
        tally.tool(text_in(tool, "name", "a tool"))
    else:
        tally.builtin(text_in(tool, "type", "a tool"))
