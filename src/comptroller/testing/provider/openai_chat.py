"""OpenAI: chat completions, embeddings and models."""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

from comptroller.core.usage import Usage
from comptroller.testing.provider.answer import (
    CREATED_S,
    EVENT_STREAM,
    JSON,
    Answer,
    Ask,
    RefusedError,
    automatic_cache,
    encode,
    tokens_in,
    whole,
)
from comptroller.testing.provider.tokens import Length, pieces

DIMENSIONS: Final = 1536
DIMENSIONS_MAX: Final = 3072
CHOICES_MAX: Final = 128


def data(value: object) -> bytes:
    """An unnamed server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def prompt(ask: Ask, field: str, prefix: object) -> tuple[int, int]:
    """Tokens of the prompt, and how many of them came from the cache."""
    tokens = tokens_in(ask.body, field, "tools", "functions", "instructions")
    if not tokens:
        raise RefusedError(400, f"Missing required parameter: '{field}'.")
    in_prefix = max(1, len(encode(prefix)) // 4)
    tokens = ask.prompt_tokens(tokens)
    return tokens, min(automatic_cache(ask, prefix, in_prefix), tokens - 1)


def disjoint(tokens: int, cached: int, length: Length, choices: int = 1) -> Usage:
    """The bill of one reply."""
    usage = {
        "input": tokens - cached,
        "cache_read": cached,
        "output": length.output * choices,
        "reasoning": length.reasoning * choices,
    }
    return {name: count for name, count in usage.items() if count}


def chat_usage(usage: Usage) -> dict[str, Any]:
    """The usage block of a chat completion."""
    cached, reasoning = usage.get("cache_read", 0), usage.get("reasoning", 0)
    prompt_tokens = usage.get("input", 0) + cached
    completion_tokens = usage.get("output", 0) + reasoning
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat(ask: Ask) -> Answer:
    """`POST /v1/chat/completions`, body or stream."""
    body = ask.body
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusedError(400, "Missing required parameter: 'messages'.")
    ceiling = whole(body.get("max_completion_tokens", body.get("max_tokens")))
    tokens, cached = prompt(ask, "messages", messages[0])
    length = ask.length(ask.model, ceiling)
    choices = min(whole(body.get("n")) or 1, CHOICES_MAX)
    usage = disjoint(tokens, cached, length, choices)
    model = ask.answered_as(ask.model)
    if body.get("stream"):
        parts = chat_stream(ask, model, length, usage)
        return Answer(EVENT_STREAM, parts, model, usage)
    text = "".join(pieces(length.output, ask.serial)).strip()
    reply: dict[str, Any] = {
        "id": ask.identifier("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED_S,
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "length" if length.cut else "stop",
            }
            for index in range(choices)
        ],
        "service_tier": "default",
        "system_fingerprint": None,
    }
    if ask.states_usage():
        reply["usage"] = chat_usage(usage)
    return Answer(JSON, [encode(reply)], model, usage)


def chat_stream(ask: Ask, model: str, length: Length, usage: Usage) -> list[bytes]:
    """The events of a streamed chat completion, the usage chunk where asked for."""
    options = ask.body.get("stream_options") or {}
    wants_usage = bool(options.get("include_usage")) and ask.states_usage()
    choices = min(whole(ask.body.get("n")) or 1, CHOICES_MAX)
    base: dict[str, Any] = {
        "id": ask.identifier("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": CREATED_S,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": None,
    }
    if wants_usage:
        base["usage"] = None

    def event(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None}
        return data({**base, "choices": [{**choice, "finish_reason": finish}]})

    first = {"role": "assistant", "content": "", "refusal": None}
    parts = [event(index, first) for index in range(choices)]
    for piece in pieces(length.output, ask.serial):
        parts.extend(event(index, {"content": piece}) for index in range(choices))
    finish = "length" if length.cut else "stop"
    parts.extend(event(index, {}, finish) for index in range(choices))
    if wants_usage:
        parts.append(data({**base, "choices": [], "usage": chat_usage(usage)}))
    parts.append(b"data: [DONE]\n\n")
    return parts


def embeddings(ask: Ask) -> Answer:
    """`POST /v1/embeddings`, floats or base64."""
    given = ask.body.get("input")
    if not given:
        raise RefusedError(400, "Missing required parameter: 'input'.")
    inputs = given if isinstance(given, list) and isinstance(given[0], str) else [given]
    size = min(whole(ask.body.get("dimensions")) or DIMENSIONS, DIMENSIONS_MAX)
    as_base64 = ask.body.get("encoding_format") == "base64"
    model = ask.answered_as(ask.model)
    usage = {"input": sum(tokens_in({"input": one}, "input") for one in inputs)}

    def vector(index: int) -> list[float] | str:
        start = ask.draw.share(f"vector {index}")
        floats = [((start + 0.618 * place) % 1.0 - 0.5) / 8 for place in range(size)]
        if as_base64:
            return base64.b64encode(struct.pack(f"<{size}f", *floats)).decode()
        return floats

    reply: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector(index)}
            for index in range(len(inputs))
        ],
        "model": model,
    }
    if ask.states_usage():
        reply["usage"] = {
            "prompt_tokens": usage["input"],
            "total_tokens": usage["input"],
        }
    return Answer(JSON, [encode(reply)], model, usage)


def model_entry(name: str) -> dict[str, Any]:
    """One model as both OpenAI's and Anthropic's clients read it."""
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "created": CREATED_S,
        "created_at": "2026-01-01T00:00:00Z",
        "display_name": name,
        "owned_by": "simulated",
    }


MODELS: Final = (
    "gpt-5-mini",
    "gpt-4.1-mini",
    "text-embedding-3-small",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
)


def models(ask: Ask) -> Answer:
    """`GET /v1/models` and `GET /v1/models/{id}`."""
    name = ask.path.partition("/models")[2].strip("/")
    if name:
        return Answer(JSON, [encode(model_entry(name))])
    entries = [model_entry(name) for name in MODELS]
    edges = {"first_id": MODELS[0], "last_id": MODELS[-1], "has_more": False}
    return Answer(JSON, [encode({"object": "list", "data": entries, **edges})])


def error(status: int, message: str) -> bytes:
    """OpenAI's error shape."""
    kind = "rate_limit_exceeded" if status == 429 else None
    types = {
        429: "requests",
        401: "invalid_request_error",
        400: "invalid_request_error",
    }
    return encode(
        {
            "error": {
                "message": message,
                "type": types.get(status, "server_error"),
                "param": None,
                "code": kind,
            }
        }
    )
