from __future__ import annotations

import pytest

from comptroller.wire.bodies import BodyMeter
from comptroller.wire.meters import Unmetered, is_event_stream, meter_for
from comptroller.wire.routes import Route, match
from comptroller.wire.streams import StreamMeter

METERED = [
    b"/v1/chat/completions",
    b"/v1/responses",
    b"/v1/embeddings",
    b"/v1/messages",
    b"/v1beta/models/g:generateContent",
    b"/v1beta/models/g:streamGenerateContent",
]


def routed(path: bytes) -> Route:
    route = match(b"POST", path)
    assert route is not None
    return route


@pytest.mark.parametrize("path", METERED)
def test_every_metered_route_has_a_meter(path: bytes) -> None:
    """Whatever consumes tokens is read, as a stream and as a body."""
    route = routed(path)
    assert route.metered
    stream = meter_for(
        route, streaming=True, content_type=b"text/event-stream", strip_usage=False
    )
    body = meter_for(
        route, streaming=False, content_type=b"application/json", strip_usage=False
    )
    assert isinstance(stream, StreamMeter)
    assert isinstance(body, BodyMeter)


@pytest.mark.parametrize(
    "path", [b"/v1/messages/count_tokens", b"/v1beta/models/g:countTokens"]
)
def test_counting_tokens_consumes_none(path: bytes) -> None:
    """Routes that generate nothing pass through a meter that reads nothing."""
    route = routed(path)
    assert not route.metered
    meter = meter_for(
        route, streaming=False, content_type=b"application/json", strip_usage=False
    )
    assert isinstance(meter, Unmetered)
    data = b'{"input_tokens":11}'
    assert meter.feed(data) is data
    rest, reading = meter.finish()
    assert (rest, reading.passes) == (b"", ())


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_the_content_type_tells_a_stream(content_type: bytes, expected: bool) -> None:
    """A reply that says it is a stream is one, however it is written."""
    assert is_event_stream(content_type) is expected


@pytest.mark.parametrize("path", [p for p in METERED if b"embeddings" not in p])
@pytest.mark.parametrize(
    "reply", [b"\x0a\x80" * 500, b'{"candidates":[{"content":' + b" " * 974]
)
def test_a_reply_that_cannot_be_read_weighs_what_it_weighs(
    path: bytes, reply: bytes
) -> None:
    """Its estimate rests on its size: another form of reply makes nothing cheap."""
    meter = meter_for(
        routed(path), streaming=False, content_type=b"x/proto", strip_usage=False
    )
    for at in range(0, len(reply), 100):
        meter.feed(reply[at : at + 100])
    reading = meter.finish()[1]
    assert (reading.passes, reading.output_bytes) == ((), 1000)
