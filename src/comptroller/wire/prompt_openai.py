"""Prompts of OpenAI's dialect: chat completions, responses, embeddings."""

from __future__ import annotations

from typing import Final

from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import Place
from comptroller.wire.prompt_json import Json, JsonObject, list_in, object_in, text_in
from comptroller.wire.prompt_tally import Tally

_CHAT: Final = frozenset({"messages", "tools", "functions", "web_search_options"})
_RESPONSES: Final = frozenset({"input", "instructions", "tools", "prompt"})
_EMBEDDINGS: Final = frozenset({"input"})
_MESSAGE: Final = frozenset({"role", "content", "type"})
_TOOL: Final = frozenset({"type", "name", "function", "custom", "tools"})
_NAMED: Final = frozenset({"name"})
_SYSTEM: Final = frozenset({"system", "developer"})
_PLACES: Final = {
    "user": Place.USER,
    "assistant": Place.ASSISTANT,
    "tool": Place.TOOL,
    "function": Place.TOOL,
}
_TEXTS: Final = ("text", "input_text", "output_text")
_STORED: Final = ("prompt", "previous_response_id", "conversation")


def read_chat(tally: Tally, body: JsonObject) -> None:
    """Reads a chat completion's prompt.

    Raises:
        BadRequestError: it cannot be read for certain.
    """
    found = object_in(body, "the body", _CHAT)
    for message in list_in(found, "messages"):
        _chat_message(tally, object_in(message, "a message", _MESSAGE))
    _tools(tally, list_in(found, "tools"))
    for function in list_in(found, "functions"):
        known = object_in(function, "a function", _NAMED)
        tally.tool(text_in(known, "name", "a function"))
    for field in ("web_search_options", "search_parameters"):
        if found.get(field) is not None:
            tally.builtin("web_search")
    for plugin in list_in(found, "plugins"):
        named = object_in(plugin, "a plugin", frozenset({"id"}))
        tally.builtin(text_in(named, "id", "a plugin"))
    _rest(tally, found, frozenset({"messages"}))


def read_responses(tally: Tally, body: JsonObject) -> None:
    """Reads a response's prompt.

    Raises:
        BadRequestError: it cannot be read for certain.
    """
    found = object_in(body, "the body", _RESPONSES)
    tally.elsewhere(found, *_STORED)
    tally.system(found.get("instructions"), _TEXTS)
    given = found.get("input")
    if isinstance(given, str):
        tally.take(Place.USER, given)
    else:
        for item in list_in(found, "input"):
            _item(tally, object_in(item, "an item of 'input'", _MESSAGE))
    _tools(tally, list_in(found, "tools"))
    _rest(tally, found, frozenset({"instructions", "input"}))


def read_embeddings(tally: Tally, body: JsonObject) -> None:
    """Reads what is embedded: texts, or tokens, which nobody can read.

    Raises:
        BadRequestError: it is neither.
    """
    found = object_in(body, "the body", _EMBEDDINGS)
    given = found.get("input")
    listed = given if isinstance(given, list) else [given]
    for one in listed:
        if isinstance(one, str):
            tally.take(Place.USER, one)
        elif one is None:
            # Some servers take the text under another name.
            continue
        elif isinstance(one, int | list):
            tally.by_reference("tokens")
        else:
            tally.take(Place.USER, object_in(one, "an input", frozenset()))
    _rest(tally, found, frozenset({"input"}))


def _chat_message(tally: Tally, message: JsonObject) -> None:
    role = text_in(message, "role", "a message")
    if role in _SYSTEM:
        tally.system(message.get("content"), _TEXTS)
        tally.take(Place.SYSTEM, _without(message, "content"))
        return
    place = _PLACES.get(role)
    if place is None:
        raise BadRequestError("the field 'role' of a message is none of those known")
    for name, value in message.items():
        is_call = name in ("tool_calls", "function_call")
        tally.take(Place.TOOL if is_call else place, value, name)


def _item(tally: Tally, item: JsonObject) -> None:
    kind = item.get("type", "message")
    if not isinstance(kind, str):
        raise BadRequestError("the field 'type' of an item must be a string")
    if kind == "message":
        _chat_message(tally, item)
        return
    if kind == "item_reference":
        tally.by_reference(kind)
    elif kind == "additional_tools":
        _tools(tally, list_in(item, "tools"))
    if item.get("role") in _SYSTEM:
        tally.system(item.get("content"), _TEXTS)
    tally.take(Place.ASSISTANT if kind == "reasoning" else Place.TOOL, item, "")


def _tools(tally: Tally, tools: list[Json]) -> None:
    for one in tools:
        tool = object_in(one, "a tool", _TOOL)
        kind = tool.get("type")
        if kind is None and "function" in tool:
            # Several servers take it so.
            kind = "function"
        if not isinstance(kind, str):
            raise BadRequestError("the field 'type' of a tool must be a string")
        if kind in ("function", "custom"):
            # Chat names it within, responses beside.
            inner = tool.get(kind)
            named = tool if inner is None else object_in(inner, "a tool", _NAMED)
            tally.tool(text_in(named, "name", "a tool"))
            if inner is not None and isinstance(tool.get("name"), str):
                tally.tool(text_in(tool, "name", "a tool"))
        elif kind == "namespace":
            tally.take(Place.DEFINITIONS, tool)
            _tools(tally, list_in(tool, "tools"))
        else:
            tally.builtin(kind)


def _rest(tally: Tally, found: JsonObject, read: frozenset[str]) -> None:
    for name, value in found.items():
        if name not in read:
            is_tool = name in ("tools", "functions")
            tally.take(Place.DEFINITIONS if is_tool else Place.OTHER, value, name)


def _without(message: JsonObject, name: str) -> JsonObject:
    return {key: value for key, value in message.items() if key != name}
