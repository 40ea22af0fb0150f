"""The recorded exchanges: what was asked, what was answered, what it consumed."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, total

ROOT: Final = Path(__file__).parents[2]
SHARED: Final = Path(os.environ.get("SHARED") or ROOT.parent / "shared")
RECORDED: Final = SHARED / "recorded" / "shared.jsonl.gz"
DIFFERENCES: Final = Path(__file__).with_name("metering_differences.json")
REFUSALS: Final = Path(__file__).with_name("metering_refusals.json")

PATHS: Final = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "openai.embeddings": "/v1/embeddings",
    "anthropic.messages": "/v1/messages",
    "gemini.generateContent": "/v1beta/models/{model}:generateContent",
    "gemini.streamGenerateContent": "/v1beta/models/{model}:streamGenerateContent",
}
"""The wires that the gateway speaks, and where it serves them."""

UNNAMED: Final = "unnamed-model"
"""Asked for where neither the request nor the reply names a model."""

_CACHE_WRITES: Final = tuple(n for n in PROMPT_CLASSES if n.startswith("cache_write"))
_OF_THE_CONNECTION: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

Differences = dict[str, list[object]]
"""Field to what was expected and what was read."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded exchange of a wire that the gateway speaks."""

    id: str
    wire: str
    oracle: str | None
    stream: bool
    """Whether the client asked for a stream."""
    status: int
    model: str
    """As the request names it, else as the reply does."""
    answered: str | None
    request: Mapping[str, Any] | None
    """The recorded request's body; None: it was not recorded."""
    request_headers: Mapping[str, str]
    headers: Mapping[str, str]
    """Of the reply, without those of its connection."""
    body: bytes | None
    """Of the reply, decoded; None: the recordings dropped a large one."""
    dropped_bytes: int
    """How large that one was."""
    is_event_stream: bool
    """Whether the reply's body is one of server-sent events."""
    expected: Mapping[str, Any] | None
    """None: the reply states no usage."""
    why: str | None
    """Why it states none."""
    usage_raw: list[Any] = field(default_factory=list)

    @property
    def dialect(self) -> str:
        """The dialect of its wire."""
        return self.wire.partition(".")[0]

    @property
    def reply(self) -> bytes:
        """The body to answer with; around the usage alone where it was dropped."""
        return self._rebuilt() if self.body is None else self.body

    def _rebuilt(self) -> bytes:
        """A reply as large as the dropped one, around the usage that is kept."""
        model, usage = "model", "usage"
        if self.dialect == "gemini":
            model, usage = "modelVersion", "usageMetadata"
        stated = (self.usage_raw or [None])[-1]
        document = {"filler": "", model: self.answered, usage: stated}
        missing = self.dropped_bytes - len(json.dumps(document))
        return json.dumps({**document, "filler": "x" * max(missing, 0)}).encode()


def recorded() -> Iterator[Exchange]:
    """Every exchange of our wires that has a metering."""
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            if found["wire"] in PATHS and found["metering"] is not None:
                yield _exchange(found)


def reviewed(page: Path) -> dict[str, dict[str, Any]]:
    """A reviewed file, by exchange; every entry of it says why."""
    found: dict[str, dict[str, Any]] = json.loads(page.read_text())
    assert all(entry["reason"] for entry in found.values())
    return found


def as_recorded(usage: dict[str, int]) -> dict[str, int]:
    """Disjoint classes in the recordings' convention: subsets of two totals."""
    counts = {
        "input_tokens": total(usage, PROMPT_CLASSES),
        "output_tokens": total(usage, GENERATED_CLASSES),
        "cache_read_tokens": usage.get("cache_read", 0),
        "cache_write_tokens": total(usage, _CACHE_WRITES),
        "cache_write_1h_tokens": usage.get("cache_write_1h", 0),
        "reasoning_tokens": usage.get("reasoning", 0),
        "input_audio_tokens": usage.get("input_audio", 0),
        "input_image_tokens": usage.get("input_image", 0),
        "output_audio_tokens": usage.get("output_audio", 0),
        "output_image_tokens": usage.get("output_image", 0),
        "web_search_requests": usage.get("web_search", 0),
    }
    return {name: count for name, count in counts.items() if count}


def compare(
    exchange: Exchange, usage: dict[str, int], cost: int | None, model: str | None
) -> Differences:
    """What was read against what the recordings expect.

    Args:
        exchange: one that states its usage.
        usage: disjoint classes.
        cost: nano-USD that the provider stated; None: it stated none.
        model: the one that answered.
    """
    assert exchange.expected is not None
    expected = dict(exchange.expected)
    stated = expected.pop("cost_usd", None)
    expected.pop("tool_prompt_tokens", None)  # part of the input, no class apart
    ours: dict[str, object] = dict(as_recorded(usage))
    if exchange.body is None:
        for counts in (expected, ours):
            counts.pop("web_search_requests", None)  # in the body that was dropped
    expected["cost_nano_usd"] = None
    if stated is not None:
        nano_usd = Decimal(str(stated)) * 10**9
        expected["cost_nano_usd"] = int(nano_usd.to_integral_value(ROUND_HALF_UP))
    ours["cost_nano_usd"] = cost
    expected["model"] = exchange.answered
    ours["model"] = model
    return {
        name: [expected.get(name, 0), ours.get(name, 0)]
        for name in sorted(expected.keys() | ours.keys())
        if expected.get(name, 0) != ours.get(name, 0)
    }


def _exchange(found: dict[str, Any]) -> Exchange:
    request = found["request"] or {}
    text = found.get("body_text")
    model = found["model_requested"] or found["model_responded"] or UNNAMED
    return Exchange(
        id=found["id"],
        wire=found["wire"],
        oracle=found["oracle"],
        stream=bool(found["stream"]),
        status=found["status"],
        model=model.removeprefix("models/"),
        answered=found["model_responded"],
        request=request.get("body"),
        request_headers=_end_to_end(request.get("headers")),
        headers=_end_to_end(found["response_headers"]),
        body=_body(found),
        dropped_bytes=found.get("body_dropped_bytes") or 0,
        is_event_stream=bool(text and not text.lstrip().startswith(("{", "["))),
        expected=found["metering"]["expected"] or None,
        why=found["metering"]["why"],
        usage_raw=found["usage_raw"],
    )


def _body(found: dict[str, Any]) -> bytes | None:
    text = found.get("body_text")
    if text is not None:
        return str(text).encode()
    if found.get("body_dropped_bytes"):
        return None
    if found.get("body") is None:
        return b""
    written = json.dumps(found["body"], separators=(",", ":"), ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


def _end_to_end(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {
        name: value.strip()
        for name, value in (headers or {}).items()
        if name.lower() not in _OF_THE_CONNECTION
    }
