"""The shapes inside requests, as far as a decision reads them.

Apart from their reader, which is compiled: a compiled structure loses the types of
its fields, and then nothing decodes into it (docs/adr/0007).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

TEXT: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)
WHOLE: Final[msgspec.json.Decoder[int | float | None]] = msgspec.json.Decoder(
    int | float | None
)
FLAG: Final[msgspec.json.Decoder[bool | None]] = msgspec.json.Decoder(bool | None)


class Parameters(msgspec.Struct):
    """What a hosted tool is given."""

    model: Any = None


class Tool(msgspec.Struct):
    """A tool, or a further model."""

    type: Any = None
    model: Any = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")


class Metadata(msgspec.Struct):
    """What a request says of its end user."""

    user_id: Any = None


class Thinking(msgspec.Struct):
    """How long a model may think, in Anthropic's dialect."""

    type: str = ""
    budget_tokens: int = 0


class Thoughtful(msgspec.Struct):
    """A request, as far as its thinking goes."""

    thinking: Thinking | None = None


PARAMETERS: Final = msgspec.json.Decoder(Parameters)
TOOLS: Final = msgspec.json.Decoder(list[Tool] | None)
MODELS: Final = msgspec.json.Decoder(list[str] | None)
FALLBACKS: Final = msgspec.json.Decoder(list[str | Tool] | None)
METADATA: Final = msgspec.json.Decoder(Metadata | None)
THINKING: Final = msgspec.json.Decoder(Thoughtful)
