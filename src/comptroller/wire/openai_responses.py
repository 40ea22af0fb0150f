"""OpenAI responses: usage from bodies and streams."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.core.usage import Pass, Reading
from comptroller.wire.counts import block, count, inner, text_bytes, text_or_none
from comptroller.wire.openai_usage import read_usage, stated_cost
from comptroller.wire.reader import decode

_NULL: Final = msgspec.Raw(b"null")
_NOTHING_BYTES: Final = len(b"null")
_ENDS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed"}
)
ITEMS_MAX: Final = 64
"""Ids of items that are read of one response."""
_RUNNING: Final = frozenset({"queued", "in_progress"})


class _Content(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    id: Any = None
    type: str | None = None
    content: list[_Content] | None = None
    summary: list[_Content] | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    code: str | None = None
    action: msgspec.Raw = _NULL


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = _NULL


class _Bare(msgspec.Struct, gc=False):
    """A response of which nothing but the usage is as expected."""

    id: Any = None
    model: Any = None
    status: Any = None
    service_tier: Any = None
    output: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: Any = None
    response: msgspec.Raw = _NULL


class _Action(msgspec.Struct, gc=False):
    type: str | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)
_RESPONSE: Final = msgspec.json.Decoder(_Response)
_BARE: Final = msgspec.json.Decoder(_Bare)
_ACTION: Final = msgspec.json.Decoder(_Action)


class ResponsesReader:
    """Reads responses, whole or as events."""

    __slots__ = (
        "_delta_bytes",
        "_id",
        "_is_complete",
        "_items",
        "_model",
        "_output_bytes",
        "_raw",
        "_searches",
        "_tier",
    )

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._items: tuple[str, ...] = ()
        self._raw = b""
        self._delta_bytes = 0
        self._output_bytes = 0
        self._searches = 0
        self._is_complete = False

    def event(self, payload: bytes) -> bool:
        """Reads one event; the last response object is the one that counts."""
        if payload == b"[DONE]":
            return False
        event = decode(payload, _EVENT)
        if event is None:
            return False
        if type(event.delta) is str:
            self._delta_bytes += text_bytes(event.delta)
        elif len(event.response) > _NOTHING_BYTES:
            self._take(bytes(event.response))
            self._is_complete = self._is_complete or event.type in _ENDS
        return False

    def body(self, data: bytes) -> None:
        """Reads a whole response."""
        status = self._take(data)
        self._is_complete = status is not None and status not in _RUNNING

    def reading(self) -> Reading:
        """The usage of the last response object, and the searches it ran."""
        raw = self._raw
        stated = block(raw) if raw else None
        usage = read_usage(stated) if stated is not None else None
        passes: tuple[Pass, ...] = ()
        cost = None
        if stated is not None and usage is not None:
            searches = self._searches or _hosted_searches(stated)
            if searches:
                usage["web_search"] = searches
            passes = (Pass(self._model, usage),)
            cost = stated_cost(stated)
        return Reading(
            passes,
            self._model,
            self._id,
            self._tier,
            (raw,) if passes else (),
            cost,
            max(self._output_bytes, self._delta_bytes),
            self._is_complete,
            self._items,
        )

    def _take(self, data: bytes) -> str | None:
        """Reads a response object; returns its status, None: unreadable."""
        response = decode(data, _RESPONSE, _BARE)
        if response is None:
            return None
        self._id = text_or_none(response.id) or self._id
        self._model = text_or_none(response.model) or self._model
        self._tier = text_or_none(response.service_tier) or self._tier
        if len(response.usage) > _NOTHING_BYTES:
            self._raw = bytes(response.usage)
        if isinstance(response, _Bare):
            self._output_bytes = len(response.output)
        else:
            items = response.output or ()
            self._output_bytes = sum(map(_item_bytes, items))
            self._searches = sum(map(_is_search, items))
            named = [one.id for one in items if type(one.id) is str]
            self._items = tuple(named[:ITEMS_MAX])
        return text_or_none(response.status) or ""


def _is_search(item: _Item) -> bool:
    """Whether an item is a search that is billed; opening a page is not."""
    if item.type != "web_search_call":
        return False
    action = decode(bytes(item.action), _ACTION)
    return action is None or action.type in (None, "search")


def _hosted_searches(stated: dict[str, Any]) -> int:
    """Searches as xAI counts them, in the usage block."""
    return count(
        inner(stated, "server_side_tool_usage_details").get("web_search_calls")
    )


def _item_bytes(item: _Item) -> int:
    written = (
        text_bytes(item.name)
        + text_bytes(item.arguments)
        + text_bytes(item.input)
        + text_bytes(item.code)
    )
    for parts in (item.content, item.summary):
        for part in parts or ():
            written += text_bytes(part.text) + text_bytes(part.refusal)
    return written
