"""The simulated provider's framing, failures on demand and books, byte by byte."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from comptroller.testing.provider import running_provider
from comptroller.testing.provider.framing import (
    MalformedRequestError,
    RequestReader,
)

BODY = json.dumps(
    {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
).encode()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with running_provider() as running:
        yield running


class Client:
    """Connections to the provider, closed at the end of the test."""

    def __init__(self, origin: str, stack: ExitStack) -> None:
        self._origin = origin
        self._stack = stack

    def connect(self) -> http.client.HTTPConnection:
        """A connection that the test's end closes."""
        place = urlsplit(self._origin).netloc
        connection = http.client.HTTPConnection(place, timeout=5)
        return self._stack.enter_context(closing(connection))

    def post(self, simulate: str, body: bytes = BODY) -> http.client.HTTPResponse:
        """The head of the reply to a streamed chat with a behaviour."""
        connection = self.connect()
        headers = {
            "x-simulate": simulate,
            "x-tag": f"tag {simulate}",
            "authorization": "Bearer x",
        }
        connection.request("POST", "/v1/chat/completions", body, headers)
        return self._stack.enter_context(closing(connection.getresponse()))

    def leave(self) -> None:
        """Closes every connection, as a client that goes away does."""
        self._stack.close()

    def stats(self) -> dict[str, Any]:
        """The provider's books."""
        connection = self.connect()
        connection.request("GET", "/__stats")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found


@pytest.fixture
def client(origin: str) -> Iterator[Client]:
    with ExitStack() as stack:
        yield Client(origin, stack)


def test_a_failing_status_comes_in_the_dialects_shape(client: Client) -> None:
    """`fail=status` answers with the status, a retry-after and an error object."""
    reply = client.post("fail=status,status=429,retry_after_s=7")

    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert json.load(reply)["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("after", [0, 2])
def test_reset_breaks_the_connection_hard(client: Client, after: int) -> None:
    """`fail=reset` ends in a TCP reset: at once, or after the parts asked for."""
    got = b""
    with pytest.raises(ConnectionResetError):  # noqa: PT012  the read may be several
        reply = client.post(f"fail=reset,after={after}")
        while piece := reply.read1(65536):
            got += piece

    assert got.count(b"data: ") == after


def test_close_ends_a_stream_without_its_last_chunk(client: Client) -> None:
    """`fail=close` is an orderly close in the middle: the reply is incomplete."""
    reply = client.post("fail=close,after=3")
    with pytest.raises(http.client.IncompleteRead) as caught:
        reply.read()

    assert caught.value.partial.count(b"data: ") == 3


def test_close_before_the_reply_answers_nothing(client: Client) -> None:
    """`fail=close` with nothing sent is how an idle connection races a request."""
    with pytest.raises(http.client.RemoteDisconnected):
        client.post("fail=close")


@pytest.mark.parametrize("after", [0, 2])
def test_garbage_is_not_http(client: Client, after: int) -> None:
    """`fail=garbage` sends bytes that no HTTP reader accepts."""
    with pytest.raises(http.client.HTTPException):
        client.post(f"fail=garbage,after={after}").read()


def test_a_body_in_one_piece_breaks_in_its_middle(client: Client) -> None:
    """A JSON body announces its length and ends before it."""
    body = json.dumps({**json.loads(BODY), "stream": False}).encode()
    reply = client.post("fail=close,after=1,output=50", body)
    announced = int(reply.headers["content-length"])
    with pytest.raises(http.client.IncompleteRead) as caught:
        reply.read()

    assert len(caught.value.partial) == announced // 2


def test_stall_says_nothing_more(client: Client) -> None:
    """`fail=stall` sends its parts and is then silent while the client waits."""
    reply = client.post("fail=stall,after=2")
    got = b""
    while got.count(b"data: ") < 2:
        got += reply.read1(65536)
    assert reply.fp is not None
    reply.fp.raw._sock.settimeout(0.3)  # type: ignore[attr-defined]

    with pytest.raises(TimeoutError):
        reply.read1(65536)


def test_no_usage_leaves_it_out_and_still_bills(client: Client) -> None:
    """`fail=no_usage` is a good reply that does not say what it consumed."""
    body = json.dumps({**json.loads(BODY), "stream": False, "model": "mute"}).encode()
    reply = json.load(client.post("fail=no_usage,output=4", body))

    assert "usage" not in reply
    assert client.stats()["bill"]["mute"]["output"] == 4


def test_latency_is_as_asked_for(client: Client) -> None:
    """The first byte and each part come no earlier than asked for."""
    start = time.perf_counter()
    reply = client.post("first_ms=80,chunk_ms=10,output=5")
    first = time.perf_counter() - start
    reply.read()
    whole = time.perf_counter() - start

    assert first >= 0.08
    assert whole >= 0.08 + 7 * 0.01  # role, 5 pieces, finish, done: 7 gaps


def test_a_client_that_leaves_is_noticed_and_billed_in_part(client: Client) -> None:
    """What was generated until the client left is on the broken bill."""
    body = json.dumps({**json.loads(BODY), "model": "left"}).encode()
    reply = client.post("chunk_ms=10,output=500", body)
    reply.read1(100)
    client.leave()
    deadline = time.monotonic() + 5
    while "left" not in (found := client.stats())["bill_broken"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert 0 <= found["bill_broken"]["left"].get("output", 0) < 500
    assert "left" not in found["bill"]


def test_behaviour_can_be_queued_for_the_next_requests(client: Client) -> None:
    """`PUT /__behaviour` with `next` holds for so many requests and no more."""
    connection = client.connect()
    wanted = json.dumps({"next": 2, "fail": "status", "status": 503})
    connection.request("PUT", "/__behaviour", wanted)
    assert connection.getresponse().read() == b"{}"
    seen = []
    for _ in range(3):
        connection.request("POST", "/v1/chat/completions", BODY)
        reply = connection.getresponse()
        reply.read()
        seen.append(reply.status)

    assert seen == [503, 503, 200]


@pytest.mark.parametrize("simulate", ["fail=explode", "colour=red", "after=x"])
def test_a_behaviour_that_means_nothing_is_refused(
    client: Client, simulate: str
) -> None:
    """A misspelt behaviour is a 400 that names it, never a silent success."""
    reply = client.post(simulate)

    assert reply.status == 400
    assert b"x-simulate" in reply.read()


def test_books_hold_tags_paths_and_whole_requests(client: Client) -> None:
    """Every request is noted when it is complete, with its tag and its headers."""
    reply = client.post("output=1")
    reply.read()
    found = client.stats()

    assert "tag output=1" in found["tags"]
    assert found["tag_bills"]["tag output=1"]["output"] == 1
    last = found["requests"][-1]
    assert last["headers"]["authorization"] == "Bearer x"
    assert last["body_bytes"] == len(BODY)
    assert found["paths"]["/v1/chat/completions"] == found["counts"]["requests"]


def test_pipelined_requests_are_answered_in_order(origin: str) -> None:
    """A slow first reply holds the second one back."""
    place = urlsplit(origin)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-simulate: %b\r\n"
    length = b"content-length: %d\r\n\r\n" % len(BODY)
    slow = head % b"first_ms=100,output=1,answered_as=slow" + length + BODY
    fast = head % b"output=1,answered_as=fast" + length + BODY
    with socket.create_connection((place.hostname or "", place.port or 0), 5) as raw:
        raw.sendall(slow + fast)
        got = b""
        while got.count(b"[DONE]") < 2:
            got += raw.recv(65536)

    assert got.index(b'"slow"') < got.index(b"[DONE]") < got.index(b'"fast"')


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1 extra\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspaced : x\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\nx",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\nx\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxy\r\n",
    ],
)
def test_ambiguous_framing_is_refused(raw: bytes) -> None:
    """What two parsers might read in two ways, this one does not read at all."""
    reader = RequestReader()
    reader.feed(raw)

    with pytest.raises(MalformedRequestError):
        reader.next_request()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_requests_are_read_whatever_the_packets(step: int) -> None:
    """Two requests, one chunked, come out whole at any split of their bytes."""
    raw = (
        b"POST /a HTTP/1.1\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 3\r\n\r\nabc"
        b"POST /b?q=1 HTTP/1.1\r\ntransfer-encoding: Chunked\r\nconnection: close"
        b"\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
    )
    reader = RequestReader()
    found = []
    for start in range(0, len(raw), step):
        reader.feed(raw[start : start + step])
        while request := reader.next_request():
            found.append(request)

    assert [(r.path, r.body, r.keep_alive) for r in found] == [
        ("/a", b"abc", True),
        ("/b", b"def", False),
    ]
    assert found[0].headers["x-one"] == "1, 2"


def test_it_speaks_tls_with_a_certificate_of_the_test(tmp_path: Path) -> None:
    """With a certificate it serves HTTPS, which a client of its CA verifies."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "leaf.pem", tmp_path / "leaf.key"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        running_provider("--tls-cert", str(certificate), "--tls-key", str(key)) as tls,
        closing(
            http.client.HTTPSConnection(urlsplit(tls).netloc, context=context)
        ) as connection,
    ):
        connection.request("GET", "/v1/models")
        reply = connection.getresponse()

        assert tls.startswith("https://")
        assert json.loads(reply.read())["object"] == "list"


def test_a_thousand_requests_take_little_time(origin: str) -> None:
    """It is quick enough to stand behind load: a thousand replies in a few seconds."""
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-simulate: output=20\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    place = urlsplit(origin)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for _ in range(100):
            writer.write(request)
            await reader.readuntil(b"[DONE]\n\n\r\n0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def load() -> None:
        await asyncio.gather(*(client() for _ in range(10)))

    start = time.perf_counter()
    asyncio.run(load())

    assert time.perf_counter() - start < 10


def test_books_are_kept_by_group(client: Client) -> None:
    """Requests tagged `group/1` count together: how many, at once, and billed."""

    def post(group: str, simulate: str) -> http.client.HTTPConnection:
        connection = client.connect()
        headers = {"x-tag": f"{group}/1", "x-simulate": f"input=7, {simulate}"}
        connection.request("POST", "/v1/chat/completions", BODY, headers)
        return connection

    slow = [post("slow", "output=2, first_ms=200") for _ in range(3)]
    failed = post("failed", "fail=status")
    for connection in (*slow, failed):
        connection.getresponse().read()
    groups = client.stats()["groups"]

    assert groups["slow"] == {
        "requests": 3,
        "under_way": 0,
        "most_under_way": 3,
        "bill": {"m": {"requests": 3, "input": 21, "output": 6}},
    }
    assert groups["failed"] == {
        "requests": 1,
        "under_way": 0,
        "most_under_way": 1,
        "bill": {},
    }


def test_a_broken_reply_is_on_its_groups_bill(client: Client) -> None:
    """What was generated before the break, and all of the prompt."""
    connection = client.connect()
    simulate = "input=9, output=10, fail=close, after=6"
    headers = {"x-tag": "broken/1", "x-simulate": simulate}
    connection.request("POST", "/v1/chat/completions", BODY, headers)
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    (line,) = client.stats()["groups"]["broken"]["bill"].values()

    assert line["input"] == 9
    assert 0 < line["output"] < 10
