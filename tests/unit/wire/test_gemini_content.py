from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.core.usage import Pass, Reading
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import match

GENERATE = match(b"POST", b"/v1beta/models/g:generateContent")
STREAM = match(b"POST", b"/v1beta/models/g:streamGenerateContent")


def meter_reading(data: bytes, content_type: bytes) -> Reading:
    route = STREAM if b"event" in content_type else GENERATE
    assert route is not None
    meter = meter_for(
        route, streaming=True, content_type=content_type, strip_usage=False
    )
    passed = b"".join(meter.feed(data[i : i + 31]) for i in range(0, len(data), 31))
    rest, reading = meter.finish()
    assert passed + rest == data
    return reading


def read(document: object) -> Reading:
    return meter_reading(json.dumps(document).encode(), b"application/json")


def chunk(text: str, finish: str | None = None, **usage: Any) -> dict[str, Any]:  # noqa: ANN401
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    return {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-pro",
        "responseId": "r1",
    }


def test_generated_content_is_metered() -> None:
    """Cached and tool-use prompt, thoughts and modalities end in their classes."""
    document = chunk(
        "héllo",
        "STOP",
        promptTokenCount=1000,
        cachedContentTokenCount=400,
        toolUsePromptTokenCount=50,
        candidatesTokenCount=30,
        thoughtsTokenCount=70,
        totalTokenCount=1150,
        promptTokensDetails=[
            {"modality": "TEXT", "tokenCount": 700},
            {"modality": "AUDIO", "tokenCount": 200},
            {"modality": "IMAGE", "tokenCount": 100},
        ],
        cacheTokensDetails=[
            {"modality": "AUDIO", "tokenCount": 150},
            {"modality": "TEXT", "tokenCount": 250},
        ],
        candidatesTokensDetails=[
            {"modality": "IMAGE", "tokenCount": 10},
            {"modality": "AUDIO", "tokenCount": 5},
        ],
        serviceTier="standard",
    )
    parts = document["candidates"][0]["content"]["parts"]
    parts.append({"functionCall": {"name": "f"}})
    reading = read(document)
    assert reading.passes == (
        Pass(
            "gemini-2.5-pro",
            {
                "input": 500,
                "cache_read": 400,
                "input_audio": 50,
                "input_image": 100,
                "output": 15,
                "reasoning": 70,
                "output_image": 10,
                "output_audio": 5,
            },
        ),
    )
    assert reading.raw == (json.dumps(document["usageMetadata"]).encode(),)
    assert reading.response_id == "r1"
    assert reading.service_tier == "standard"
    assert reading.output_bytes == 6 + len('{"name": "f"}')
    assert reading.complete


CHUNKS = [
    chunk("Hé", promptTokenCount=8, totalTokenCount=8),
    chunk("llo", promptTokenCount=8, candidatesTokenCount=2, totalTokenCount=10),
    chunk(
        "!",
        "STOP",
        promptTokenCount=8,
        candidatesTokenCount=3,
        thoughtsTokenCount=4,
        totalTokenCount=15,
        trafficType="ON_DEMAND",
    ),
]


@pytest.mark.parametrize("kind", ["sse", "array"])
def test_content_streams_count_their_last_chunk(kind: str) -> None:
    """Counts are cumulative, in events and in the array that comes without alt=sse."""
    if kind == "sse":
        data = b"".join(f"data: {json.dumps(c)}\r\n\r\n".encode() for c in CHUNKS)
        reading = meter_reading(data, b"text/event-stream")
    else:
        reading = read(CHUNKS)
    assert reading.passes == (
        Pass("gemini-2.5-pro", {"input": 8, "output": 3, "reasoning": 4}),
    )
    assert reading.service_tier == "ON_DEMAND"
    assert reading.output_bytes == 7
    assert reading.complete


def test_a_count_that_a_later_chunk_drops_is_gone() -> None:
    """A whole usage replaces the one before it; a partial one adds to it."""
    first = chunk("x", promptTokenCount=8, candidatesTokenCount=5, totalTokenCount=13)
    whole = chunk("", promptTokenCount=8, thoughtsTokenCount=7, totalTokenCount=15)
    assert read([first, whole]).passes[0].usage == {"input": 8, "reasoning": 7}
    partial = chunk("", candidatesTokenCount=6)
    assert read([first, partial]).passes[0].usage == {"input": 8, "output": 6}


def test_modalities_may_be_numbers() -> None:
    """Vertex's protobuf clients write a modality as its number."""
    document = chunk(
        "x",
        "STOP",
        promptTokenCount=521,
        trafficType=1,
        promptTokensDetails=[
            {"modality": 2, "tokenCount": 516},
            {"modality": 1, "tokenCount": 5},
            {"modality": None, "tokenCount": 5},
            "odd",
        ],
    )
    reading = read(document)
    assert reading.passes[0].usage == {"input": 5, "input_image": 516}
    assert reading.service_tier is None


def test_a_blocked_prompt_is_complete() -> None:
    """A blocked prompt has its tokens and no candidates, and that is all of it."""
    document = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    }
    reading = meter_reading(
        f"data: {json.dumps(document)}\n\n".encode(), b"text/event-stream"
    )
    assert reading.passes == (Pass(None, {"input": 4}),)
    assert reading.complete


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"code": 429}},
        {"usageMetadata": {}},
        {"usageMetadata": []},
        [],
        [1],
        5,
    ],
)
def test_content_without_usage_has_no_passes(document: object) -> None:
    """Errors and odd shapes give no passes, and never raise."""
    assert read(document).passes == ()


def test_odd_candidates_do_not_cost_the_usage() -> None:
    """Candidates of unknown shape leave the usage readable."""
    document = chunk("x", "STOP", promptTokenCount=3, candidatesTokenCount=1)
    reading = read(document | {"candidates": "odd", "responseId": 5})
    assert reading.passes == (Pass("gemini-2.5-pro", {"input": 3, "output": 1}),)
    assert reading.output_bytes > 0


def test_what_only_the_total_shows_was_generated() -> None:
    """A chunk that leaves the candidates' tokens out still counts them."""
    document = chunk(
        "x",
        "STOP",
        promptTokenCount=8,
        toolUsePromptTokenCount=2,
        thoughtsTokenCount=5,
        totalTokenCount=40,
    )
    usage = {"input": 10, "reasoning": 5, "output": 25}
    assert read(document).passes[0].usage == usage
