"""OpenAI chat completions: usage from bodies and streams."""

from __future__ import annotations

import msgspec

from comptroller.core.usage import Pass, Reading


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Reply(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"{}")


_REPLY = msgspec.json.Decoder(_Reply)
_USAGE = msgspec.json.Decoder(_Usage)


class ChatBody:
    """Reads a chat completion that is one JSON document."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Keeps the bytes and passes them on."""
        self._parts.append(data)
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Reads the usage from the whole body."""
        try:
            reply = _REPLY.decode(b"".join(self._parts))
            raw = bytes(reply.usage)
            usage = _USAGE.decode(raw)
        except msgspec.MsgspecError:
            return b"", Reading((), None, None, None, (), None, 0, complete=False)
        counts = {"input": usage.prompt_tokens, "output": usage.completion_tokens}
        passes = (Pass(reply.model, counts),)
        return b"", Reading(
            passes, reply.model, reply.id, None, (raw,), None, 0, complete=True
        )
