from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.core.usage import Pass, Reading
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import match

MESSAGES = match(b"POST", b"/v1/messages")


def meter_reading(data: bytes, content_type: bytes) -> Reading:
    assert MESSAGES is not None
    meter = meter_for(
        MESSAGES, streaming=True, content_type=content_type, strip_usage=False
    )
    passed = b"".join(meter.feed(data[i : i + 29]) for i in range(0, len(data), 29))
    rest, reading = meter.finish()
    assert passed + rest == data
    return reading


def read_message(usage: object, **fields: object) -> Reading:
    document = {"id": "msg_1", "model": "claude-5", "usage": usage, **fields}
    return meter_reading(json.dumps(document).encode(), b"application/json")


def read_events(*events: dict[str, object]) -> Reading:
    return meter_reading(
        b"".join(
            f"event: {event['type']}\r\ndata: {json.dumps(event)}\r\n\r\n".encode()
            for event in events
        ),
        b"text/event-stream",
    )


def usage_of(usage: object) -> dict[str, int]:
    reading = read_message(usage)
    (one,) = reading.passes
    return one.usage


def test_a_message_is_metered() -> None:
    """Input excludes the cache, output includes thinking: the classes are split."""
    usage = {
        "input_tokens": 7,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 50,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 20,
            "ephemeral_1h_input_tokens": 30,
        },
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 25},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
        "service_tier": "standard",
    }
    reading = read_message(
        usage,
        content=[
            {"type": "thinking", "thinking": "hm", "signature": "abcdef"},
            {"type": "text", "text": "héllo"},
            {"type": "tool_use", "name": "get", "input": {"a": 1}},
            {"type": "web_search_tool_result", "content": [{"title": "t"}]},
        ],
    )
    assert reading.passes == (
        Pass(
            "claude-5",
            {
                "input": 7,
                "cache_read": 100,
                "cache_write_5m": 20,
                "cache_write_1h": 30,
                "output": 15,
                "reasoning": 25,
                "web_search": 2,
            },
        ),
    )
    assert reading.raw == (json.dumps(usage).encode(),)
    assert reading.response_id == "msg_1"
    assert reading.service_tier == "standard"
    assert reading.output_bytes == 2 + 6 + 3 + len('{"a": 1}')
    assert reading.complete


START: dict[str, object] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-5",
        "content": [],
        "usage": {
            "input_tokens": 9,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 4,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0,
                "ephemeral_1h_input_tokens": 4,
            },
            "output_tokens": 1,
            "service_tier": "priority",
        },
    },
}


def delta(**usage: object) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": None}, "usage": usage}


def test_a_message_stream_is_merged_and_not_summed() -> None:
    """Deltas are cumulative: the last one replaces what the start said."""
    reading = read_events(
        START,
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "name": "get", "input": {}},
        },
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hé"}},
        {"type": "content_block_delta", "delta": {"thinking": "hm"}},
        {"type": "content_block_delta", "delta": {"partial_json": '{"a"'}},
        {"type": "ping"},
        delta(output_tokens=3),
        delta(output_tokens=8, input_tokens=None),
        {"type": "message_stop"},
    )
    assert reading.passes == (
        Pass(
            "claude-5",
            {"input": 9, "cache_read": 5, "cache_write_1h": 4, "output": 8},
        ),
    )
    assert len(reading.raw) == 2
    assert reading.service_tier == "priority"
    assert reading.output_bytes == 3 + 3 + 2 + 4
    assert reading.complete


def test_a_later_total_outranks_the_first_split() -> None:
    """Server tools grow the cache during the reply; the split is not restated."""
    reading = read_events(
        START,
        delta(
            output_tokens=8, cache_creation_input_tokens=10, cache_read_input_tokens=6
        ),
    )
    usage = reading.passes[0].usage
    assert (usage["cache_write_1h"], usage["cache_write_5m"]) == (4, 6)
    assert usage["cache_read"] == 6
    assert not reading.complete


def test_a_stream_cut_after_its_start_states_what_it_had() -> None:
    """The prompt's side is known from the start on."""
    reading = read_events(START)
    assert reading.passes[0].usage["input"] == 9
    assert not reading.complete


def entry(kind: str, asked: int, made: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"type": kind, "input_tokens": asked, "output_tokens": made, **more}


def test_iterations_are_summed_by_model() -> None:
    """Advisors on another model are passes of their own, with their own price."""
    reading = read_message(
        {
            "input_tokens": 2390,
            "output_tokens": 121,
            "output_tokens_details": {"thinking_tokens": 28},
            "server_tool_use": {"web_search_requests": 1},
            "iterations": [
                entry("message", 1128, 110),
                entry("advisor_message", 2518, 22, model="claude-big"),
                entry("message", 1262, 11),
            ],
        }
    )
    assert reading.passes == (
        Pass(
            "claude-5",
            {"input": 2390, "output": 93, "reasoning": 28, "web_search": 1},
        ),
        Pass("claude-big", {"input": 2518, "output": 22}),
    )


def test_a_compaction_pass_is_counted() -> None:
    """The top level leaves out the summarization that was paid for."""
    usage = usage_of(
        {
            "input_tokens": 162,
            "output_tokens": 11,
            "iterations": [
                entry("compaction", 99_195, 81, cache_read_input_tokens=5),
                entry("message", 162, 11),
            ],
        }
    )
    assert usage == {"input": 99_357, "output": 92, "cache_read": 5}


@pytest.mark.parametrize("iterations", [[], [None], "odd", [entry("message", 1, 1)]])
def test_iterations_that_lack_something_do_not_lower_the_usage(
    iterations: object,
) -> None:
    """Less than the top level states is never booked."""
    usage = usage_of({"input_tokens": 9, "output_tokens": 4, "iterations": iterations})
    assert usage == {"input": 9, "output": 4}


def test_cache_writes_without_a_split_last_five_minutes() -> None:
    """Without lifetimes a cache write is of the default, and a lone split counts."""
    assert usage_of({"input_tokens": 1, "cache_creation_input_tokens": 8}) == {
        "input": 1,
        "cache_write_5m": 8,
    }
    stale = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 3},
    }
    assert usage_of(stale) == {"input": 1, "cache_write_1h": 2}
    lone = {"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 3}}
    assert usage_of(lone) == {"input": 1, "cache_write_1h": 3}


def test_fast_mode_is_a_tier() -> None:
    """Fast mode has its own price, so it is read as the tier."""
    usage = {"input_tokens": 1, "service_tier": "standard", "speed": "fast"}
    assert read_message(usage).service_tier == "fast"


def test_messages_without_usage_have_no_passes() -> None:
    """Errors and odd bodies give no passes, and never raise."""
    assert read_message(None).passes == ()
    assert read_message({"service_tier": "x"}).raw == ()
    assert meter_reading(b'{"type":"error","error":{}}', b"application/json").raw == ()
    assert meter_reading(b"<html>", b"text/html").passes == ()
    assert meter_reading(b"data: x\n\n", b"text/event-stream").passes == ()


def test_odd_content_does_not_cost_the_usage() -> None:
    """Blocks and deltas of unknown shape leave the usage readable."""
    reading = read_message({"input_tokens": 1, "output_tokens": 2}, content="text")
    assert reading.passes == (Pass("claude-5", {"input": 1, "output": 2}),)
    assert reading.output_bytes > 0
    reading = read_events(
        START,
        {"type": "content_block_delta", "delta": "odd"},
        {"type": "message_delta", "delta": [], "usage": {"output_tokens": 2}},
    )
    assert reading.passes[0].usage["output"] == 2
    assert reading.output_bytes > 0
