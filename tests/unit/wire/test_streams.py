from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comptroller.core.usage import Reading
from comptroller.wire.bodies import BodyMeter
from comptroller.wire.streams import StreamMeter, data_of


class Recorder:
    """A reader that keeps what it is given; `usage` in an event is usage alone."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.bodies: list[bytes] = []

    def event(self, payload: bytes) -> bool:
        """Keeps an event's data."""
        self.events.append(payload)
        return payload.startswith(b"usage")

    def body(self, data: bytes) -> None:
        """Keeps a body."""
        self.bodies.append(data)

    def reading(self) -> Reading:
        """Nothing."""
        return Reading((), None, None, None, (), None, 0, complete=True)


def play(
    meter: StreamMeter | BodyMeter, data: bytes, cuts: list[int]
) -> tuple[bytes, list[bytes]]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    passed = [meter.feed(data[a:b]) for a, b in pairwise(edges)]
    last, _ = meter.finish()
    return b"".join(passed) + last, passed


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])
PAYLOAD = st.sampled_from(
    [b"usage", b"usage 2", b"{}", b"[DONE]", b"a: b", "ж😀".encode()]
)


@st.composite
def event_streams(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Events with their exact bytes, in one line-end style, and their data."""
    end = draw(LINE_END)
    events = []
    for _ in range(draw(st.integers(0, 6))):
        lines = draw(
            st.lists(st.sampled_from([b": note", b"event: x", b"id: 7"]), max_size=2)
        )
        payloads = draw(st.lists(PAYLOAD, min_size=0, max_size=2))
        lines += [draw(st.sampled_from([b"data: ", b"data:"])) + p for p in payloads]
        if not lines:
            lines = [b": only a comment"]
        events.append((end.join(lines) + end + end, b"\n".join(payloads)))
    return events


@given(event_streams(), CUTS)
def test_every_event_is_read_at_any_split(
    events: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    """LF, CRLF or CR, comments, several data lines: each event's data is read once."""
    reader = Recorder()
    data = b"".join(raw for raw, _ in events)
    out, passed = play(StreamMeter(reader), data, cuts)
    assert out == data
    assert b"".join(passed) == data
    assert reader.events == [payload for _, payload in events if payload]


@given(event_streams(), CUTS, st.booleans())
def test_only_the_usage_events_are_taken_out(
    events: list[tuple[bytes, bytes]], cuts: list[int], is_torn: bool
) -> None:
    """With stripping on, the output is the input without exactly those events."""
    torn = b"data: half an ev" if is_torn else b""
    data = b"".join(raw for raw, _ in events) + torn
    out, _ = play(StreamMeter(Recorder(), strip_usage=True), data, cuts)
    kept = b"".join(raw for raw, payload in events if not payload.startswith(b"usage"))
    assert out == kept + torn


@given(st.binary(max_size=300), CUTS)
@example(b"data: usage\r\n\r\ndata: x\n\r\n\r", [12, 13, 14])
@example(b"\n\n\n\r\r\r\n\r\n", [1, 2, 3, 4, 5])
def test_arbitrary_bytes_pass_in_order(data: bytes, cuts: list[int]) -> None:
    """No bytes are lost, changed or put in another order, whatever they are."""
    out, passed = play(StreamMeter(Recorder()), data, cuts)
    assert out == b"".join(passed) == data
    whole, _ = play(StreamMeter(Recorder(), strip_usage=True), data, [])
    split, _ = play(StreamMeter(Recorder(), strip_usage=True), data, cuts)
    assert split == whole
    assert play(BodyMeter(Recorder()), data, cuts)[0] == data


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_nothing_that_is_not_usage_is_held_for_long(parts: list[bytes]) -> None:
    """Stripping holds back no more than the event that is not complete."""
    meter = StreamMeter(Recorder(), strip_usage=True)
    fed = passed = b""
    for part in parts:
        fed += part.replace(b"usage", b"")
        passed += meter.feed(part.replace(b"usage", b""))
        assert fed.startswith(passed)
        held = fed[len(passed) :]
        # A CR at the very end may be half of a CRLF.
        assert not re.search(rb"(?>\r\n|\n|\r){2}", held[:-1])


def test_complete_events_are_passed_as_the_same_object() -> None:
    """Nothing is copied where nothing is taken out."""
    for strips in (False, True):
        meter = StreamMeter(Recorder(), strip_usage=strips)
        for data in (
            b"data: x\n\n",
            b"event: y\ndata: z\n\ndata: x\n\n",
            b"data:1\r\n\r\n",
        ):
            passed = meter.feed(data)
            assert passed == data
            if b"\r" not in data:
                assert passed is data


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    """A stream may begin with a byte order mark."""
    reader = Recorder()
    play(StreamMeter(reader), b"\xef\xbb\xbfdata: x\n\ndata: y\n\n", [2])
    assert reader.events == [b"x", b"y"]


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_an_event_that_is_too_big_is_passed_unread(strips: bool, end: bytes) -> None:
    """Past the bound an event passes unread, and the next ones are read again."""
    big = b"data: " + b"x" * 500 + end
    data = b"data: a" + end + big + b"data: usage" + end + b"data: b" + end
    kept = data.replace(b"data: usage" + end, b"") if strips else data
    for size in range(1, 20):
        reader = Recorder()
        meter = StreamMeter(reader, strip_usage=strips, event_bytes_max=100)
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        passed = b"".join(map(meter.feed, pieces)) + meter.finish()[0]
        assert passed == kept
        assert reader.events == [b"a", b"usage", b"b"]


def test_a_last_event_without_its_blank_line_counts() -> None:
    """Some providers end the stream without one; its usage must not be lost."""
    reader = Recorder()
    meter = StreamMeter(reader, strip_usage=True)
    assert meter.feed(b"data: x\n\ndata: usage") == b"data: x\n\n"
    assert meter.finish()[0] == b""
    assert reader.events == [b"x", b"usage"]


def test_a_document_in_place_of_a_stream_is_read_as_a_body() -> None:
    """Some providers answer a stream's request with JSON under its content type."""
    reader = Recorder()
    meter = StreamMeter(reader)
    meter.feed(b'{"usage":\n1}')
    meter.finish()
    assert reader.bodies == [b'{"usage":\n1}']


def test_a_stream_in_place_of_a_document_is_read_as_a_stream() -> None:
    """Some providers stream under the content type of JSON."""
    reader = Recorder()
    meter = BodyMeter(reader)
    assert meter.feed(b"data: x\n") == b"data: x\n"
    meter.feed(b"\ndata: y\n\n")
    assert meter.finish()[0] == b""
    assert reader.events == [b"x", b"y"]


def test_a_body_is_read_whole_and_once() -> None:
    """A body in pieces is one document; one in one piece is not copied."""
    reader = Recorder()
    one = json.dumps({"a": 1}).encode()
    meter = BodyMeter(reader)
    assert meter.feed(one) is one
    meter.finish()
    assert reader.bodies[0] is one
    play(BodyMeter(reader), one, [1, 3])
    assert reader.bodies[1] == one


def test_a_body_that_is_too_long_passes_unread() -> None:
    """Past the bound nothing is kept, and nothing is read."""
    reader = Recorder()
    meter = BodyMeter(reader, body_bytes_max=10)
    assert b"".join(meter.feed(b"12345") for _ in range(9)) == b"12345" * 9
    meter.finish()
    assert reader.bodies == []


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x", b"x"),
        (b"data:x", b"x"),
        (b"data:  x", b" x"),
        (b"event: e\ndata: x", b"x"),
        (b"event: e\ndata: x\ndata: y", b"x\ny"),
        (b"event: data: no", b""),
        (b": comment", b""),
        (b"dat", b""),
        (b"event: e\rdata: x", b"x"),
        (b"id: 1\r\ndata: x\r\nretry: 5", b"x"),
        (b"database: x", b""),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes) -> None:
    """The data field is found among the others, its lines joined."""
    assert data_of(event) == data


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_way_to_cut_a_short_stream_in_three(end: bytes) -> None:
    """Two cuts at any two places, line ends included, change nothing."""
    blank = end + end
    data = (
        b"data:1" + blank + b"data: usage" + end + b"id:2" + blank + b"data:3" + blank
    )
    kept = b"data:1" + blank + b"data:3" + blank
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            for strips in (False, True):
                reader = Recorder()
                meter = StreamMeter(reader, strip_usage=strips)
                out, _ = play(meter, data, [first, second])
                assert out == (kept if strips else data)
                assert reader.events == [b"1", b"usage", b"3"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_events_that_come_one_by_one_pass_one_by_one(end: bytes) -> None:
    """An event that came whole is passed, or taken out, at once."""
    reader = Recorder()
    meter = StreamMeter(reader, strip_usage=True)
    for payload in (b"1", b"usage", b"3"):
        event = b"data: " + payload + end + end
        passed = meter.feed(event)
        assert passed == (b"" if payload == b"usage" else event)
    assert meter.finish()[0] == b""
    assert reader.events == [b"1", b"usage", b"3"]


def test_what_is_too_big_to_be_read_counts_by_its_size() -> None:
    """An event that is passed on unread is not nothing, when usage is missing."""
    big = b"data: " + b"x" * 500 + b"\n\n"
    meter = StreamMeter(Recorder(), event_bytes_max=100)
    passed = b"".join(meter.feed(part) for part in (big[:150], big[150:], b"data: 1"))
    rest, reading = meter.finish()
    assert passed + rest == big + b"data: 1"
    assert 400 <= reading.output_bytes <= len(big)
