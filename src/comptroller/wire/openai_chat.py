"""OpenAI chat completions: usage from bodies and streams."""

from __future__ import annotations

import msgspec

from comptroller.core.usage import Pass, Reading
from comptroller.wire.chat_shapes import (
    BARE,
    CHUNK,
    NOTHING_BYTES,
    REPLY,
    Bare,
    Call,
    Chunk,
    Message,
    Reply,
)
from comptroller.wire.counts import UNREADABLE, block, text_bytes, text_or_none
from comptroller.wire.openai_usage import read_usage, stated_cost
from comptroller.wire.reader import decode


class ChatReader:
    """Reads chat completions, whole or in chunks."""

    __slots__ = ("_id", "_is_complete", "_model", "_output_bytes", "_raw", "_tier")

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._raw = b""
        self._output_bytes = 0
        self._is_complete = False

    def event(self, payload: bytes) -> bool:
        """Reads one chunk; True: it has no choices and states the usage."""
        if payload == b"[DONE]":
            self._is_complete = True
            return False
        try:
            if self._model is None:
                reply = REPLY.decode(payload)
                # Azure's first chunk names neither.
                self._model = reply.model or None
                self._id = reply.id or self._id
                chunk: Reply | Chunk = reply
            else:
                chunk = CHUNK.decode(payload)
        except UNREADABLE:
            self._take(payload)
            return False
        choices = chunk.choices
        if choices:
            for choice in choices:
                if choice.delta is not None:
                    self._output_bytes += _message_bytes(choice.delta)
                if choice.finish_reason is not None:
                    self._is_complete = True
        if chunk.service_tier:
            self._tier = chunk.service_tier
        if len(chunk.usage) > NOTHING_BYTES or len(chunk.x_groq) > NOTHING_BYTES:
            return self._take_usage(chunk.usage, chunk.x_groq) and choices == []
        return False

    def body(self, data: bytes) -> None:
        """Reads a whole completion."""
        self._is_complete = self._take(data) or self._is_complete

    def reading(self) -> Reading:
        """The last usage stated; growing counts are cumulative."""
        raw = self._raw
        stated = block(raw) if raw else None
        usage = read_usage(stated) if stated is not None else None
        if stated is None or usage is None:
            return self._reading((), (), None)
        tier = text_or_none(stated.get("service_tier"))
        if self._tier is None:
            self._tier = tier
        return self._reading((Pass(self._model, usage),), (raw,), stated_cost(stated))

    def _reading(
        self, passes: tuple[Pass, ...], raw: tuple[bytes, ...], cost: int | None
    ) -> Reading:
        return Reading(
            passes,
            self._model,
            self._id,
            self._tier,
            raw,
            cost,
            self._output_bytes,
            self._is_complete,
        )

    def _take(self, data: bytes) -> bool:
        """Reads a document of any shape; True: it could be read."""
        reply = decode(data, REPLY, BARE)
        if reply is None:
            return False
        if isinstance(reply, Bare):
            self._output_bytes += len(reply.choices)
        else:
            for choice in reply.choices or ():
                for message in (choice.message, choice.delta):
                    if message is not None:
                        self._output_bytes += _message_bytes(message)
        self._id = text_or_none(reply.id) or self._id
        self._model = text_or_none(reply.model) or self._model
        self._tier = text_or_none(reply.service_tier) or self._tier
        self._take_usage(reply.usage, reply.x_groq)
        return True

    def _take_usage(self, usage: msgspec.Raw, x_groq: msgspec.Raw) -> bool:
        """Keeps the usage as written; True: the reply's own field states it."""
        if len(usage) > NOTHING_BYTES:
            self._raw = bytes(usage)
            return True
        if not self._raw and len(x_groq) > NOTHING_BYTES:
            groq = decode(bytes(x_groq), BARE)
            if groq is not None and len(groq.usage) > NOTHING_BYTES:
                self._raw = bytes(groq.usage)
        return False


def _message_bytes(message: Message) -> int:
    """UTF-8 bytes of what was generated in a message or a delta."""
    content = message.content
    written = 0
    if content is not None:
        if type(content) is str:
            written = text_bytes(content)
        else:
            written = len(msgspec.json.encode(content))
    thought = message.reasoning_content or message.reasoning
    if thought is not None:
        written += text_bytes(thought)
    if message.refusal is not None:
        written += text_bytes(message.refusal)
    if message.tool_calls is not None:
        for tool in message.tool_calls:
            written += _call_bytes(tool.function) + _call_bytes(tool.custom)
    if message.audio is not None:
        written += text_bytes(message.audio.transcript)
    return written + _call_bytes(message.function_call)


def _call_bytes(call: Call | None) -> int:
    if call is None:
        return 0
    return text_bytes(call.name) + text_bytes(call.arguments) + text_bytes(call.input)
