"""Counting: how many tokens a prompt has, where a tokenizer is exact.

Bytes bound a prompt at about four times what it has. For models whose tokenizer is
known, every text that they are shown is counted exactly, schemas of tools by half as
much again as their text, and the rest by its bytes. It is used where these do not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice
from comptroller.wire.raw import BRACKET, QUOTE, RawObject, first_byte, text_of
from comptroller.wire.routes import Operation, Route

BODY_BYTES_MAX: Final = 512 * 1024
"""A longer body is not counted: the worker would stand still for 20 ms and more."""

MESSAGE_TOKENS: Final = 8
"""Around each message: three marks and its role make four, a name one more."""

PROMPT_TOKENS: Final = 32
"""Around them all: three, and up to 18 more in 1,400 recorded prompts."""

TOOLS_TOKENS: Final = 512
"""Instructions that the provider adds where tools are given."""

_TOOLS: Final = frozenset({"tools", "functions"})
_RENDERED: Final = _TOOLS | {"response_format", "text"}

Count: TypeAlias = Callable[[str], int]
"""The tokens of a text, exactly."""

_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_TEXTS: Final = msgspec.json.Decoder(list[str])

_ENCODINGS: Final = (
    (
        "o200k_base",
        re.compile(r"(?:ft:)?(?:gpt-4o|gpt-4\.1|gpt-5|chatgpt-4o|o[134])\b"),
    ),
    ("cl100k_base", re.compile(r"(?:ft:)?(?:gpt-4|gpt-3\.5-turbo|gpt-35-turbo)\b")),
    ("cl100k_base", re.compile(r"text-embedding-(?:3-|ada-002)")),
)
_OPENAI_HOST: Final = re.compile(
    r"(?:[a-z0-9-]+\.)*(?:api\.openai\.com|openai\.azure\.com"
    r"|services\.ai\.azure\.com|cognitiveservices\.azure\.com)"
)

_UNSEEN: Final = frozenset(
    {
        "background",
        "frequency_penalty",
        "include",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
        "verbosity",
    }
)
"""Fields that no model is shown; of any other the bytes count."""


def encoding_of(host: str, upstream: str) -> str | None:
    """The tokenizer of a model, where it is exact; None: there is none.

    Args:
        host: of the provider's URL: OpenAI's and Azure's alone are taken at their
            word. What stands behind another may add to a prompt what it likes.
        upstream: the provider's name of the model.
    """
    if _OPENAI_HOST.fullmatch(host) is None:
        return None
    for encoding, names in _ENCODINGS:
        if names.match(upstream) is not None:
            return encoding
    return None


def count_bound(
    route: Route, body: bytes, input_bytes: int, count: Count
) -> int | None:
    """An upper bound of a prompt's tokens, exact but for what is not understood.

    Args:
        route: the request's route.
        body: a body that `read_facts` has read, as it is sent.
        input_bytes: `Extras.input_bytes` of it, for what images are billed at.
        count: the exact tokenizer of the model.

    Returns:
        Tokens; None: the body tells too little, its bytes have to do.
    """
    read = _READ.get(route.operation)
    if read is None or len(body) > BODY_BYTES_MAX:
        return None
    try:
        tokens = read(splice.members(body), count)
    except (msgspec.MsgspecError, BadRequestError, ValueError, RecursionError):
        return None
    # An image counts in its bytes here, and there at what it is billed at the most.
    return tokens + max(0, input_bytes - len(body))


def _chat(found: RawObject, count: Count) -> int:
    tokens = PROMPT_TOKENS
    for name, written in found.items():
        if name == "messages":
            tokens += sum(_message(one, count) for one in _OBJECTS.decode(written))
        elif name not in _UNSEEN:
            tokens += _schema(name, written, count)
    return tokens


def _responses(found: RawObject, count: Count) -> int:
    tokens = PROMPT_TOKENS
    for name, written in found.items():
        if name == "instructions" or (name == "input" and first_byte(written) == QUOTE):
            tokens += MESSAGE_TOKENS + _content(written, count)
        elif name == "input":
            tokens += sum(_message(one, count) for one in _OBJECTS.decode(written))
        elif name not in _UNSEEN:
            tokens += _schema(name, written, count)
    return tokens


def _embeddings(found: RawObject, count: Count) -> int:
    written = found.get("input", msgspec.Raw(b"null"))
    if first_byte(written) == QUOTE:
        return _string(written, count) + 1
    return sum(count(text) + 1 for text in _TEXTS.decode(written))


_READ: Final[dict[Operation, Callable[[RawObject, Count], int]]] = {
    Operation.CHAT: _chat,
    Operation.RESPONSES: _responses,
    Operation.EMBEDDINGS: _embeddings,
}


def _schema(name: str, written: msgspec.Raw, count: Count) -> int:
    """A field that the provider renders in a form of its own, or does not show.

    In 639 recorded requests with tools or formats the rendering had 0.57 tokens for
    each of the JSON text's (median), and never more than 1.5 and 352 above.
    """
    size = len(written)
    if name in _RENDERED:
        size = min(size, count(bytes(written).decode()) * 3 // 2)
    return size + TOOLS_TOKENS if name in _TOOLS else size


def _message(message: RawObject, count: Count) -> int:
    tokens = MESSAGE_TOKENS
    for name, written in message.items():
        if name in ("content", "output"):
            tokens += _content(written, count)
        elif name not in ("role", "type"):
            tokens += len(written)
    return tokens


def _content(written: msgspec.Raw, count: Count) -> int:
    if first_byte(written) == QUOTE:
        return _string(written, count)
    if first_byte(written) != BRACKET:
        return len(written)
    tokens = 0
    for part in _OBJECTS.decode(written):
        for name, value in part.items():
            if name == "text" and first_byte(value) == QUOTE:
                tokens += _string(value, count) + 1
            elif name != "type":
                tokens += len(value)
    return tokens


def _string(written: msgspec.Raw, count: Count) -> int:
    return count(text_of(written) or "")
