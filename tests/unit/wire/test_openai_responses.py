from __future__ import annotations

import json

import pytest

from comptroller.core.usage import Pass, Reading
from comptroller.wire.meters import meter_for
from comptroller.wire.openai_responses import ITEMS_MAX
from comptroller.wire.routes import match

RESPONSES = match(b"POST", b"/v1/responses")
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 15},
    "total_tokens": 50,
}
CLASSES = {"input": 20, "cache_read": 10, "output": 5, "reasoning": 15}


def meter_reading(data: bytes, content_type: bytes) -> Reading:
    assert RESPONSES is not None
    meter = meter_for(
        RESPONSES, streaming=True, content_type=content_type, strip_usage=False
    )
    passed = b"".join(meter.feed(data[i : i + 33]) for i in range(0, len(data), 33))
    rest, reading = meter.finish()
    assert passed + rest == data
    return reading


def read_response(**fields: object) -> Reading:
    document = {"id": "resp_1", "model": "gpt-5-2026", "status": "completed", **fields}
    return meter_reading(json.dumps(document).encode(), b"application/json")


def read_events(*events: dict[str, object]) -> Reading:
    return meter_reading(
        b"".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            for event in events
        ),
        b"text/event-stream",
    )


def test_a_response_is_metered() -> None:
    """A response gives usage, model, id, tier, and the bytes of every kind of item."""
    reading = read_response(
        service_tier="default",
        usage=USAGE,
        output=[
            {"type": "reasoning", "summary": [{"text": "hm"}]},
            {"type": "message", "content": [{"text": "héllo"}, {"refusal": "no"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "name": "g", "input": "abc"},
            {"type": "code_interpreter_call", "code": "1+1"},
        ],
    )
    assert reading.passes == (Pass("gpt-5-2026", CLASSES),)
    assert reading.raw == (json.dumps(USAGE).encode(),)
    assert reading.response_id == "resp_1"
    assert reading.service_tier == "default"
    assert reading.output_bytes == 2 + 6 + 2 + 3 + 4 + 3
    assert reading.complete


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_the_final_event_states_the_usage(end: str) -> None:
    """A stream that completes, stops short or fails states its usage at the end."""
    response: dict[str, object] = {"id": "resp_1", "model": "gpt-5", "usage": None}
    reading = read_events(
        {"type": "response.created", "response": response},
        {"type": "response.output_text.delta", "delta": "Hé"},
        {"type": "response.function_call_arguments.delta", "delta": '{"a"'},
        {"type": f"response.{end}", "response": response | {"usage": USAGE}},
    )
    assert reading.passes == (Pass("gpt-5", CLASSES),)
    assert reading.output_bytes == 3 + 4
    assert reading.complete


def test_a_stream_that_breaks_gives_bytes_to_estimate_from() -> None:
    """Without a final event there is no usage, but the model and the text."""
    response = {"id": "resp_1", "model": "gpt-5", "usage": None}
    reading = read_events(
        {"type": "response.created", "response": response},
        {"type": "response.output_text.delta", "delta": "x" * 9},
        {"type": "error", "code": "oops", "message": "gone"},
    )
    assert reading.passes == ()
    assert reading.model_answered == "gpt-5"
    assert reading.output_bytes == 9
    assert not reading.complete


def test_billed_searches_are_counted() -> None:
    """Searches count as units; opening a page or looking in one does not."""
    items = [
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call", "action": {"type": "find_in_page"}},
        {"type": "web_search_call", "status": "completed"},
    ]
    assert read_response(usage=USAGE, output=items).passes[0].usage["web_search"] == 2
    hosted = USAGE | {"server_side_tool_usage_details": {"web_search_calls": 3}}
    assert read_response(usage=hosted).passes[0].usage["web_search"] == 3


def test_work_in_the_background_is_not_complete() -> None:
    """A queued response has no usage yet, and says that it goes on."""
    reading = read_response(status="queued", usage=None, output=[])
    assert reading.passes == ()
    assert not reading.complete


def test_odd_output_does_not_cost_the_usage() -> None:
    """Items of unknown shape leave the usage readable."""
    reading = read_response(output=[{"type": 5, "content": "x"}], usage=USAGE, id=3)
    assert reading.passes == (Pass("gpt-5-2026", CLASSES),)
    assert reading.response_id is None
    assert reading.output_bytes > 0
    assert meter_reading(b"data: nonsense\n\ndata: [DONE]\n\n", b"").passes == ()
    assert meter_reading(b"nonsense", b"application/json").complete is False


def test_the_items_of_a_response_are_named() -> None:
    """Their ids are read, a bounded number of them; an odd one is passed over."""
    items: list[dict[str, object]] = [{"type": "reasoning", "id": "rs_1"}, {"id": 5}]
    assert read_response(output=[*items, {"id": "msg_1"}], usage=USAGE).item_ids == (
        "rs_1",
        "msg_1",
    )
    many: list[dict[str, object]] = [{"id": f"m{number}"} for number in range(99)]
    assert len(read_response(output=many, usage=USAGE).item_ids) == ITEMS_MAX


def test_a_stream_names_its_response_at_once() -> None:
    """The first event does, so that the id of a stream that is cut is known."""
    reading = read_events({"type": "response.created", "response": {"id": "resp_1"}})
    assert reading.response_id == "resp_1"
    assert not reading.complete
