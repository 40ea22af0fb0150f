import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from comptroller.adapters.system import SystemClock
from comptroller.engine import records
from comptroller.testing.rawclient import raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    STREAM_HEAD,
    Script,
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
    Issued,
    Site,
    WorkerProcess,
    recorded,
)

SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def pair(site: Site) -> Iterator[Site]:
    """The module's worker, and a second one on the same port and data."""
    port = site.worker.port
    second = WorkerProcess(site.worker.data, {"name": "w1"}, port)
    try:
        yield site
    finally:
        second.stop()


def bearer(issued: Issued) -> str:
    return f"Authorization: Bearer {issued.secret}"


def known(site: Site, **fields: int) -> Issued:
    """A new credential that the worker has taken up."""
    issued = site.served.issue(**fields)
    site.served.publish()
    time.sleep(0.4)
    return issued


@pytest.mark.parametrize(
    "form", ["Authorization: Bearer", "x-api-key:", "X-Goog-API-Key:"]
)
def test_a_credential_is_taken_from_each_of_the_headers(fresh: Site, form: str) -> None:
    """Each header admits; the provider gets its own credential and not ours."""
    reply = fresh.ask(request(CHAT_PATH, CHAT_BODY, f"{form} {fresh.served.key}"))

    assert reply.status == 200
    received = fresh.upstream.received[-1]
    assert received.values(b"authorization") == [f"Bearer {PROVIDER_KEY}".encode()]
    assert received.values(b"x-api-key") == received.values(b"x-goog-api-key") == []
    assert fresh.served.key.encode() not in b"".join(
        value for _, value in received.headers
    )


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/chat/completions", b"authorization", f"Bearer {PROVIDER_KEY}"),
        ("/v1/messages", b"x-api-key", PROVIDER_KEY),
        ("/v1beta/models/up:generateContent", b"x-goog-api-key", PROVIDER_KEY),
    ],
)
def test_the_provider_gets_its_credential_in_its_dialect(
    fresh: Site, path: str, name: bytes, value: str
) -> None:
    """Exactly one credential goes upstream, whichever the client sent."""
    headers = [
        f"{form} {fresh.served.key}"
        for form in ("Authorization: Bearer", "x-api-key:", "x-goog-api-key:")
    ]

    fresh.ask(request(path, CHAT_BODY, *headers))

    received = fresh.upstream.received[-1]
    found = [
        (key.lower(), held)
        for key, held in received.headers
        if key.lower() in {b"authorization", b"x-api-key", b"x-goog-api-key"}
    ]
    assert found == [(name, value.encode())]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_credential"),
        (["Authorization: Bearer ctl_wrong"], "unknown_credential"),
        (["Authorization: Basic {key}"], "unknown_credential"),
        (["Authorization: Bearer"], "unknown_credential"),
        (["x-api-key:"], "unknown_credential"),
        (["x-api-key: {key}x"], "unknown_credential"),
        (["x-api-key: {key}", "x-api-key: other"], "conflicting_credentials"),
        (["Authorization: Bearer {key}", "x-api-key: b"], "conflicting_credentials"),
    ],
)
def test_nobody_else_is_admitted(fresh: Site, headers: list[str], code: str) -> None:
    """Without one valid credential: 401, no body read, nothing forwarded."""
    filled = [line.format(key=fresh.served.key) for line in headers]

    reply = fresh.ask(request(CHAT_PATH, CHAT_BODY, *filled))

    assert (reply.status, reply.value(b"x-comptroller-code")) == (401, code.encode())
    assert fresh.upstream.received == []


def test_strangers_are_counted_in_the_journal(fresh: Site) -> None:
    """Refusals without a credential leave one record a reason and second."""
    for _ in range(5):
        fresh.ask(request(CHAT_PATH, CHAT_BODY))

    deadline = time.monotonic() + 5
    count = 0
    while count < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
        count = sum(
            one.data["count"]
            for one in recorded(fresh.worker.data)
            if one.type == records.UNAUTHENTICATED
            and one.data["reason"] == "missing_credential"
        )
    assert count >= 5


def test_an_expired_credential_is_refused_and_recorded(fresh: Site) -> None:
    """It admits to its end and not beyond; the refusal names what happened."""
    ends_ns = SystemClock().now_ns() + SECOND_NS
    issued = known(fresh, expires_ns=ends_ns)
    before = fresh.ask(request(CHAT_PATH, CHAT_BODY, bearer(issued)))
    time.sleep(1.0)
    after = fresh.ask(request(CHAT_PATH, CHAT_BODY, bearer(issued)))

    assert (before.status, after.status) == (200, 401)
    assert after.value(b"x-comptroller-code") == b"credential_expired"
    assert fresh.decision(after).data["reason"] == "credential_expired"


def test_a_rotated_credential_overlaps_and_keeps_its_id(fresh: Site) -> None:
    """Old and new secret both admit, as the same credential, until the old ends."""
    issued = known(fresh)
    ends_ns = SystemClock().now_ns() + 3 * SECOND_NS // 2
    new = fresh.served.rotate(issued, ends_ns)
    fresh.served.publish()
    time.sleep(0.4)
    ask_new = request(CHAT_PATH, CHAT_BODY, f"x-api-key: {new}")
    ask_old = request(CHAT_PATH, CHAT_BODY, bearer(issued))
    overlapping = [fresh.ask(ask_new), fresh.ask(ask_old)]
    time.sleep(1.2)
    later = [fresh.ask(ask_new).status, fresh.ask(ask_old).status]

    assert [one.status for one in overlapping] == [200, 200]
    assert later == [200, 401]
    used = {
        fresh.decision(one).data["comptroller.credential.id"] for one in overlapping
    }
    assert used == {issued.credential.id}


def stalling(first: bytes) -> Script:
    """A stream whose first event comes, and nothing after it."""

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD + chunk(first))
        assert talk.is_left(15)
        talk.close()

    return script


def test_revocation_reaches_every_worker_and_cuts_streams(
    pair: Site, fresh: Site
) -> None:
    """Within a second all workers refuse it, and its streams end in an error."""
    issued = known(fresh)
    other = known(fresh)
    fresh.upstream.answer = stalling(chat_event("Hello"))
    count = 16
    with ExitStack() as stack:
        clients = []
        for number in range(count):
            client = stack.enter_context(raw_client(fresh.worker.port))
            whose = other if number == 0 else issued
            client.send(request(CHAT_PATH, STREAM_BODY, bearer(whose)))
            clients.append((client, client.read_head()))
            client.read_chunk()
        journals = list((fresh.worker.data / "journal").glob("*.jsonl"))
        assert len(journals) == 2

        began = time.monotonic()
        fresh.served.revoke(issued)
        cut = [client.read_until(b"0\r\n\r\n") for client, _ in clients[1:]]
        took_s = time.monotonic() - began

        assert all(b'"code":"credential_revoked"' in one for one in cut)
        assert all(one.endswith(b"0\r\n\r\n") for one in cut)
        assert took_s < 1.0
        fresh.upstream.answer = answering(whole(CHAT))
        ask = request(CHAT_PATH, CHAT_BODY, bearer(issued))
        later = {fresh.ask(ask).status for _ in range(count)}
        assert later == {401}
        for _, head in clients[1:]:
            end = fresh.end(head)
            assert end.type == records.SETTLED
            assert end.data["outcome"] == "cut"
            assert end.data["comptroller.usage.source"] == "estimated"
            assert end.data["comptroller.cost.nano_usd"] > 0
        with raw_client(fresh.worker.port) as bystander:
            bystander.send(request(CHAT_PATH, CHAT_BODY, bearer(other)))
            assert bystander.read().status == 200


CUTS = {
    "/v1/chat/completions": b'data: {"error":{',
    "/v1/responses": b"event: response.failed\ndata: ",
    "/v1/messages": b'event: error\ndata: {"type":"error"',
    "/v1beta/models/up:streamGenerateContent?alt=sse": b'data: {"error":{"code":403',
}


@pytest.mark.parametrize("target", CUTS)
def test_a_stream_is_cut_in_its_dialect(fresh: Site, target: str) -> None:
    """The last event of a cut stream is one that the dialect's clients show."""
    issued = known(fresh)
    fresh.upstream.answer = stalling(b"data: {}\n\n")
    with raw_client(fresh.worker.port) as client:
        client.send(request(target, STREAM_BODY, bearer(issued)))
        client.read_head()
        client.read_chunk()
        fresh.served.revoke(issued)

        assert CUTS[target] in client.read_chunk()
        assert client.read_chunk() == b""
        assert client.is_closed()


@pytest.mark.parametrize(
    "head",
    [b"application/json\r\n", b"text/event-stream\r\ncontent-encoding: br\r\n"],
    ids=["json", "coded"],
)
def test_what_is_not_events_is_broken_off_when_cut(fresh: Site, head: bytes) -> None:
    """A cut reply that cannot carry an error event never looks whole."""
    issued = known(fresh)
    start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "

    def script(talk: Talk) -> None:
        talk.send(start + head + b"\r\n" + chunk(b"[{}\n,"))
        assert talk.is_left(15)
        talk.close()

    fresh.upstream.queue(script)
    target = "/v1beta/models/up:streamGenerateContent"
    with raw_client(fresh.worker.port) as client:
        client.send(request(target, CHAT_BODY, bearer(issued)))
        client.read_head()
        client.read_chunk()
        fresh.served.revoke(issued)

        assert client.is_closed()


def test_a_request_that_waits_for_its_reply_is_cut(fresh: Site) -> None:
    """A revocation before the reply's head is a plain refusal."""
    issued = known(fresh)
    fresh.upstream.queue(assert_left)
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, CHAT_BODY, bearer(issued)))
        wait_for_upstream(fresh)
        fresh.served.revoke(issued)
        reply = client.read()

    assert reply.status == 401
    end = fresh.end(reply)
    assert (end.type, end.data["outcome"]) == (records.SETTLED, "cut")
    assert end.data["comptroller.cost.nano_usd"] > 0


def assert_left(talk: Talk) -> None:
    assert talk.is_left(15)
    talk.close()


def wait_for_upstream(site: Site) -> None:
    deadline = time.monotonic() + 5
    while not site.upstream.received and time.monotonic() < deadline:
        time.sleep(0.01)
    assert site.upstream.received
