"""Replies to requests for a stream whose content type does not tell their form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.usage import Pass
from comptroller.wire.meter import Meter
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import Route, match

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
TEXT = {
    "model": "m",
    "choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}],
}
LAST = {"model": "m", "choices": [], "usage": USAGE}
FIRST_EVENT = f"data: {json.dumps(TEXT)}\n\n".encode()
USAGE_EVENT = f"data: {json.dumps(LAST)}\n\n".encode()
END = b"data: [DONE]\n\n"
PASSES = (Pass("m", {"input": 11, "output": 5}),)


def unlabelled(path: bytes, *, strip: bool = False, kind: bytes = b"") -> Meter:
    route = match(b"POST", path)
    assert isinstance(route, Route)
    return meter_for(route, streaming=True, content_type=kind, strip_usage=strip)


@pytest.mark.parametrize("kind", [b"", b"application/json", b"text/plain"])
@pytest.mark.parametrize("before", [b"", b"\n", b": hello\n\n", b"\xef\xbb\xbf"])
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_an_unlabelled_stream_loses_only_its_usage_event(
    kind: bytes, before: bytes, cuts: list[int]
) -> None:
    """Cut anywhere, it is read as a stream, and its usage event is taken out."""
    data = before + FIRST_EVENT + USAGE_EVENT + END
    meter = unlabelled(b"/v1/chat/completions", strip=True, kind=kind)
    ends = [*sorted(cuts), len(data)]
    starts = [0, *ends]
    passed = [meter.feed(data[a:b]) for a, b in zip(starts, ends, strict=False)]
    rest, reading = meter.finish()

    assert b"".join((*passed, rest)) == before + FIRST_EVENT + END
    assert (reading.passes, reading.complete) == (PASSES, True)


@pytest.mark.parametrize("before", [b"", b" \r\n"])
def test_a_document_in_place_of_a_stream_is_read_as_one(before: bytes) -> None:
    """A provider that does not stream answers with one document."""
    document = {"model": "m", "choices": [{"message": {"content": "a"}}]}
    data = before + json.dumps({**document, "usage": USAGE}).encode()
    meter = unlabelled(b"/v1/chat/completions", strip=True)

    assert b"".join(meter.feed(bytes([byte])) for byte in data) == data
    rest, reading = meter.finish()
    assert (rest, reading.passes, reading.complete) == (b"", PASSES, True)


def test_an_unlabelled_array_of_chunks_is_read() -> None:
    """Gemini without `alt=sse` streams an array, blank lines inside included."""
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "a\n\nb"}]}}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
        "modelVersion": "m",
    }
    data = b"[" + b",\r\n\r\n".join([json.dumps(chunk).encode()] * 2) + b"]"
    meter = unlabelled(b"/v1beta/models/m:streamGenerateContent")

    assert meter.feed(data[:1]) + meter.feed(data[1:]) == data
    _, reading = meter.finish()
    assert reading.passes == (Pass("m", {"input": 3, "output": 2}),)


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_reply_has_no_usage(data: bytes) -> None:
    """Nothing, or nothing but space: passed on, and the caller estimates."""
    meter = unlabelled(b"/v1/chat/completions", strip=True)

    assert meter.feed(data) == data
    rest, reading = meter.finish()
    assert (rest, reading.passes, reading.complete) == (b"", (), False)
