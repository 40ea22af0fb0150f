"""Gemini: generateContent, streamGenerateContent (events or array), countTokens."""

from __future__ import annotations

from typing import Any

from comptroller.core.usage import Usage
from comptroller.testing.provider.answer import (
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


def path_model(ask: Ask) -> str:
    """The model that the path names."""
    return ask.path.partition("/models/")[2].rpartition(":")[0]


def prompt_tokens(ask: Ask) -> int:
    """Tokens put before the model; in countTokens they may sit one level deeper."""
    body = ask.body.get("generateContentRequest") or ask.body
    if not body.get("contents"):
        raise RefusedError(400, "* GenerateContentRequest.contents: is not specified")
    return tokens_in(body, "contents", "systemInstruction", "tools")


def usage_block(usage: Usage, candidates: int) -> dict[str, Any]:
    """`usageMetadata`, with so many visible tokens so far."""
    cached, thoughts = usage.get("cache_read", 0), usage.get("reasoning", 0)
    prompt = usage.get("input", 0) + cached
    block: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt + candidates + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if cached:
        block["cachedContentTokenCount"] = cached
        block["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": cached}]
    if thoughts:
        block["thoughtsTokenCount"] = thoughts
    return block


def measured(ask: Ask) -> tuple[Length, Usage]:
    """How long the answer is, and its bill."""
    tokens = prompt_tokens(ask)
    prefix = ask.body.get("systemInstruction") or ask.body["contents"]
    in_prefix = len(encode(prefix)) // 4
    cached = min(automatic_cache(ask, prefix, in_prefix), tokens - 1)
    settings = ask.body.get("generationConfig") or {}
    length = ask.length(path_model(ask), whole(settings.get("maxOutputTokens")))
    usage = {
        "input": tokens - cached,
        "cache_read": cached,
        "output": length.output,
        "reasoning": length.reasoning,
    }
    return length, {name: count for name, count in usage.items() if count}


def candidate(text: str, finish: str | None) -> dict[str, Any]:
    """The only candidate, with some text and perhaps its end."""
    content = {"parts": [{"text": text}], "role": "model"}
    one: dict[str, Any] = {"content": content, "index": 0}
    return one if finish is None else {**one, "finishReason": finish}


def generate(ask: Ask) -> Answer:
    """`POST …:generateContent`."""
    length, usage = measured(ask)
    text = "".join(pieces(length.output, ask.serial)).strip()
    finish = "MAX_TOKENS" if length.cut else "STOP"
    model = ask.answered_as(path_model(ask))
    reply: dict[str, Any] = {"candidates": [candidate(text, finish)]}
    if ask.states_usage():
        reply["usageMetadata"] = usage_block(usage, length.output)
    reply |= {"modelVersion": model, "responseId": ask.identifier("")}
    return Answer(JSON, [encode(reply)], model, usage)


def stream(ask: Ask) -> Answer:
    """`POST …:streamGenerateContent`: events with `alt=sse`, else one JSON array."""
    length, usage = measured(ask)
    finish = "MAX_TOKENS" if length.cut else "STOP"
    model = ask.answered_as(path_model(ask))
    text = pieces(length.output, ask.serial) or [""]
    values = []
    for count, piece in enumerate(text, 1):
        last = count == len(text)
        value: dict[str, Any] = {
            "candidates": [candidate(piece, finish if last else None)]
        }
        if ask.states_usage():
            value["usageMetadata"] = usage_block(usage, min(count, length.output))
        value |= {"modelVersion": model, "responseId": ask.identifier("")}
        values.append(encode(value))
    if "alt=sse" in ask.query.split("&"):
        parts = [b"data: " + value + b"\r\n\r\n" for value in values]
        return Answer(EVENT_STREAM, parts, model, usage)
    parts = [b"[" + values[0], *(b"\n,\r\n" + value for value in values[1:]), b"]"]
    return Answer(JSON, parts, model, usage)


def count_tokens(ask: Ask) -> Answer:
    """`POST …:countTokens`; nothing is billed."""
    tokens = prompt_tokens(ask)
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    reply = {"totalTokens": tokens, "promptTokensDetails": details}
    return Answer(JSON, [encode(reply)])


def error(status: int, message: str) -> bytes:
    """Gemini's error shape."""
    names = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        503: "UNAVAILABLE",
    }
    name = names.get(status, "INTERNAL")
    return encode({"error": {"code": status, "message": message, "status": name}})
