import threading
import time

import pytest

from comptroller.engine import records
from comptroller.testing.rawclient import RawClient, raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    CHAT_USAGE_EVENT,
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    Script,
    Talk,
    chat_event,
    chunk,
    whole,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    STREAM_BODY,
    Recorded,
    Site,
    recorded,
)

DRAINS = 4
DRAIN_S = 1
HELLO = chunk(chat_event("Hello"))
REST = chunk(CHAT_USAGE_EVENT) + chunk(DONE) + LAST_CHUNK


@pytest.fixture(scope="module")
def settings() -> dict[str, int]:
    """Draining is bounded tightly; the provider may be silent for long."""
    return {"drain_count_max": DRAINS, "drain_timeout_s": DRAIN_S}


def paced(gate: threading.Event, first: bytes, rest: bytes) -> Script:
    """Sends, waits until the test opens the gate, sends the rest."""

    def script(talk: Talk) -> None:
        if first:
            talk.send(first)
        assert gate.wait(10)
        talk.send(rest)

    return script


def until_received(site: Site, count: int = 1) -> None:
    deadline = time.monotonic() + 5
    while len(site.upstream.received) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(site.upstream.received) == count


def asking(site: Site, body: bytes) -> RawClient:
    client = RawClient(site.worker.port)
    client.send(request(CHAT_PATH, body, site.bearer))
    return client


def new_ends(site: Site, before: int) -> list[Recorded]:
    """The ends recorded since there were so many records, at least one."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        ends = [
            one
            for one in recorded(site.worker.data)[before:]
            if one.type in {records.SETTLED, records.RELEASED}
        ]
        if ends:
            return ends
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset])
def test_a_stream_is_drained_to_its_usage(fresh: Site, leave: object) -> None:
    """The client leaves in the middle; the provider's own usage is booked."""
    gate = threading.Event()
    fresh.upstream.queue(paced(gate, STREAM_HEAD + HELLO, HELLO * 3 + REST))
    client = asking(fresh, STREAM_BODY)
    head = client.read_head()
    assert callable(leave)
    leave(client)
    time.sleep(0.1)
    gate.set()

    end = fresh.end(head)
    assert end.type == records.SETTLED
    assert end.data["comptroller.usage"] == {"input": 10, "output": 5}
    assert end.data["comptroller.usage.source"] == "provider"
    assert end.data["comptroller.cost.nano_usd"] == 12_500


def test_a_whole_reply_is_drained_to_its_usage(fresh: Site) -> None:
    """A client that resets before the reply came is booked at its usage."""
    gate = threading.Event()
    before = len(recorded(fresh.worker.data))
    fresh.upstream.queue(paced(gate, b"", whole(CHAT)))
    client = asking(fresh, CHAT_BODY)
    until_received(fresh)
    client.reset()
    time.sleep(0.1)
    gate.set()

    (end,) = new_ends(fresh, before)
    assert end.data["outcome"] == "client_left"
    assert end.data["comptroller.usage"] == {"input": 10, "output": 5}


def test_draining_ends_in_time(fresh: Site) -> None:
    """A provider that never ends is left, and what was seen is estimated."""
    left = threading.Event()

    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD + HELLO)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not talk.is_left(0.05):
            talk.send(HELLO)
        left.set()
        talk.close()

    fresh.upstream.queue(script)
    client = asking(fresh, STREAM_BODY)
    head = client.read_head()
    began_s = time.monotonic()
    client.reset()

    assert left.wait(5)
    assert time.monotonic() - began_s < DRAIN_S + 2
    end = fresh.end(head)
    assert end.data["outcome"] == "client_left"
    assert end.data["comptroller.usage.source"] == "estimated"
    assert end.data["comptroller.usage"]["output"] > 1
    assert end.data["comptroller.cost.nano_usd"] > 0


def test_only_so_many_are_drained_at_once(fresh: Site) -> None:
    """Beyond the bound the provider is left at once, and it is estimated."""
    count = DRAINS + 3
    gate = threading.Event()
    fresh.upstream.queue(*[paced(gate, STREAM_HEAD + HELLO, REST)] * count)
    clients = [asking(fresh, STREAM_BODY) for _ in range(count)]
    heads = [client.read_head() for client in clients]
    for client in clients:
        client.reset()
        time.sleep(0.02)
    time.sleep(0.1)
    gate.set()

    sources = [fresh.end(head).data["comptroller.usage.source"] for head in heads]
    assert sources.count("provider") == DRAINS
    assert sources.count("estimated") == 3
    costs = [fresh.end(head).data["comptroller.cost.nano_usd"] for head in heads]
    assert min(costs) > 0


def test_a_half_closed_client_gets_its_reply(fresh: Site) -> None:
    """It has said all that it has to say, and still listens."""
    gate = threading.Event()
    fresh.upstream.queue(paced(gate, b"", whole(CHAT)))
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, CHAT_BODY, fresh.bearer))
        client.half_close()
        time.sleep(0.1)
        gate.set()
        assert client.read().body == CHAT
        assert client.is_closed()


def test_a_half_closed_client_gets_all_its_replies(fresh: Site) -> None:
    """Pipelined requests before the half-close are all answered."""
    ask = request(CHAT_PATH, CHAT_BODY, fresh.bearer)
    with raw_client(fresh.worker.port) as client:
        client.send(ask * 5)
        client.half_close()
        replies = [client.read() for _ in range(5)]
        assert client.is_closed()

    assert [reply.status for reply in replies] == [200] * 5


def test_a_client_that_leaves_before_its_request_is_whole_asks_nothing(
    fresh: Site,
) -> None:
    """Half a request is no request: nothing recorded, nothing forwarded."""
    before = len(recorded(fresh.worker.data))
    ask = request(CHAT_PATH, CHAT_BODY, fresh.bearer)
    for size in (10, len(ask) - 60, len(ask) - 1):
        with raw_client(fresh.worker.port) as client:
            client.send(ask[:size])
    time.sleep(0.2)

    assert fresh.upstream.received == []
    assert len(recorded(fresh.worker.data)) == before


def test_a_client_that_leaves_after_its_reply_changes_nothing(fresh: Site) -> None:
    """The settlement is what it was."""
    with raw_client(fresh.worker.port) as client:
        client.send(request(CHAT_PATH, CHAT_BODY, fresh.bearer))
        reply = client.read()
        client.reset()

    assert fresh.end(reply).data["outcome"] == "completed"


def test_clients_that_leave_at_any_moment_are_all_booked(fresh: Site) -> None:
    """However far a request was, it ends once, and never for nothing."""
    gate = threading.Event()
    gate.set()
    before = len(recorded(fresh.worker.data))
    ask = request(CHAT_PATH, STREAM_BODY, fresh.bearer)
    for step in range(60):
        fresh.upstream.queue(paced(gate, STREAM_HEAD + HELLO, HELLO * 20 + REST))
        client = RawClient(fresh.worker.port)
        client.send(ask)
        time.sleep(step * 0.0002)
        client.reset()
    time.sleep(DRAIN_S + 0.3)

    new = recorded(fresh.worker.data)[before:]
    decided = [one for one in new if one.type == records.DECIDED]
    ends = [one for one in new if one.type in {records.SETTLED, records.RELEASED}]
    assert len(decided) == len(ends) > 0
    for one in ends:
        is_free = one.type == records.RELEASED
        assert is_free or one.data["comptroller.cost.nano_usd"] > 0
