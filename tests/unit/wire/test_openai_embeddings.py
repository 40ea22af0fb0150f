from __future__ import annotations

import json

import pytest

from comptroller.core.usage import Pass, Reading
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import match

EMBEDDINGS = match(b"POST", b"/v1/embeddings")


def read(data: bytes) -> Reading:
    assert EMBEDDINGS is not None
    meter = meter_for(
        EMBEDDINGS, streaming=False, content_type=b"application/json", strip_usage=False
    )
    passed = b"".join(meter.feed(data[i : i + 4096]) for i in range(0, len(data), 4096))
    rest, reading = meter.finish()
    assert passed + rest == data
    return reading


def test_embeddings_are_metered() -> None:
    """The prompt's tokens are the usage; the vectors are skipped."""
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    document = {
        "object": "list",
        "data": [{"embedding": [0.25] * 3000, "index": i} for i in range(3)],
        "model": "text-embedding-3-small",
        "usage": usage,
    }
    reading = read(json.dumps(document).encode())
    assert reading.passes == (Pass("text-embedding-3-small", {"input": 8}),)
    assert reading.raw == (json.dumps(usage).encode(),)
    assert reading.output_bytes == 0
    assert reading.complete


def test_embeddings_may_state_only_a_total_or_a_cost() -> None:
    """A total alone counts as the prompt; a stated cost is read."""
    body = b'{"model":"v","usage":{"total_tokens":3,"cost":{"total_cost":2.8e-08}}}'
    reading = read(body)
    assert reading.passes == (Pass("v", {"input": 3}),)
    assert reading.stated_cost_nano_usd == 28


@pytest.mark.parametrize(
    "body",
    [b'{"model":"v","data":[]}', b'{"model":"v","usage":null}', b'{"error":{}}', b"x"],
)
def test_embeddings_without_usage_have_no_passes(body: bytes) -> None:
    """No usage gives no passes, so that the caller estimates."""
    assert read(body).passes == ()


def test_streamed_embeddings_are_read_as_a_document() -> None:
    """Should a provider stream them after all, the event is the document."""
    assert EMBEDDINGS is not None
    meter = meter_for(
        EMBEDDINGS, streaming=True, content_type=b"text/event-stream", strip_usage=False
    )
    meter.feed(b'data: {"model":"v","usage":{"prompt_tokens":2}}\n\n')
    assert meter.finish()[1].passes == (Pass("v", {"input": 2}),)
