import socket
import threading
import time
from contextlib import ExitStack

import pytest

from comptroller.testing.rawclient import RawClient, raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    STREAM_HEAD,
    Script,
    Talk,
    answering,
    chunk,
    whole,
)
from comptroller.testing.worker import CHAT_BODY, CHAT_PATH, STREAM_BODY, Site

BODY_MAX = 1_000_000
START = f"POST {CHAT_PATH} HTTP/1.1\r\n".encode()
SENT = CHAT_BODY.replace(b'"up"', b'"m"')


def head(site: Site, *lines: bytes) -> bytes:
    """A request's head with a credential and a Host, up to the blank line."""
    return b"".join(
        (START, b"Host: a\r\n", site.bearer.encode(), b"\r\n", *lines, b"\r\n")
    )


MALFORMED = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n",
    "a length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "an endless length": b"Content-Length: 99999999999999999999999\r\n",
    "space before the colon": b"Content-Length : 5\r\n",
    "an unknown coding": b"Transfer-Encoding: gzip\r\n",
    "chunks, then a coding": b"Transfer-Encoding: chunked, gzip\r\n",
    "a coding, then chunks": b"Transfer-Encoding: gzip, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a coding, hidden": b"Transfer-Encoding: xchunked\r\n",
    "a folded header": b"X: a\r\n b\r\n",
    "a folded length": b"Content-Length:\r\n 5\r\n",
    "a bare LF": b"X: a\nY: b\r\n",
    "a bare CR": b"X: a\rY: b\r\n",
    "a NUL": b"X: a\0b\r\n",
    "a control character": b"X: a\x07b\r\n",
    "no name": b": a\r\n",
    "no colon": b"X\r\n",
    "a name with a space": b"X Y: a\r\n",
    "a name with a quote": b'X"Y: a\r\n',
    "an 8-bit name": b"X\xe9: a\r\n",
}


@pytest.mark.parametrize("how", MALFORMED)
def test_what_is_not_http_is_refused(fresh: Site, how: str) -> None:
    """400 in words, the connection closed, nothing forwarded."""
    with raw_client(fresh.worker.port) as client:
        client.send(head(fresh, MALFORMED[how]) + b"0\r\n\r\nabcde" + SENT)
        reply = client.read()

        assert reply.status == 400
        assert reply.value(b"connection") == b"close"
        assert client.is_closed()
    assert fresh.upstream.received == []


STARTS = {
    "HTTP/2.0": (b"POST %b HTTP/2.0\r\n", 505),
    "HTTP/0.9": (b"POST %b HTTP/0.9\r\n", 505),
    "HTTP/1.2": (b"POST %b HTTP/1.2\r\n", 400),
    "HTTP/11.1": (b"POST %b HTTP/11.1\r\n", 400),
    "no version": (b"POST %b\r\n", 505),
    "no HTTP": (b"POST %b HTTPS/1.1\r\n", 400),
    "lower case": (b"post %b HTTP/1.1\r\n", 400),
    "an unknown method": (b"FETCH %b HTTP/1.1\r\n", 400),
    "a bare LF": (b"POST %b HTTP/1.1\n", 400),
    "a space first": (b" POST %b HTTP/1.1\r\n", 400),
    "an 8-bit target": (b"POST %b?a=\xe9 HTTP/1.1\r\n", 400),
    "a control character": (b"POST %b?a=\x01 HTTP/1.1\r\n", 400),
    "a tab": (b"POST %b\tHTTP/1.1\r\n", 400),
    "a fragment": (b"POST %b#a HTTP/1.1\r\n", 404),
}


@pytest.mark.parametrize("how", STARTS)
def test_an_odd_first_line_is_refused(fresh: Site, how: str) -> None:
    """A version, method or target that is not ours is not guessed at."""
    start, status = STARTS[how]
    first = start % CHAT_PATH.encode()
    rest = head(fresh, b"Content-Length: %d\r\n" % len(CHAT_BODY))[len(START) :]

    reply = fresh.ask(first + rest + CHAT_BODY)

    assert reply.status == status
    assert fresh.upstream.received == []


CHUNKS = dict(
    enumerate(
        [
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5\nhello\n0\n\n",
            b"5\r\nhelloX0\r\n\r\n",
            b"4\r\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"5;a\0b\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX\r\n\r\n",
            b"g\r\n",
        ]
    )
)


@pytest.mark.parametrize("number", CHUNKS)
def test_bad_chunks_are_refused(fresh: Site, number: int) -> None:
    """A chunk that is not one ends the request."""
    chunked = b"Transfer-Encoding: chunked\r\n"

    reply = fresh.ask(head(fresh, chunked) + CHUNKS[number])

    assert reply.status == 400
    assert fresh.upstream.received == []


def test_chunks_are_not_for_http_1_0(fresh: Site) -> None:
    """HTTP/1.0 has no transfer codings: which bytes are the body is unclear."""
    data = head(fresh, b"Transfer-Encoding: chunked\r\n").replace(b"1.1", b"1.0", 1)

    reply = fresh.ask(data + chunk(CHAT_BODY) + b"0\r\n\r\n")

    assert reply.status == 505
    assert fresh.upstream.received == []


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        (0, b"1.1", 400),
        (2, b"1.1", 400),
        (1, b"1.1", 200),
        (0, b"1.0", 200),
        (2, b"1.0", 400),
    ],
)
def test_one_host_names_the_server(
    fresh: Site, hosts: int, version: bytes, status: int
) -> None:
    """RFC 9112 §3.2: exactly one in HTTP/1.1, at most one in HTTP/1.0."""
    data = request(CHAT_PATH, CHAT_BODY, fresh.bearer)
    data = data.replace(b"Host: gateway\r\n", b"Host: a\r\n" * hosts)

    reply = fresh.ask(data.replace(b"HTTP/1.1", b"HTTP/" + version, 1))

    assert reply.status == status


def test_the_http_2_preface_is_refused(fresh: Site) -> None:
    """A client with prior knowledge of HTTP/2 learns that it was wrong."""
    reply = fresh.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")

    assert reply.status == 400


def test_tls_on_the_plain_port_is_refused(fresh: Site) -> None:
    """The first bytes of a TLS handshake are no request."""
    assert fresh.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").status == 400


def test_connect_opens_no_tunnel(fresh: Site) -> None:
    """CONNECT is refused, and what follows it is not read as requests."""
    with raw_client(fresh.worker.port) as client:
        client.send(
            b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"
            + request(CHAT_PATH, CHAT_BODY, fresh.bearer)
        )
        assert client.read().status == 404
        assert client.is_closed()
    assert fresh.upstream.received == []


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ")


@pytest.mark.parametrize("name", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_upgrade_is_declined_and_the_body_read(
    fresh: Site, name: str, count: int
) -> None:
    """The request is served over HTTP/1.1, body included, and so are the next."""
    ask = request(CHAT_PATH, CHAT_BODY, fresh.bearer, f"Upgrade: {name}", *UPGRADE)
    with raw_client(fresh.worker.port) as client:
        client.send((ask + request("/healthz", method="GET")) * count)
        for _ in range(count):
            assert client.read().body == CHAT
            assert client.read().body == b'{"status":"ok"}'

    assert [one.body for one in fresh.upstream.received] == [SENT] * count
    received = fresh.upstream.received[0]
    assert received.values(b"upgrade") == received.values(b"http2-settings") == []


def test_a_declined_upgrade_may_be_chunked_and_slow(fresh: Site) -> None:
    """The body of such a request may come in chunks and byte by byte."""
    upgrade = ("Upgrade: h2c", "Connection: upgrade, close")
    ask = request(CHAT_PATH, b"", fresh.bearer, *upgrade, "Transfer-Encoding: chunked")
    with raw_client(fresh.worker.port) as client:
        for byte in ask + chunk(CHAT_BODY) + b"0\r\nx-api-key: b\r\n\r\n":
            client.send(bytes((byte,)))
        reply = client.read()
        assert (reply.status, reply.body) == (200, CHAT)
        assert client.is_closed()
    assert fresh.upstream.received[0].body == SENT


def test_thousands_of_upgrades_in_one_write_are_declined(fresh: Site) -> None:
    """However many are pipelined, each is answered, in order."""
    ask = request("/healthz", b"", "Upgrade: h2c", "Connection: upgrade", method="GET")
    with raw_client(fresh.worker.port) as client:
        client.send(ask * 3000)
        assert all(client.read().status == 200 for _ in range(3000))


def test_expect_100_is_answered_before_the_body(fresh: Site) -> None:
    """The client is told to go on; a body that would be refused is not awaited."""
    with raw_client(fresh.worker.port) as client:
        size = b"Content-Length: %d\r\n" % len(CHAT_BODY)
        client.send(head(fresh, size, b"Expect: 100-continue\r\n"))
        assert client.read().status == 100
        client.send(CHAT_BODY)
        assert client.read().status == 200
    with raw_client(fresh.worker.port) as client:
        size = b"Content-Length: %d\r\n" % (BODY_MAX + 1)
        client.send(head(fresh, size, b"Expect: 100-continue\r\n"))
        assert client.read().status == 413
    assert fresh.upstream.received[0].values(b"expect") == []


def test_fifty_requests_in_one_write_are_answered_in_order(fresh: Site) -> None:
    """Pipelined requests go upstream and are answered one after the other."""
    bodies = [CHAT_BODY.replace(b"Hi", b"%d" % n) for n in range(50)]

    def script(talk: Talk) -> None:
        asked = fresh.upstream.received[-1].body
        number = asked.partition(b'"content":"')[2].partition(b'"')[0]
        talk.send(whole(CHAT.replace(b"Hello", number)))

    fresh.upstream.answer = script
    with raw_client(fresh.worker.port) as client:
        asks = [request(CHAT_PATH, body, fresh.bearer) for body in bodies]
        client.send(b"".join(asks))
        replies = [client.read().body for _ in bodies]

    assert replies == [CHAT.replace(b"Hello", b"%d" % n) for n in range(50)]


def test_a_bad_request_behind_good_ones_does_not_harm_them(fresh: Site) -> None:
    """Those before it are answered; it is refused; nothing behind it is served."""
    ask = request(CHAT_PATH, CHAT_BODY, fresh.bearer)
    bad = head(fresh, b"Transfer-Encoding: gzip\r\n")
    with raw_client(fresh.worker.port) as client:
        client.send(ask + ask + bad + ask)
        statuses = [client.read().status for _ in range(3)]
        assert client.is_closed()

    assert statuses == [200, 200, 400]
    assert len(fresh.upstream.received) == 2


@pytest.mark.parametrize("size", [65_000, 70_000, 300_000, 2_000_000])
def test_a_head_is_bounded(fresh: Site, size: int) -> None:
    """A head of up to 64 KiB passes; a larger one is a 431, however it comes."""
    line = b"X: " + b"y" * (size - 400) + b"\r\n"
    end = b"Content-Length: %d\r\n" % len(CHAT_BODY)
    with raw_client(fresh.worker.port) as client:
        client.send(head(fresh, line, end) + CHAT_BODY)
        reply = client.read()

    assert reply.status == (200 if size < 65_536 else 431)


def test_a_head_of_many_small_lines_is_bounded(fresh: Site) -> None:
    """It is the size that counts, not the line."""
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(20_000))

    assert fresh.ask(head(fresh, lines)).status == 431


def test_a_target_is_bounded(fresh: Site) -> None:
    """A target over 8 KiB is a 414."""
    target = f"{CHAT_PATH}?a={'b' * 9000}"

    assert fresh.ask(request(target, CHAT_BODY, fresh.bearer)).status == 414


@pytest.mark.parametrize("size", [BODY_MAX, BODY_MAX + 1, 3 * BODY_MAX])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_is_bounded(fresh: Site, size: int, is_chunked: bool) -> None:
    """Up to the configured size passes; more is one 413 that names the setting."""
    body = CHAT_BODY[:-1] + b',"x":"'
    body += b"y" * (size - len(body) - 2) + b'"}'
    with raw_client(fresh.worker.port) as client:
        if is_chunked:
            parts = [chunk(body[i : i + 9999]) for i in range(0, size, 9999)]
            framed = b"".join(parts) + b"0\r\n\r\n"
            client.send(head(fresh, b"Transfer-Encoding: chunked\r\n"))
        else:
            framed = body
            client.send(head(fresh, b"Content-Length: %d\r\n" % size))
        send_what_is_taken(client, framed)
        reply = client.read()
        if size > BODY_MAX:
            assert client.is_closed()

    assert reply.status == (200 if size <= BODY_MAX else 413)
    if size > BODY_MAX:
        assert b"'gateway: body_max' in its configuration" in reply.body
        assert fresh.upstream.received == []


def send_what_is_taken(client: RawClient, data: bytes) -> None:
    try:
        client.send(data)
    except ConnectionError:
        return  # refused while it was still being sent


def test_a_refusal_arrives_although_the_client_goes_on_sending(fresh: Site) -> None:
    """What a refused client still sends is read, so that it gets the answer."""
    with raw_client(fresh.worker.port) as client:
        client.send(head(fresh, b"Content-Length: 50000000\r\n"))
        for _ in range(20):
            client.send(b"x" * 65_536)
            time.sleep(0.005)
        assert client.read().status == 413


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\nff\r\n"
SLOW = {
    "a head": (START + b"Host: a\r\n", b"X"),
    "a target": (b"POST /v1/", b"x"),
    "a body": (START + b"Host: a\r\nContent-Length: 999\r\n\r\n", b" "),
    "a chunk": (START + b"Host: a\r\n" + CHUNKED, b" "),
}


def test_slow_senders_are_turned_away(fresh: Site) -> None:
    """A byte now and then does not keep a connection: 408 in time."""
    with ExitStack() as stack:
        clients = {
            how: stack.enter_context(raw_client(fresh.worker.port)) for how in SLOW
        }
        for how, client in clients.items():
            client.send(SLOW[how][0])
        for _ in range(40):
            time.sleep(0.1)
            for how, client in clients.items():
                send_what_is_taken(client, SLOW[how][1])
        statuses = {how: client.read().status for how, client in clients.items()}

    assert statuses == dict.fromkeys(SLOW, 408)


def test_a_connection_that_says_nothing_costs_nothing_else(fresh: Site) -> None:
    """Hundreds of silent connections do not keep others from being served."""
    silent = [
        socket.create_connection(("127.0.0.1", fresh.worker.port)) for _ in range(300)
    ]
    try:
        assert fresh.chat().status == 200
    finally:
        for one in silent:
            one.close()


def offering(total: int, sent: list[int]) -> Script:
    """A stream of so many bytes; notes how many of them were taken."""
    piece = chunk(b'data: {"choices":[]}\n\n' + b": " + b"x" * 65_000 + b"\n\n")

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD)
        while sum(sent) < total:
            talk.send(piece)
            sent.append(len(piece))

    return script


def test_a_reader_that_does_not_read_is_felt_by_the_provider(fresh: Site) -> None:
    """500 MB on offer, none read: the worker stays small, the provider waits."""
    taken: list[int] = []
    fresh.upstream.queue(offering(500_000_000, taken))
    before = fresh.worker.memory_bytes()
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, STREAM_BODY, fresh.bearer))
        client.read_head()
        time.sleep(1.5)
        offered = sum(taken)
        grown = fresh.worker.memory_bytes() - before
        time.sleep(0.3)
        is_waiting = sum(taken) == offered
        client.reset()

    assert is_waiting
    assert offered < 30_000_000
    assert grown < 20 * 1024 * 1024


def test_a_pipeliner_that_does_not_read_is_not_served_on(fresh: Site) -> None:
    """Replies that nobody takes hold up the requests behind them."""
    body = CHAT.replace(b"Hello", b"x" * 900_000)
    fresh.upstream.answer = answering(whole(body))
    before = fresh.worker.memory_bytes()
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, CHAT_BODY, fresh.bearer) * 200)
        time.sleep(1)
        served = len(fresh.upstream.received)
        grown = fresh.worker.memory_bytes() - before
        for _ in range(200):
            assert client.read().body == body

    assert served < 20
    assert grown < 20 * 1024 * 1024


def test_a_connection_paused_by_a_slow_client_serves_the_next(fresh: Site) -> None:
    """The provider's connection is read again when it goes to another request."""
    big = b'data: {"choices":[]}\n\n' + b": " + b"x" * 6_000_000 + b"\n\n"

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD + chunk(big) + b"0\r\n\r\n")

    fresh.upstream.queue(script)
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, STREAM_BODY, fresh.bearer))
        client.read_head()
        time.sleep(0.2)
        client.read_until(b"\n\n\r\n0\r\n\r\n")
        for _ in range(3):
            assert fresh.chat().status == 200


def test_a_large_body_is_let_go_of_when_it_was_sent(fresh: Site) -> None:
    """Long replies to long prompts do not add up in the worker's memory."""
    body = STREAM_BODY[:-1] + b',"x":"' + b"y" * 900_000 + b'"}'
    gate = threading.Event()

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD + chunk(b"data: {}\n\n"))
        assert gate.wait(10)
        talk.send(b"0\r\n\r\n")

    fresh.upstream.answer = script
    before = fresh.worker.memory_bytes()
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(raw_client(fresh.worker.port))
            client.send(request(CHAT_PATH, body, fresh.bearer))
            assert client.read_head().status == 200
        grown = fresh.worker.memory_bytes() - before
        gate.set()

    assert grown < 20 * 1024 * 1024
