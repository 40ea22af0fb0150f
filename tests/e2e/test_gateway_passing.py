import gzip
import random  # noqa: TID251  seeded
import threading
import time
import zlib

import pytest

from comptroller.engine import records
from comptroller.testing.rawclient import raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    CHAT_END,
    CHAT_USAGE_EVENT,
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    Talk,
    answering,
    chat_event,
    chunk,
    whole,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    PROVIDER_KEY,
    STREAM_BODY,
    Site,
)

PASSED = [
    "Content-Type: application/json; charset=utf-8",
    "anthropic-version: 2023-06-01",
    "anthropic-beta: one-2025-01-01,two-2025-02-02",
    "anthropic-beta: three",
    'X-Odd-CASE: MiXeD; value="quoted"',
    "x-empty:",
    "x-latin: caf\xe9",
    "user-agent: a client/1.0 (of some kind)",
    "OpenAI-Organization: org-1",
    "Accept: text/event-stream, */*;q=0.1",
    "Cookie: a=b",
]
WITHHELD = [
    "Accept-Encoding: gzip, br",
    "Connection: keep-alive, X-Hop",
    "X-Hop: mine",
    "Keep-Alive: timeout=5",
    "Proxy-Authorization: Basic abc",
    "TE: trailers",
    "Trailer: X-After",
    "x-comptroller-run: 7",
    "X-Comptroller-Request-Id: forged",
]


def test_headers_reach_the_provider_as_they_were_written(fresh: Site) -> None:
    """Order, case and bytes are kept; those of the connection and ours are not."""
    fresh.chat(CHAT_BODY, *PASSED, *WITHHELD)

    received = fresh.upstream.received[-1]
    sent = [
        (name.encode(), value.strip().encode("latin-1"))
        for name, _, value in (line.partition(":") for line in PASSED)
    ]
    added = [
        (b"host", fresh.upstream.origin.removeprefix("http://").encode()),
        (b"authorization", f"Bearer {PROVIDER_KEY}".encode()),
        (b"accept-encoding", b"identity"),
    ]
    size = [(b"content-length", b"%d" % len(received.body))]
    assert received.headers == added + sent + size


def test_bodies_reach_the_provider_byte_for_byte(fresh: Site) -> None:
    """Whatever the size, the spacing and the text, not a byte of a body changes."""
    chance = random.Random(20261121)  # noqa: S311  seeded, for a test
    with raw_client(fresh.worker.port) as client:
        for size in (1, 2, 100, 4095, 4096, 65_535, 65_536, 70_000, 300_000, 900_000):
            text = (
                "".join(
                    chance.choice('aé漢\U0001f600 \\" \\n\\u00e9\t'.replace("\t", ""))
                    if chance.random() < 0.5
                    else chance.choice("xyz{}[]:,/")
                    for _ in range(size // 3)
                )
                .replace("\\", "")
                .replace('"', "")
            )
            body = f'{{ "messages" :[ ],"model":\t"m2","x":"{text}"}}\r\n'.encode()
            body = body.replace(b'"m2"', b'"up"')
            client.send(request("/v1/messages", body, fresh.bearer))
            reply = client.read()
            assert reply.status == 200
            received = fresh.upstream.received[-1]
            assert received.body == body.replace(b'"up"', b'"m"')


@pytest.mark.parametrize("sizes", [[1], [7, 1, 100], [65_536, 3]])
def test_chunked_requests_arrive_whole(fresh: Site, sizes: list[int]) -> None:
    """A chunked body goes upstream with its length, its trailers dropped."""
    body = CHAT_BODY[:-1] + b',"x":"' + b"y" * sum(sizes) + b'"}'
    head = request(CHAT_PATH, b"", fresh.bearer, "Transfer-Encoding: chunked")
    parts, rest = [], body
    for size in sizes:
        parts.append(chunk(rest[:size]))
        rest = rest[size:]
    trailers = b"0\r\nX-After: 1\r\nx-api-key: other\r\nHost: b\r\n\r\n"

    reply = fresh.ask(head + b"".join(parts) + chunk(rest) + trailers)

    assert reply.status == 200
    received = fresh.upstream.received[-1]
    assert received.body == body.replace(b'"up"', b'"m"')
    assert received.values(b"content-length") == [b"%d" % len(received.body)]
    assert received.values(b"transfer-encoding") == []
    assert received.values(b"x-after") == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP"])
def test_a_coded_request_goes_on_plain(fresh: Site, coding: str) -> None:
    """The provider gets the plain body and no Content-Encoding."""
    coded = zlib.compress(CHAT_BODY)
    if coding != "deflate":
        coded = gzip.compress(CHAT_BODY)

    reply = fresh.chat(coded, f"Content-Encoding: {coding}")

    assert reply.status == 200
    received = fresh.upstream.received[-1]
    assert received.body == CHAT_BODY.replace(b'"up"', b'"m"')
    assert received.values(b"content-encoding") == []


UNREADABLE = {
    "no gzip": (b"no gzip", "gzip", 400),
    "cut off": (gzip.compress(CHAT_BODY)[:-9], "gzip", 400),
    "more behind": (gzip.compress(CHAT_BODY) + b"more", "gzip", 400),
    "too large": (gzip.compress(b"a" * 1_500_000), "gzip", 413),
    "unknown": (CHAT_BODY, "br", 415),
    "twice": (CHAT_BODY, "gzip, gzip", 415),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_body_that_cannot_be_decoded_is_refused(fresh: Site, how: str) -> None:
    """Each has its status, and nothing goes upstream."""
    body, coding, status = UNREADABLE[how]

    reply = fresh.chat(body, f"Content-Encoding: {coding}")

    assert reply.status == status
    assert fresh.upstream.received == []


def test_strangers_cannot_make_the_gateway_inflate(fresh: Site) -> None:
    """A coded body without a credential is refused as one, not decoded."""
    coded = "Content-Encoding: gzip"

    assert fresh.ask(request(CHAT_PATH, b"no gzip", coded)).status == 401


def test_replies_pass_as_the_provider_wrote_them(fresh: Site) -> None:
    """Status, headers and bytes of a reply are the provider's own, plus ours."""
    headers = (
        b"X-Odd: MiXeD\r\nopenai-processing-ms: 5\r\nset-cookie: a\r\nset-cookie: b\r\n"
        b"Connection: keep-alive, x-hop\r\nx-hop: 1\r\nKeep-Alive: timeout=9\r\n"
        b"x-comptroller-cost-nano-usd: 0\r\nX-Comptroller-Request-Id: forged\r\n"
    )
    fresh.upstream.queue(answering(whole(CHAT, 201, headers)))

    reply = fresh.chat()

    assert (reply.status, reply.body) == (201, CHAT)
    assert reply.headers[:5] == [
        (b"content-type", b"application/json"),
        (b"X-Odd", b"MiXeD"),
        (b"openai-processing-ms", b"5"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    names = [name for name, _ in reply.headers[5:]]
    assert names == [
        b"x-comptroller-request-id",
        b"x-comptroller-cost-nano-usd",
        b"content-length",
    ]
    assert int(reply.value(b"x-comptroller-cost-nano-usd") or 0) == 12_500


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503, 529])
def test_upstream_errors_pass_unmodified(fresh: Site, status: int) -> None:
    """An error is the provider's own, retry-after included, and costs nothing."""
    body = b'{"error": {"message" : "no", "type":"x"} }'
    # A 429 with a time closes the model for so long: the others here need it.
    wait = b"0" if status == 429 else b"17"
    headers = b"Retry-After: %b\r\nx-should-retry: true\r\nrequest-id: req_1\r\n" % wait
    fresh.upstream.queue(answering(whole(body, status, headers)))

    reply = fresh.chat()

    assert (reply.status, reply.body) == (status, body)
    assert reply.value(b"retry-after") == wait
    assert reply.value(b"x-should-retry") == b"true"
    end = fresh.end(reply)
    assert end.data["outcome"] == "upstream_error"
    assert end.data["comptroller.cost.nano_usd"] == 0


def test_a_gzip_reply_passes_coded_and_is_metered(fresh: Site) -> None:
    """A provider that compresses unasked is passed on, and its usage is read."""
    coded = gzip.compress(CHAT)
    fresh.upstream.queue(answering(whole(coded, 200, b"content-encoding: gzip\r\n")))

    reply = fresh.chat()

    assert reply.body == coded
    assert reply.value(b"content-encoding") == b"gzip"
    assert fresh.end(reply).data["comptroller.usage"] == {"input": 10, "output": 5}


def test_a_coding_that_nobody_reads_is_estimated(fresh: Site) -> None:
    """What cannot be read is never free: it is estimated and flagged."""
    headers = b"content-encoding: br\r\n"
    fresh.upstream.queue(answering(whole(b"\x8b" * 99, 200, headers)))

    reply = fresh.chat()

    data = fresh.end(reply).data
    assert reply.body == b"\x8b" * 99
    assert data["comptroller.usage.source"] == "estimated"
    assert data["comptroller.cost.nano_usd"] > 0


ASKED_USAGE = STREAM_BODY[:-1] + b',"stream_options":{"include_usage":true}}'
DECLINED_USAGE = STREAM_BODY[:-1] + b',"stream_options": {"include_usage": false}}'
EVENTS = [chat_event("Hel"), chat_event("lo"), CHAT_END, CHAT_USAGE_EVENT, DONE]


def streaming(*pieces: bytes) -> bytes:
    return STREAM_HEAD + b"".join(chunk(piece) for piece in pieces) + LAST_CHUNK


@pytest.mark.parametrize("cut", [0, 1, 3, 17, 64])
@pytest.mark.parametrize(
    ("body", "is_stripped"),
    [(STREAM_BODY, True), (DECLINED_USAGE, True), (ASKED_USAGE, False)],
)
def test_usage_is_asked_for_and_taken_out_again(
    fresh: Site, body: bytes, is_stripped: bool, cut: int
) -> None:
    """The usage chunk goes exactly to who asked, however the stream is cut up."""
    data = b"".join(EVENTS)
    pieces = EVENTS
    if cut:
        pieces = [data[i : i + cut] for i in range(0, len(data), cut)]
    fresh.upstream.queue(answering(streaming(*pieces)))

    reply = fresh.chat(body)

    sent = fresh.upstream.received[-1].body
    expected = data.replace(CHAT_USAGE_EVENT, b"") if is_stripped else data
    assert b'"include_usage":true' in sent.replace(b" ", b"")
    assert reply.is_whole
    assert reply.body == expected
    usage = fresh.end(reply).data
    assert usage["comptroller.usage"] == {"input": 10, "output": 5}
    assert usage["comptroller.usage.raw"] == [
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    ]


def test_events_pass_while_the_stream_is_open(fresh: Site) -> None:
    """Each event reaches the client at once: nothing waits for the next one."""
    gate = threading.Semaphore(0)
    sent_s: list[float] = []

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        for number in range(30):
            assert gate.acquire(timeout=5)
            sent_s.append(time.monotonic())
            talk.send(chunk(chat_event(f"{number}")))
        talk.send(chunk(DONE) + LAST_CHUNK)

    fresh.upstream.queue(script)
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, STREAM_BODY, fresh.bearer))
        client.read_head()
        waits_s = []
        for number in range(30):
            gate.release()
            assert client.read_chunk() == chat_event(f"{number}")
            waits_s.append(time.monotonic() - sent_s[-1])

    assert sorted(waits_s)[15] < 0.02
    assert max(waits_s) < 0.5


def test_a_large_reply_that_is_no_stream_passes_in_pieces(fresh: Site) -> None:
    """More than a megabyte is not held back; it is metered and whole."""
    body = CHAT.replace(b"Hello", b"x" * 3_000_000)
    fresh.upstream.queue(answering(whole(body)))

    reply = fresh.chat()

    assert reply.value(b"transfer-encoding") == b"chunked"
    assert reply.is_whole
    assert reply.body == body
    assert fresh.end(reply).data["comptroller.usage"] == {"input": 10, "output": 5}


def test_http_1_0_gets_a_reply_it_can_read(fresh: Site) -> None:
    """No chunks, and the connection's end is the stream's; whole replies, too."""
    fresh.upstream.queue(answering(streaming(*EVENTS)))
    stream = request(CHAT_PATH, STREAM_BODY, fresh.bearer, "Connection: keep-alive")
    plain = request(CHAT_PATH, CHAT_BODY, fresh.bearer)
    with raw_client(fresh.worker.port) as client:
        client.send(stream.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        reply = client.read()
    with raw_client(fresh.worker.port) as client:
        client.send(plain.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        other = client.read()
        assert client.is_closed()

    assert reply.value(b"transfer-encoding") is None
    assert reply.value(b"connection") == b"close"
    assert reply.body == b"".join(EVENTS).replace(CHAT_USAGE_EVENT, b"")
    assert other.body == CHAT


def test_deep_nesting_is_refused_and_passed(fresh: Site) -> None:
    """A body nested a hundred thousand deep is refused; such a reply passes."""
    deep = b"[" * 100_000
    refused = fresh.chat(b'{"model":"up","messages":' + deep)
    fresh.upstream.queue(answering(whole(b'{"usage":' + deep)))
    passed = fresh.chat()

    assert refused.status == 400
    assert passed.body == b'{"usage":' + deep
    end = fresh.end(passed)
    assert end.type == records.SETTLED
    assert end.data["comptroller.usage.source"] == "estimated"
    assert end.data["comptroller.cost.nano_usd"] > 0


def test_what_a_provider_says_of_itself_cannot_break_the_record(fresh: Site) -> None:
    """Names of any length and with any character end up in one bounded record."""
    odd = CHAT.replace(b'"c1"', b'"' + b"i\\n" * 40_000 + b'"')
    odd = odd.replace(b'"model":"m"', b'"model":"' + b"\\u2028" * 30_000 + b'"')
    fresh.upstream.queue(answering(whole(odd)))

    reply = fresh.chat()

    assert reply.body == odd
    assert fresh.end(reply).type == records.SETTLED
