"""Anthropic: messages and count_tokens."""

from __future__ import annotations

from typing import Any

from comptroller.core.usage import Usage
from comptroller.testing.provider.answer import (
    EVENT_STREAM,
    JSON,
    Answer,
    Ask,
    RefusedError,
    encode,
    tokens_in,
    whole,
)
from comptroller.testing.provider.tokens import (
    CACHE_TOKENS_MIN,
    Length,
    bounded,
    pieces,
)


def disjoint(ask: Ask, length: Length) -> Usage:
    """The bill: with `cache_control`, tools and system are written, then read."""
    tokens = ask.prompt_tokens(tokens_in(ask.body, "messages", "system", "tools"))
    prefix = {name: ask.body.get(name) for name in ("tools", "system")}
    in_prefix = min(tokens_in(ask.body, "tools", "system"), tokens - 1)
    marks = encode(ask.body)
    usage = {"input": tokens, "output": length.output}
    if b'"cache_control"' in marks and in_prefix >= CACHE_TOKENS_MIN:
        written = "cache_write_1h" if b'"ttl":"1h"' in marks else "cache_write_5m"
        seen = ask.prefixes.seen_before(encode(prefix))
        usage = {**usage, "input": tokens - in_prefix}
        usage["cache_read" if seen else written] = in_prefix
    return {name: count for name, count in usage.items() if count}


def usage_block(usage: Usage, output_tokens: int) -> dict[str, Any]:
    """Anthropic's usage, with so many output tokens so far."""
    short, long = usage.get("cache_write_5m", 0), usage.get("cache_write_1h", 0)
    return {
        "input_tokens": usage.get("input", 0),
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": usage.get("cache_read", 0),
        "cache_creation": {
            "ephemeral_5m_input_tokens": short,
            "ephemeral_1h_input_tokens": long,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def messages(ask: Ask) -> Answer:
    """`POST /v1/messages`, body or stream."""
    body = ask.body
    if not body.get("messages"):
        raise RefusedError(400, "messages: Field required")
    ceiling = whole(body.get("max_tokens"))
    if ceiling is None:
        raise RefusedError(400, "max_tokens: Field required")
    wanted = ask.behaviour.output
    drawn = ask.draw.output_tokens() if wanted is None else wanted
    length = bounded(drawn, 0, ceiling)
    usage = disjoint(ask, length)
    model = ask.answered_as(ask.model)
    reply: dict[str, Any] = {
        "model": model,
        "id": ask.identifier("msg_01"),
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    stop_reason = "max_tokens" if length.cut else "end_turn"
    text = pieces(length.output, ask.serial)
    if body.get("stream"):
        parts = messages_stream(ask, reply, text, usage, stop_reason)
        return Answer(EVENT_STREAM, parts, model, usage)
    reply["content"] = [{"type": "text", "text": "".join(text).strip()}]
    reply["stop_reason"] = stop_reason
    if ask.states_usage():
        reply["usage"] = usage_block(usage, length.output)
    return Answer(JSON, [encode(reply)], model, usage)


def event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401  JSON
    """A named server-sent event."""
    value = encode({"type": kind, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), value)


def messages_stream(
    ask: Ask, reply: dict[str, Any], text: list[str], usage: Usage, stop_reason: str
) -> list[bytes]:
    """The events of a streamed message; usage is cumulative, first and last."""
    stated = ask.states_usage()
    start = {**reply, "usage": usage_block(usage, 1)} if stated else reply
    parts = [
        event("message_start", message=start),
        event(
            "content_block_start", index=0, content_block={"type": "text", "text": ""}
        ),
        event("ping"),
    ]
    for piece in text:
        delta = {"type": "text_delta", "text": piece}
        parts.append(event("content_block_delta", index=0, delta=delta))
    parts.append(event("content_block_stop", index=0))
    last: dict[str, Any] = {
        "delta": {"stop_reason": stop_reason, "stop_sequence": None}
    }
    if stated:
        whole_usage = usage_block(usage, usage.get("output", 0))
        del whole_usage["service_tier"], whole_usage["cache_creation"]
        last["usage"] = whole_usage
    parts.append(event("message_delta", **last))
    parts.append(event("message_stop"))
    return parts


def count_tokens(ask: Ask) -> Answer:
    """`POST /v1/messages/count_tokens`; nothing is billed."""
    if not ask.body.get("messages"):
        raise RefusedError(400, "messages: Field required")
    tokens = tokens_in(ask.body, "messages", "system", "tools")
    return Answer(JSON, [encode({"input_tokens": tokens})])


def error(status: int, message: str) -> bytes:
    """Anthropic's error shape."""
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    kind = kinds.get(status, "api_error")
    return encode({"type": "error", "error": {"type": kind, "message": message}})
