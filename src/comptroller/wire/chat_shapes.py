"""The shapes of OpenAI chat completions, as far as a meter reads them.

Apart from their reader, which is compiled: a compiled structure loses the types of
its fields, and then nothing decodes into it (docs/adr/0007).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

NULL: Final = msgspec.Raw(b"null")
NOTHING_BYTES: Final = len(b"null")
"""A field of at most so many bytes is absent."""


class Call(msgspec.Struct, gc=False):
    """A tool call: its name and what it is given."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class Tool(msgspec.Struct, gc=False):
    """One of the tools that a reply calls."""

    function: Call | None = None
    custom: Call | None = None


class Text(msgspec.Struct, gc=False):
    """What was spoken."""

    transcript: str | None = None


class Message(msgspec.Struct, gc=False):
    """What was generated: a whole message, or a delta of it."""

    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Tool] | None = None
    function_call: Call | None = None
    audio: Text | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the replies asked for."""

    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None


class Reply(msgspec.Struct, gc=False):
    """A whole completion, or a first chunk."""

    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    x_groq: msgspec.Raw = NULL
    service_tier: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk behind the first that names the model."""

    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    x_groq: msgspec.Raw = NULL
    service_tier: str | None = None


class Bare(msgspec.Struct, gc=False):
    """A reply of which nothing but the usage is as expected."""

    id: Any = None
    model: Any = None
    choices: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL
    x_groq: msgspec.Raw = NULL
    service_tier: Any = None


REPLY: Final = msgspec.json.Decoder(Reply)
CHUNK: Final = msgspec.json.Decoder(Chunk)
BARE: Final = msgspec.json.Decoder(Bare)
