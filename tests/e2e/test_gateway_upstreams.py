import socket
import threading
import time
from dataclasses import replace

import pytest

from comptroller.engine import records
from comptroller.testing.rawclient import Reply, raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    Script,
    Talk,
    answering,
    chat_event,
    chunk,
    whole,
)
from comptroller.testing.worker import CHAT_BODY, CHAT_PATH, STREAM_BODY, Site

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENT = chunk(chat_event("Hello"))


@pytest.fixture(scope="module")
def settings() -> dict[str, int]:
    """A provider's silence is over soon."""
    return {"upstream_first_byte_timeout_s": 1, "upstream_idle_timeout_s": 1}


def then_close(data: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.send(data)
        talk.close()

    return script


def then_reset(data: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.send(data)
        time.sleep(0.05)
        talk.reset()

    return script


def then_wait(data: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.send(data)
        assert talk.is_left(10)
        talk.close()

    return script


def assert_estimated(site: Site, reply: Reply) -> None:
    """The request ended once, flagged, and not for nothing."""
    end = site.end(reply)
    assert end.type == records.SETTLED
    assert end.data["outcome"] == "upstream_broke"
    assert end.data["comptroller.usage.source"] == "estimated"
    assert end.data["comptroller.cost.nano_usd"] > 0


BROKEN = {
    "closes at once": then_close(b""),
    "resets at once": then_reset(b""),
    "closes in the head": then_close(HEAD),
    "resets in the head": then_reset(HEAD),
    "closes in the body": then_close(HEAD + b"content-length: 100\r\n\r\n{"),
    "resets in the body": then_reset(HEAD + b"content-length: 100\r\n\r\n{"),
    "closes in a chunk": then_close(
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(b"{")
    ),
    "garbage": answering(b"\x00\x01\x02 no HTTP\r\n\r\n"),
    "an SSH server": answering(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "HTTP/2": answering(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "a length and chunks": answering(
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": answering(
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"
    ),
    "a negative length": answering(HEAD + b"content-length: -2\r\n\r\n{}"),
    "a length in the trailers": answering(
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 3\r\n\r\n"
    ),
    "a bad chunk": answering(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "a folded header": answering(HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n"),
    "a NUL in a header": answering(HEAD + b"x: a\0\r\ncontent-length: 0\r\n\r\n"),
    "another protocol": answering(
        b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
    ),
    "a head without an end": answering(HEAD + b"x: " + b"y" * 400_000),
    "hints without an end": answering(b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\n" * 20_000),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_provider_is_a_502_and_never_free(fresh: Site, how: str) -> None:
    """The client learns that the provider broke; the request is estimated."""
    fresh.upstream.queue(BROKEN[how])

    reply = fresh.chat()

    assert reply.status == 502
    assert reply.is_whole
    assert b"did not answer this request: " in reply.body
    assert_estimated(fresh, reply)
    assert len(fresh.upstream.received) == 1
    assert fresh.chat().status == 200


BROKEN_STREAMS = {
    "closes": then_close(STREAM_HEAD + EVENT),
    "resets": then_reset(STREAM_HEAD + EVENT),
    "garbage": answering(STREAM_HEAD + EVENT + b"no chunk"),
    "stalls": then_wait(STREAM_HEAD + EVENT),
    "closes in a chunk": then_close(STREAM_HEAD + EVENT + EVENT[:-9]),
}


@pytest.mark.parametrize("how", BROKEN_STREAMS)
def test_a_broken_stream_never_looks_whole(fresh: Site, how: str) -> None:
    """What came is passed on, the end is a break, and it is estimated."""
    fresh.upstream.queue(BROKEN_STREAMS[how])

    reply = fresh.chat(STREAM_BODY)

    assert (reply.status, reply.is_whole) == (200, False)
    assert reply.body.startswith(chat_event("Hello"))
    assert_estimated(fresh, reply)


def test_a_large_reply_that_breaks_never_looks_whole(fresh: Site) -> None:
    """Beyond what is held back, a break is seen as one."""
    head = HEAD + b"content-length: 9000000\r\n\r\n"
    fresh.upstream.queue(then_close(head + b"x" * 2_000_000))

    reply = fresh.chat()

    assert (reply.status, reply.is_whole) == (200, False)
    assert_estimated(fresh, reply)


@pytest.mark.parametrize("sent", [b"", HEAD])
def test_a_provider_that_stalls_is_a_504(fresh: Site, sent: bytes) -> None:
    """Silence before the reply ends within the configured time."""
    fresh.upstream.queue(then_wait(sent))

    began_s = time.monotonic()
    reply = fresh.chat()

    assert reply.status == 504
    assert time.monotonic() - began_s < 4
    assert_estimated(fresh, reply)


def test_a_provider_that_refuses_connections_costs_nothing(fresh: Site) -> None:
    """Nothing was sent: 502, released, and the client may try again."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        origin = f"http://127.0.0.1:{closed.getsockname()[1]}"
    providers = fresh.served.registry.providers
    original = dict(providers)
    providers.update(
        {name: replace(one, base_url=origin) for name, one in original.items()}
    )
    fresh.served.publish()
    time.sleep(0.4)
    reply = fresh.chat()
    providers.update(original)
    fresh.served.publish()
    time.sleep(0.4)

    assert reply.status == 502
    assert reply.value(b"x-should-retry") == b"true"
    end = fresh.end(reply)
    assert (end.type, end.data["reason"]) == (records.RELEASED, "upstream_connect")
    assert fresh.chat().status == 200


GOOD = {
    "informational replies first": answering(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + whole(CHAT)
    ),
    "chunks with trailers": answering(
        HEAD
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"".join(chunk(CHAT[i : i + 7]) for i in range(0, len(CHAT), 7))
        + b"0\r\nx-trailer: 1\r\nx-comptroller-x: 2\r\n\r\n"
    ),
    "chunk extensions": answering(
        HEAD
        + b"transfer-encoding: chunked\r\n\r\n"
        + chunk(CHAT).replace(b"\r\n", b";a=b\r\n", 1)
        + LAST_CHUNK
    ),
    "no framing": then_close(HEAD + b"\r\n" + CHAT),
    "HTTP/1.0": then_close(whole(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0")),
    "HTTP/1.0 without framing": then_close(
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n" + CHAT
    ),
    "connection: close": then_close(whole(CHAT, 200, b"connection: close\r\n")),
    "bytes behind a last reply": then_close(
        whole(CHAT, 200, b"connection: close\r\n") + b"\r\nmore"
    ),
    "a second reply unasked": answering(whole(CHAT) + whole(b"{}", 500)),
    "half of a second reply": answering(whole(CHAT) + whole(b"{}", 500)[:30]),
    "no reason phrase": answering(whole(CHAT).replace(b" Said", b"")),
}


@pytest.mark.parametrize("how", GOOD)
def test_an_unusual_provider_is_understood(fresh: Site, how: str) -> None:
    """Each is a whole reply, metered; and the next request is none the worse."""
    fresh.upstream.queue(GOOD[how])

    with raw_client(fresh.worker.port) as client:
        for _ in range(3):
            client.send(request(CHAT_PATH, CHAT_BODY, fresh.bearer))
            reply = client.read()
            assert (reply.status, reply.body, reply.is_whole) == (200, CHAT, True)
            assert reply.value(b"x-trailer") is None
            assert reply.value(b"link") is None
            usage = fresh.end(reply).data
            assert usage["comptroller.usage"] == {"input": 10, "output": 5}
            assert usage["outcome"] == "completed"


def test_one_connection_serves_many_requests(fresh: Site) -> None:
    """Connections to the provider are kept and used again."""
    fresh.chat()
    before = fresh.upstream.connections
    for _ in range(20):
        assert fresh.chat().status == 200

    assert fresh.upstream.connections == before


@pytest.mark.parametrize("end", [Talk.close, Talk.reset])
def test_a_connection_closed_while_idle_is_not_used(fresh: Site, end: Script) -> None:
    """The next request goes out on a fresh connection and succeeds."""
    closed = threading.Event()

    def script(talk: Talk) -> None:
        talk.send(whole(CHAT))
        time.sleep(0.1)
        end(talk)
        closed.set()

    for _ in range(5):
        closed.clear()
        fresh.upstream.queue(script)
        assert fresh.chat().status == 200
        assert closed.wait(5)
        time.sleep(0.05)
        assert fresh.chat().status == 200


def test_nothing_is_sent_twice(fresh: Site) -> None:
    """A connection that breaks under a request is not tried again."""
    fresh.chat()
    fresh.upstream.queue(then_reset(b""))

    assert fresh.chat().status == 502
    assert len(fresh.upstream.received) == 2


def test_an_early_answer_to_a_large_body_is_passed(fresh: Site) -> None:
    """A provider may answer before it has read everything."""
    body = CHAT_BODY[:-1] + b',"x":"' + b"y" * 900_000 + b'"}'
    fresh.upstream.queue(answering(whole(b"{}", 413)))

    assert fresh.chat(body).status == 413


def test_a_stream_without_an_end_is_ended_by_the_close(fresh: Site) -> None:
    """An unframed stream is whole when the provider closes in order."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    fresh.upstream.queue(then_close(head + chat_event("Hi") + DONE))

    reply = fresh.chat(STREAM_BODY)

    assert reply.is_whole
    assert reply.body == chat_event("Hi") + DONE
