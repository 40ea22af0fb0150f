"""Coded replies: what the client gets, and what the meter reads."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from comptroller.core.usage import Pass, Reading
from comptroller.gateway.coding import CodingError, decoding
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import Route, match

USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
TEXT = {
    "model": "m",
    "choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}],
}
LAST = {"model": "m", "choices": [], "usage": USAGE}
KEPT = f"data: {json.dumps(TEXT)}\n\n".encode() * 9 + b"data: [DONE]\n\n"
STREAM = f"data: {json.dumps(LAST)}\n\n".encode() + KEPT
PASSES = (Pass("m", {"input": 11, "output": 5}),)


def replied(coding: bytes, coded: bytes, *, undo: bool) -> tuple[bytes, bytes, Reading]:
    """The coding and the bytes that the client gets, and the reading."""
    route = match(b"POST", b"/v1/chat/completions")
    assert isinstance(route, Route)
    plain = meter_for(
        route, streaming=True, content_type=b"text/event-stream", strip_usage=undo
    )
    meter, left = decoding(coding, plain, undo=undo)
    passed = [meter.feed(coded[at : at + 3]) for at in range(0, len(coded), 3)]
    rest, reading = meter.finish()
    return left, b"".join((*passed, rest)), reading


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        (b"gzip", gzip.compress(STREAM)),
        (b" GZIP", gzip.compress(STREAM[:99]) + gzip.compress(STREAM[99:]) + bytes(9)),
        (b"deflate", zlib.compress(STREAM)),
    ],
)
def test_a_coded_reply_is_metered_and_passed_on_as_it_came(
    coding: bytes, coded: bytes
) -> None:
    """The client gets the provider's bytes, the meter what they decode to."""
    assert replied(coding, coded, undo=False)[:2] == (coding, coded)
    assert replied(coding, coded, undo=False)[2].passes == PASSES


@pytest.mark.parametrize(
    ("coding", "coded"),
    [(b"gzip", gzip.compress(STREAM)), (b"deflate", zlib.compress(STREAM))],
)
def test_a_coded_stream_is_decoded_where_a_chunk_is_taken_out(
    coding: bytes, coded: bytes
) -> None:
    """A client that did not ask for the usage does not get it in a coding either."""
    left, passed, reading = replied(coding, coded, undo=True)

    assert (left, passed, reading.passes) == (b"", KEPT, PASSES)


@pytest.mark.parametrize(("undo", "passed"), [(False, STREAM), (True, KEPT)])
def test_a_plain_reply_with_a_label_left_on_is_metered(
    undo: bool, passed: bytes
) -> None:
    """What says gzip and is none is read as it is."""
    assert replied(b"gzip", STREAM, undo=undo)[1:] == (
        passed,
        replied(b"", STREAM, undo=False)[2],
    )


def test_a_reply_that_cannot_be_decoded_is_estimated() -> None:
    """Its bytes pass; the reading is not complete, so that the caller estimates."""
    coded = gzip.compress(STREAM)[:40] + b"\xff" * 40
    _, passed, reading = replied(b"gzip", coded, undo=False)

    assert (passed, reading.complete) == (coded, False)
    assert not replied(b"br", b"\x0b\x02\x80", undo=False)[2].complete


def test_a_reply_that_must_be_decoded_and_cannot_be_is_broken() -> None:
    """No client is told that a reply was whole of which a part is missing."""
    with pytest.raises(CodingError):
        replied(b"gzip", gzip.compress(STREAM)[:40] + b"\xff" * 40, undo=True)
