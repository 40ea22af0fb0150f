"""Anthropic messages: usage from bodies and streams.

`message_start` states the prompt's side, `message_delta` restates what has
changed, cumulatively: later fields replace earlier ones and are never added.
The top level leaves out whole paid passes (compaction, advisors, fallbacks on
other models); `iterations` has them all.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.core.usage import (
    GENERATED_CLASSES,
    PROMPT_CLASSES,
    Pass,
    Reading,
    Usage,
    merge,
    total,
)
from comptroller.wire.counts import block, count, inner, text_bytes, text_or_none
from comptroller.wire.reader import decode

_NULL: Final = msgspec.Raw(b"null")
_NOTHING_BYTES: Final = len(b"null")
_TOKENS: Final = PROMPT_CLASSES + GENERATED_CLASSES


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NULL


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: list[_Block] | None = None
    usage: msgspec.Raw = _NULL


class _Bare(msgspec.Struct, gc=False):
    """A message of which nothing but the usage is as expected."""

    id: Any = None
    model: Any = None
    content: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: _Delta | None = None
    message: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL
    content_block: _Block | None = None


class _BareEvent(msgspec.Struct, gc=False):
    type: Any = None
    delta: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_BARE: Final = msgspec.json.Decoder(_Bare)
_EVENT: Final = msgspec.json.Decoder(_Event)
_BARE_EVENT: Final = msgspec.json.Decoder(_BareEvent)


class MessagesReader:
    """Reads messages, whole or as events."""

    __slots__ = ("_delta", "_id", "_is_complete", "_model", "_output_bytes", "_start")

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._start = b""
        self._delta = b""
        self._output_bytes = 0
        self._is_complete = False

    def event(self, payload: bytes) -> bool:
        """Reads one event."""
        event = decode(payload, _EVENT, _BARE_EVENT)
        if event is None:
            return False
        if isinstance(event, _BareEvent):
            self._output_bytes += len(event.delta)
        else:
            delta = event.delta
            if delta is not None:
                self._output_bytes += (
                    text_bytes(delta.text)
                    + text_bytes(delta.thinking)
                    + text_bytes(delta.partial_json)
                )
            if event.content_block is not None:
                self._output_bytes += _start_bytes(event.content_block)
        if len(event.message) > _NOTHING_BYTES:
            self._take(bytes(event.message))
        if len(event.usage) > _NOTHING_BYTES:
            self._delta = bytes(event.usage)
        if event.type == "message_stop":
            self._is_complete = True
        return False

    def body(self, data: bytes) -> None:
        """Reads a whole message."""
        self._is_complete = self._take(data)

    def reading(self) -> Reading:
        """The usage as last stated, one pass a model."""
        raw = tuple(part for part in (self._start, self._delta) if part)
        stated: dict[str, Any] = {}
        for part in raw:
            later = block(part) or {}
            stated |= {
                name: value for name, value in later.items() if value is not None
            }
        passes = _passes(stated, self._model)
        tier = text_or_none(stated.get("service_tier"))
        if stated.get("speed") == "fast":
            tier = "fast"  # Priced apart, as a tier is.
        return Reading(
            passes,
            self._model,
            self._id,
            tier,
            raw if passes else (),
            None,
            self._output_bytes,
            self._is_complete,
        )

    def _take(self, data: bytes) -> bool:
        """Reads a message object; True: it could be read."""
        message = decode(data, _MESSAGE, _BARE)
        if message is None:
            return False
        self._id = text_or_none(message.id) or self._id
        self._model = text_or_none(message.model) or self._model
        if len(message.usage) > _NOTHING_BYTES:
            self._start = bytes(message.usage)
        if isinstance(message, _Bare):
            self._output_bytes += len(message.content)
        else:
            self._output_bytes += sum(map(_block_bytes, message.content or ()))
        return True


def _passes(stated: dict[str, Any], model: str | None) -> tuple[Pass, ...]:
    """One pass a model; none where the reply states no tokens."""
    if stated.get("input_tokens") is None and stated.get("output_tokens") is None:
        return ()
    top = _usage(stated)
    entries = stated.get("iterations")
    if not isinstance(entries, list):
        return (Pass(model, top),)
    by_model: dict[str | None, list[Pass]] = {model: []}
    for entry in entries:
        if isinstance(entry, dict):
            name = text_or_none(entry.get("model")) or model
            by_model.setdefault(name, []).append(Pass(name, _usage(entry)))
    summed = {name: merge(tuple(found)) for name, found in by_model.items()}
    if sum(total(usage, _TOKENS) for usage in summed.values()) < total(top, _TOKENS):
        return (Pass(model, top),)
    _share_top(top, summed[model])
    return tuple(Pass(name, usage) for name, usage in summed.items() if usage)


def _share_top(top: Usage, main: Usage) -> None:
    """Gives the model that was asked what only the top level states."""
    thought = min(top.get("reasoning", 0), main.get("output", 0))
    if thought and "reasoning" not in main:
        main["reasoning"] = thought
        main["output"] -= thought
    searches = top.get("web_search", 0)
    if searches:
        main["web_search"] = max(searches, main.get("web_search", 0))


def _usage(stated: dict[str, Any]) -> Usage:
    """Reads one usage block, or one iteration, into disjoint classes."""
    made = count(stated.get("output_tokens"))
    details = inner(stated, "output_tokens_details")
    thought = min(count(details.get("thinking_tokens")), made)
    short, long = _written(stated)
    tools = inner(stated, "server_tool_use")
    usage = {
        "input": count(stated.get("input_tokens")),
        "cache_read": count(stated.get("cache_read_input_tokens")),
        "cache_write_5m": short,
        "cache_write_1h": long,
        "output": made - thought,
        "reasoning": thought,
        "web_search": count(tools.get("web_search_requests")),
    }
    return {name: tokens for name, tokens in usage.items() if tokens}


def _written(stated: dict[str, Any]) -> tuple[int, int]:
    """Tokens written to the cache for 5 minutes and for an hour.

    The split comes with `message_start` alone, so a later total outranks it.
    """
    split = inner(stated, "cache_creation")
    short = count(split.get("ephemeral_5m_input_tokens"))
    long = count(split.get("ephemeral_1h_input_tokens"))
    if stated.get("cache_creation_input_tokens") is None:
        return short, long
    written = count(stated.get("cache_creation_input_tokens"))
    long = min(long, written)
    return written - long, long


def _start_bytes(started: _Block) -> int:
    return text_bytes(started.text) + text_bytes(started.name)


def _block_bytes(written: _Block) -> int:
    made = text_bytes(written.text) + text_bytes(written.thinking)
    if written.type in ("tool_use", "server_tool_use", "mcp_tool_use"):
        made += text_bytes(written.name) + len(written.input)
    return made
