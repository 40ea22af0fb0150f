from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.usage import Pass, Reading
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import match

CHAT = match(b"POST", b"/v1/chat/completions")
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def read_body(body: object) -> Reading:
    assert CHAT is not None
    meter = meter_for(
        CHAT, streaming=False, content_type=b"application/json", strip_usage=False
    )
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert meter.feed(data) is data
    rest, reading = meter.finish()
    assert rest == b""
    return reading


def sse(*documents: object) -> bytes:
    events = (d if isinstance(d, str) else json.dumps(d) for d in documents)
    return b"".join(b"data: " + event.encode() + b"\n\n" for event in events)


def read_stream(data: bytes, *, strip_usage: bool = False) -> tuple[bytes, Reading]:
    assert CHAT is not None
    meter = meter_for(
        CHAT,
        streaming=True,
        content_type=b"text/event-stream; charset=utf-8",
        strip_usage=strip_usage,
    )
    passed = b"".join(meter.feed(data[i : i + 50]) for i in range(0, len(data), 50))
    rest, reading = meter.finish()
    return passed + rest, reading


def chunk(**delta: object) -> dict[str, object]:
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "model": "m-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        "usage": None,
    }


USAGE_CHUNK = {"id": "c-1", "model": "m-2026", "choices": [], "usage": USAGE}


def test_a_chat_body_is_metered() -> None:
    """A completion gives usage, model, id, tier, the raw block and its text."""
    reading = read_body(
        {
            "id": "c-1",
            "model": "m-2026",
            "service_tier": "priority",
            "choices": [
                {"message": {"content": "héllo", "refusal": None}},
                {
                    "message": {
                        "content": None,
                        "reasoning_content": "hm",
                        "tool_calls": [
                            {"function": {"name": "f", "arguments": "{}"}},
                            {"custom": {"name": "g", "input": "abc"}},
                        ],
                        "audio": {"transcript": "yes"},
                    }
                },
            ],
            "usage": USAGE,
        }
    )
    assert reading == Reading(
        passes=(Pass("m-2026", {"input": 10, "output": 4}),),
        model_answered="m-2026",
        response_id="c-1",
        service_tier="priority",
        raw=(json.dumps(USAGE).encode(),),
        stated_cost_nano_usd=None,
        output_bytes=6 + 2 + 3 + 4 + 3,
        complete=True,
    )


def test_a_chat_stream_is_metered_at_its_end() -> None:
    """The usage chunk gives the counts, the deltas give the bytes."""
    data = sse(
        chunk(role="assistant", content=""),
        chunk(content="Hé"),
        chunk(reasoning="hm"),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        chunk(content=[{"type": "text", "text": "x"}]),
        USAGE_CHUNK,
        "[DONE]",
    )
    out, reading = read_stream(data)
    assert out == data
    assert reading.passes == (Pass("m-2026", {"input": 10, "output": 4}),)
    assert reading.response_id == "c-1"
    assert reading.output_bytes == 3 + 2 + 5 + len('[{"type":"text","text":"x"}]')
    assert reading.complete


def test_the_injected_usage_chunk_is_taken_out() -> None:
    """With stripping on, everything but the usage chunk reaches the client."""
    first = sse(chunk(content="Hi"))
    out, reading = read_stream(
        first + sse(USAGE_CHUNK) + sse("[DONE]"), strip_usage=True
    )
    assert out == first + sse("[DONE]")
    assert reading.passes[0].usage == {"input": 10, "output": 4}


def test_chunks_with_choices_are_never_taken_out() -> None:
    """Usage on a chunk that also has choices is that provider's own habit."""
    azure = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    last = chunk(content="!") | {"usage": USAGE, "x_groq": {"id": "req"}}
    data = sse(azure, chunk(content="Hi"), last, "[DONE]")
    out, reading = read_stream(data, strip_usage=True)
    assert out == data
    assert reading.passes[0].usage == {"input": 10, "output": 4}
    assert reading.model_answered == "m-2026"
    assert reading.response_id == "c-1"


def test_growing_usage_is_not_summed() -> None:
    """Some providers restate the usage on every chunk: the last one counts."""
    chunks = [
        chunk(content="x")
        | {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": n,
                "total_tokens": 10 + n,
            }
        }
        for n in range(1, 9)
    ]
    _, reading = read_stream(sse(*chunks, "[DONE]"))
    assert reading.passes[0].usage == {"input": 10, "output": 8}
    assert len(reading.raw) == 1


def test_groq_states_usage_in_a_field_of_its_own() -> None:
    """`x_groq.usage` counts where `usage` is missing, and not beside it."""
    groq = {
        "x_groq": {"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    }
    _, reading = read_stream(sse(chunk(content="x"), chunk() | groq, "[DONE]"))
    assert reading.passes[0].usage == {"input": 3, "output": 2}
    _, reading = read_stream(sse(USAGE_CHUNK, chunk() | groq, "[DONE]"))
    assert reading.passes[0].usage == {"input": 10, "output": 4}


def test_a_stream_without_usage_gives_bytes_to_estimate_from() -> None:
    """No usage gives no passes, never zeros, and the text that was seen."""
    data = sse(chunk(content="x" * 40), chunk(content="y" * 2))
    _, reading = read_stream(data)
    assert reading.passes == ()
    assert reading.raw == ()
    assert reading.output_bytes == 42
    assert not reading.complete


def test_a_tier_inside_the_usage_counts() -> None:
    """Some providers state the tier in the usage block."""
    body = {"model": "m", "usage": USAGE | {"service_tier": "flex"}}
    assert read_body(body).service_tier == "flex"


def test_a_stated_cost_is_read() -> None:
    """A provider that states its cost has it read to the nano-dollar."""
    body = b'{"model":"m","usage":{"prompt_tokens":1,"cost":5.37e-06}}'
    assert read_body(body).stated_cost_nano_usd == 5370


def test_odd_shapes_do_not_cost_the_usage() -> None:
    """Whatever a provider does to its choices, the usage beside them is read."""
    for choices in ('"none"', "{}", "[null]", '[{"message":{"content":{"a":1}}}]'):
        body = f'{{"id":7,"model":"m","choices":{choices},"usage":{json.dumps(USAGE)}}}'
        reading = read_body(body.encode())
        assert reading.passes == (Pass("m", {"input": 10, "output": 4}),)
        assert reading.response_id is None
        out, reading = read_stream(sse(body), strip_usage=True)
        assert out == sse(body)
        assert reading.passes == (Pass("m", {"input": 10, "output": 4}),)


def test_half_a_surrogate_pair_does_not_cost_the_usage() -> None:
    """Replies cut inside an emoji are JSON that strict parsers refuse."""
    body = (
        b'{"model":"m","choices":[{"message":{"content":"cut \\ud83d"}}],"usage":'
        + json.dumps(USAGE).encode()
        + b"}"
    )
    assert read_body(body).passes[0].usage == {"input": 10, "output": 4}
    out, reading = read_stream(b"data: " + body + b"\n\n")
    assert out == b"data: " + body + b"\n\n"
    assert reading.passes[0].usage == {"input": 10, "output": 4}


def test_errors_have_no_usage() -> None:
    """Error bodies, in any form, give no passes."""
    for body in (b'{"error":{"message":"no"}}', b"<html>", b"", b"[]", b'{"usage":[]}'):
        assert read_body(body).passes == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "usage",
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "prompt_tokens",
                    "completion_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                    "total_tokens",
                    "cost",
                    "x_groq",
                    "model",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_document_makes_the_chat_meter_raise(document: object) -> None:
    """Known names in any place with any value are read or left alone."""
    for reading in (read_body(document), read_stream(sse(document, "[DONE]"))[1]):
        for one in reading.passes:
            assert all(
                type(count) is int and count >= 0 for count in one.usage.values()
            )
