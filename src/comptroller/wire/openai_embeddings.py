"""OpenAI embeddings: usage from bodies."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.core.usage import Pass, Reading
from comptroller.wire.counts import block, text_or_none
from comptroller.wire.openai_usage import read_usage, stated_cost
from comptroller.wire.reader import decode


class _Reply(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


_REPLY: Final = msgspec.json.Decoder(_Reply)


class EmbeddingsReader:
    """Reads embeddings; the vectors themselves are skipped."""

    __slots__ = ("_reply",)

    def __init__(self) -> None:
        self._reply: _Reply | None = None

    def event(self, payload: bytes) -> bool:
        """Reads an event as a body; embeddings are not streamed."""
        self.body(payload)
        return False

    def body(self, data: bytes) -> None:
        """Reads the whole reply."""
        reply = decode(data, _REPLY)
        if reply is not None:
            self._reply = reply

    def reading(self) -> Reading:
        """The usage; nothing is generated."""
        reply = self._reply
        if reply is None:
            return Reading((), None, None, None, (), None, 0, complete=False)
        model = text_or_none(reply.model)
        raw = bytes(reply.usage)
        stated = block(raw)
        usage = read_usage(stated) if stated is not None else None
        if stated is None or usage is None:
            return Reading(
                (), model, text_or_none(reply.id), None, (), None, 0, complete=True
            )
        return Reading(
            (Pass(model, usage),),
            model,
            text_or_none(reply.id),
            None,
            (raw,),
            stated_cost(stated),
            0,
            complete=True,
        )
