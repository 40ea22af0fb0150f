"""Every recorded exchange of our dialects, read by the meters alone.

The same exchanges go through a real gateway process elsewhere; this run needs
seconds, and says whether a difference lies in the meters.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest

from comptroller.core.usage import (
    GENERATED_CLASSES,
    PROMPT_CLASSES,
    Reading,
    Usage,
    merge,
    total,
)
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import Route, match

RECORDED: Final = Path(__file__).parents[3] / "shared" / "recorded" / "shared.jsonl.gz"
DIFFERENCES: Final = Path(__file__).with_name("metering_differences.json")
PATHS: Final = {
    "openai.chat": b"/v1/chat/completions",
    "openai.responses": b"/v1/responses",
    "openai.embeddings": b"/v1/embeddings",
    "anthropic.messages": b"/v1/messages",
    "gemini.generateContent": b"/v1beta/models/m:generateContent",
    "gemini.streamGenerateContent": b"/v1beta/models/m:streamGenerateContent",
}
CACHE_WRITES: Final = tuple(n for n in PROMPT_CLASSES if n.startswith("cache_write"))


def recorded() -> Iterator[dict[str, Any]]:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        for line in lines:
            exchange = json.loads(line)
            if exchange["wire"] in PATHS:
                yield exchange


def as_recorded(usage: Usage) -> dict[str, int]:
    """Disjoint classes in the recordings' convention: subsets of two totals."""
    counts = {
        "input_tokens": total(usage, PROMPT_CLASSES),
        "output_tokens": total(usage, GENERATED_CLASSES),
        "cache_read_tokens": usage.get("cache_read", 0),
        "cache_write_tokens": total(usage, CACHE_WRITES),
        "cache_write_1h_tokens": usage.get("cache_write_1h", 0),
        "reasoning_tokens": usage.get("reasoning", 0),
        "input_audio_tokens": usage.get("input_audio", 0),
        "input_image_tokens": usage.get("input_image", 0),
        "output_audio_tokens": usage.get("output_audio", 0),
        "output_image_tokens": usage.get("output_image", 0),
        "web_search_requests": usage.get("web_search", 0),
    }
    return {name: count for name, count in counts.items() if count}


def body_of(exchange: dict[str, Any]) -> bytes | None:
    """The reply's bytes; None: the recordings dropped a large body."""
    text = exchange.get("body_text")
    if text is not None:
        return str(text).encode()
    body = exchange.get("body")
    if body is None:
        return None
    written = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


def rebuilt(exchange: dict[str, Any]) -> bytes:
    """A small reply around the usage of one whose body was dropped."""
    is_gemini = exchange["wire"].startswith("gemini")
    model, usage = (
        ("modelVersion", "usageMetadata") if is_gemini else ("model", "usage")
    )
    stated = (exchange["usage_raw"] or [None])[-1]
    return json.dumps({model: exchange["model_responded"], usage: stated}).encode()


def read(exchange: dict[str, Any], data: bytes, *, is_stream: bool) -> Reading:
    """Feeds a reply in pieces of odd sizes, and holds the meter to its bytes."""
    route = match(b"POST", PATHS[exchange["wire"]])
    assert isinstance(route, Route)
    kind = b"text/event-stream" if is_stream else b"application/json"
    meter = meter_for(route, streaming=is_stream, content_type=kind, strip_usage=False)
    sizes = cycle(
        size * size // 16 + 1
        for size in hashlib.sha256(exchange["id"].encode()).digest()
    )
    passed = []
    at = 0
    while at < len(data):
        size = next(sizes)
        passed.append(meter.feed(data[at : at + size]))
        at += size
    rest, reading = meter.finish()
    assert b"".join((*passed, rest)) == data
    return reading


def differences(exchange: dict[str, Any]) -> dict[str, list[object]]:
    """Field by field, what was expected and what the meter read."""
    data = body_of(exchange)
    is_stream = exchange.get("body_text") is not None and exchange["stream"]
    reading = read(exchange, data or rebuilt(exchange), is_stream=is_stream)
    expected = dict(exchange["metering"]["expected"] or {})
    cost = expected.pop("cost_usd", None)
    expected.pop("tool_prompt_tokens", None)  # part of the input, no class apart
    ours: dict[str, object] = dict(as_recorded(merge(reading.passes)))
    if data is None:
        for counts in (expected, ours):
            counts.pop("web_search_requests", None)  # in the body that was dropped
    if exchange["metering"]["expected"] is None:
        return {"passes": [0, len(reading.passes)]} if reading.passes else {}
    expected["cost_nano_usd"] = None
    if cost is not None:
        nano_usd = Decimal(str(cost)) * 10**9
        expected["cost_nano_usd"] = int(nano_usd.to_integral_value(ROUND_HALF_UP))
    ours["cost_nano_usd"] = reading.stated_cost_nano_usd
    expected["model"] = exchange["model_responded"]
    ours["model"] = reading.model_answered
    return {
        name: [expected.get(name, 0), ours.get(name, 0)]
        for name in sorted(expected.keys() | ours.keys())
        if expected.get(name, 0) != ours.get(name, 0)
    }


@pytest.mark.timeout(300)
def test_every_recorded_exchange_is_metered_as_expected() -> None:
    """All that two parsers agree on is exact, and every difference was reviewed."""
    reviewed: dict[str, dict[str, Any]] = json.loads(DIFFERENCES.read_text())
    found: dict[str, dict[str, list[object]]] = {}
    tally: Counter[str] = Counter()
    for exchange in recorded():
        tally["replayed"] += 1
        tally["rebuilt from the usage alone"] += body_of(exchange) is None
        differing = differences(exchange)
        tally["different" if differing else "exact"] += 1
        if differing:
            found[exchange["id"]] = differing
    print(dict(tally))
    assert tally["replayed"] > 3_000
    assert found == {name: entry["differences"] for name, entry in reviewed.items()}
    assert all(entry["reason"] for entry in reviewed.values())
