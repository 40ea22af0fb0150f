"""Prompts of Gemini's dialect: contents."""

from __future__ import annotations

import re
from typing import Final

from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import Place
from comptroller.wire.prompt_json import Json, JsonObject, object_in, text_in
from comptroller.wire.prompt_tally import Tally

_BODY: Final = frozenset(
    {
        "contents",
        "systemInstruction",
        "system_instruction",
        "tools",
        "cachedContent",
        "cached_content",
        "generateContentRequest",
        "generate_content_request",
    }
)
_CONTENT: Final = frozenset({"role", "parts"})
_PART: Final = frozenset({"text"})
_NAMED: Final = frozenset({"name"})
_TOOL: Final = frozenset({"functionDeclarations", "function_declarations"})
_PLACES: Final = {
    None: Place.USER,
    "": Place.USER,
    "user": Place.USER,
    "model": Place.ASSISTANT,
    "function": Place.TOOL,
    "tool": Place.TOOL,
}
_OF_TOOLS: Final = frozenset(
    {
        "functionCall",
        "function_call",
        "functionResponse",
        "function_response",
        "executableCode",
        "executable_code",
        "codeExecutionResult",
        "code_execution_result",
    }
)
_SYSTEM_KINDS: Final = (None,)
_INNER_CAPITAL: Final = re.compile(r"(?<!^)([A-Z])")


def read_contents(tally: Tally, body: JsonObject) -> None:
    """Reads the prompt of generated content, or of a count of its tokens.

    Raises:
        BadRequestError: it cannot be read for certain.
    """
    found = object_in(body, "the body", _BODY)
    wrapped = _either(found, "generateContentRequest", "generate_content_request")
    if wrapped is not None:
        # A count of tokens may hold the request that it counts.
        read_contents(tally, object_in(wrapped, "'generateContentRequest'", _BODY))
    system = _either(found, "systemInstruction", "system_instruction")
    if system is not None:
        _system(tally, system)
    for one in _listed(found.get("contents")):
        _content(tally, one)
    for one in _listed(found.get("tools")):
        _tool(tally, object_in(one, "a tool", _TOOL))
    if _either(found, "cachedContent", "cached_content") is not None:
        tally.by_reference("cached_content")
    for name, value in found.items():
        if name not in _BODY or name == "tools":
            is_tool = name == "tools"
            tally.take(Place.DEFINITIONS if is_tool else Place.OTHER, value, name)


def _system(tally: Tally, system: Json) -> None:
    if isinstance(system, str):
        tally.system(system, _SYSTEM_KINDS)
        return
    content = object_in(system, "the system instruction", _CONTENT)
    for part in _listed(content.get("parts")):
        known = part
        if not isinstance(part, str):
            known = object_in(part, "a part of the system instruction", _PART)
        tally.system([known], _SYSTEM_KINDS)


def _content(tally: Tally, content: Json) -> None:
    if isinstance(content, str):
        tally.take(Place.USER, content)
        return
    known = object_in(content, "a content", _CONTENT)
    role = known.get("role")
    if (role is not None and not isinstance(role, str)) or role not in _PLACES:
        if role != "system":
            raise BadRequestError(
                "the field 'role' of a content is none of those known"
            )
        _system(tally, known)
        return
    for part in _listed(known.get("parts")):
        is_tool = isinstance(part, dict) and not _OF_TOOLS.isdisjoint(part)
        tally.take(Place.TOOL if is_tool else _PLACES[role], part)


def _tool(tally: Tally, tool: JsonObject) -> None:
    declared = _either(tool, "functionDeclarations", "function_declarations")
    for one in _listed(declared):
        function = object_in(one, "a function", _NAMED)
        tally.tool(text_in(function, "name", "a function"))
    for name, value in tool.items():
        if name not in _TOOL and value is not None:
            tally.builtin(_INNER_CAPITAL.sub(r"_\1", name).lower())


def _listed(value: Json) -> list[Json]:
    """A list's items; the API takes one item without its list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _either(found: JsonObject, name: str, other: str) -> Json:
    """The field under either of the names that the API takes for it."""
    if name in found and other in found:
        raise BadRequestError(f"the field {name!r} is given more than once")
    return found.get(name, found.get(other))
