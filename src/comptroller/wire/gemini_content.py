"""Gemini generateContent: usage from bodies, event streams and JSON arrays.

Every chunk restates the whole usage so far, so the last one counts.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.core.usage import Pass, Reading, Usage
from comptroller.wire.counts import block, count, text_bytes, text_or_none
from comptroller.wire.reader import decode

_NULL: Final = msgspec.Raw(b"null")
_NOTHING_BYTES: Final = len(b"null")
_MODALITIES: Final = {2: "IMAGE", 4: "AUDIO"}
"""The protocol's numbers, which some clients write instead of the names."""


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    function_call: msgspec.Raw = msgspec.field(name="functionCall", default=_NULL)
    code: msgspec.Raw = msgspec.field(name="executableCode", default=_NULL)


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    finish_reason: Any = msgspec.field(name="finishReason", default=None)


class _Chunk(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    usage: msgspec.Raw = msgspec.field(name="usageMetadata", default=_NULL)
    model: str | None = msgspec.field(name="modelVersion", default=None)
    id: str | None = msgspec.field(name="responseId", default=None)
    feedback: msgspec.Raw = msgspec.field(name="promptFeedback", default=_NULL)


class _Bare(msgspec.Struct, gc=False):
    """A chunk of which nothing but the usage is as expected."""

    candidates: msgspec.Raw = _NULL
    usage: msgspec.Raw = msgspec.field(name="usageMetadata", default=_NULL)
    model: Any = msgspec.field(name="modelVersion", default=None)
    id: Any = msgspec.field(name="responseId", default=None)


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_BARE: Final = msgspec.json.Decoder(_Bare)
_CHUNKS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class ContentReader:
    """Reads generated content, whole or in chunks."""

    __slots__ = ("_id", "_is_complete", "_model", "_output_bytes", "_raw", "_stated")

    def __init__(self) -> None:
        self._id: str | None = None
        self._model: str | None = None
        self._raw = b""
        self._stated: dict[str, Any] = {}
        self._output_bytes = 0
        self._is_complete = False

    def event(self, payload: bytes) -> bool:
        """Reads one chunk."""
        self._take(payload)
        return False

    def body(self, data: bytes) -> None:
        """Reads a whole reply: one document, or a stream's array of them."""
        if not data.lstrip(b" \t\r\n").startswith(b"["):
            self._is_complete = self._take(data) or self._is_complete
            return
        for chunk in decode(data, _CHUNKS) or ():
            self._take(bytes(chunk))

    def reading(self) -> Reading:
        """The usage as last stated."""
        stated = self._stated
        usage = _usage(stated)
        tier = text_or_none(stated.get("serviceTier"))
        if tier is None:
            tier = text_or_none(stated.get("trafficType"))
        return Reading(
            () if usage is None else (Pass(self._model, usage),),
            self._model,
            self._id,
            tier,
            () if usage is None else (self._raw,),
            None,
            self._output_bytes,
            self._is_complete,
        )

    def _take(self, data: bytes) -> bool:
        """Reads a chunk; True: it could be read."""
        chunk = decode(data, _CHUNK, _BARE)
        if chunk is None:
            return False
        if isinstance(chunk, _Bare):
            self._output_bytes += len(chunk.candidates)
        else:
            for candidate in chunk.candidates or ():
                self._take_candidate(candidate)
            if len(chunk.feedback) > _NOTHING_BYTES:
                self._is_complete = True
        self._id = text_or_none(chunk.id) or self._id
        self._model = text_or_none(chunk.model) or self._model
        if len(chunk.usage) > _NOTHING_BYTES:
            self._raw = bytes(chunk.usage)
            stated = block(self._raw) or {}
            if stated.get("promptTokenCount") is None:
                # Not the whole usage: what it leaves out still holds.
                stated = self._stated | stated
            self._stated = stated
        return True

    def _take_candidate(self, candidate: _Candidate) -> None:
        if candidate.finish_reason is not None:
            self._is_complete = True
        if candidate.content is None:
            return
        for part in candidate.content.parts or ():
            self._output_bytes += text_bytes(part.text)
            for written in (part.function_call, part.code):
                if len(written) > _NOTHING_BYTES:
                    self._output_bytes += len(written)


def _usage(stated: dict[str, Any]) -> Usage | None:
    """Reads the usage into disjoint classes; None: it states no tokens.

    The prompt includes what the cache held but not what tools brought in; the
    candidates exclude thoughts.
    """
    names = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
    if all(stated.get(name) is None for name in names):
        return None
    prompt = count(stated.get("promptTokenCount"))
    left = prompt + count(stated.get("toolUsePromptTokenCount"))
    asked = _by_modality(stated, "promptTokensDetails", "toolUsePromptTokensDetails")
    cached = _by_modality(stated, "cacheTokensDetails")
    usage: Usage = {}
    left = _part(
        usage, "cache_read", count(stated.get("cachedContentTokenCount")), left
    )
    audio = asked.get("AUDIO", 0) - cached.get("AUDIO", 0)
    left = _part(usage, "input_audio", audio, left)
    image = asked.get("IMAGE", 0) - cached.get("IMAGE", 0)
    left = _part(usage, "input_image", image, left)
    _part(usage, "input", left, left)
    made = _by_modality(stated, "candidatesTokensDetails")
    thought = count(stated.get("thoughtsTokenCount"))
    _part(usage, "reasoning", thought, thought)
    left = count(stated.get("candidatesTokenCount"))
    if not left and (prompt or thought):
        # What only the total shows was generated, too.
        brought = count(stated.get("toolUsePromptTokenCount"))
        left = count(stated.get("totalTokenCount")) - prompt - brought - thought
    left = _part(usage, "output_audio", made.get("AUDIO", 0), left)
    left = _part(usage, "output_image", made.get("IMAGE", 0), left)
    _part(usage, "output", left, left)
    return usage


def _by_modality(stated: dict[str, Any], *names: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        details = stated.get(name)
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                kind = detail.get("modality")
                if type(kind) is int:
                    kind = _MODALITIES.get(kind)
                if isinstance(kind, str):
                    found[kind] = found.get(kind, 0) + count(detail.get("tokenCount"))
    return found


def _part(usage: Usage, name: str, tokens: int, left: int) -> int:
    """Takes one class out of what is left; returns what then is left."""
    taken = max(min(tokens, left), 0)
    if taken:
        usage[name] = taken
    return left - taken
