"""Repeating: whether a call that failed may be made once more, elsewhere.

A reply that was refused or has failed was not read by anyone. So a call may be made
again unless the first one may have done something besides generating that reply.
"""

from __future__ import annotations

from typing import Final

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice
from comptroller.wire.prompt_facts import read_prompt
from comptroller.wire.references import references
from comptroller.wire.routes import OBJECT_OPERATIONS, Operation, Route

RAN_OUT_OF_TIME: Final = frozenset({504, 524})
"""A proxy's words for a provider that still works on the call, and may bill it."""

_HARMLESS_TOOLS: Final = frozenset(
    {
        "apply_patch",
        "file_search",
        "google_maps",
        "google_search",
        "google_search_retrieval",
        "image_generation",
        "local_shell",
        "url_context",
        "web",
        "web_search",
        "web_search_preview",
    }
)
"""Providers' tools that only read, or that the client runs once it has the reply."""
_HARMLESS_FAMILIES: Final = (
    "bash_",
    "memory_",
    "text_editor_",
    "tool_search_tool_",
    "web_fetch_",
    "web_search_",
)
"""The same, where the name goes on with a version."""


def why_not_elsewhere(route: Route, body: bytes) -> str | None:
    """Why no other provider can answer a call, in words; None: another one may.

    Args:
        route: of the call.
        body: that was read for a decision.
    """
    if route.operation in OBJECT_OPERATIONS:
        return "the object that it names is stored at one provider"
    try:
        found = references(route, body)
    except BadRequestError as error:
        return f"what it names cannot be read for certain: {error.message}"
    if found:
        return f"it names a {found[0].kind} that is stored at one provider"
    return None


def why_not_repeated(route: Route, status: int, body: bytes) -> str | None:
    """Why a call may not be made again after a status, in words; None: it may.

    A response that is stored (`store`, which OpenAI takes for granted) does not
    count: at worst a second copy lies there that nobody was told the id of.

    Args:
        route: of the call.
        status: of the reply to it.
        body: that was read for a decision.
    """
    if status in RAN_OUT_OF_TIME:
        return "the provider may still work on it, and bill it"
    if status != 429 and not 500 <= status <= 599:
        return "the provider has answered it"
    # 429 refuses a call for its rate: nothing was done.
    if status == 429 or not route.metered or route.operation is Operation.EMBEDDINGS:
        return None
    return _why_not_generated_again(route, body)


def _why_not_generated_again(route: Route, body: bytes) -> str | None:
    """Whether generating a reply may have done something besides."""
    try:
        background = bytes(splice.members(body).get("background", b"null"))
        if background not in (b"false", b"null"):
            return "it goes on in the background"
        tools = read_prompt(route, body).builtin_tools
    except BadRequestError as error:
        return f"its tools cannot be read for certain: {error.message}"
    for tool in tools:
        if tool not in _HARMLESS_TOOLS and not tool.startswith(_HARMLESS_FAMILIES):
            return "a tool of the provider's may have done something"
    return None
