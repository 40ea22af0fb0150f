import resource
import threading
import time
from pathlib import Path

from comptroller.engine import records
from comptroller.testing.rawclient import raw_client, request
from comptroller.testing.upstream import (
    LAST_CHUNK,
    STREAM_HEAD,
    Script,
    Talk,
    chat_event,
    chunk,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    STREAM_BODY,
    OpenSite,
    Site,
    WorkerProcess,
)

HELLO = chat_event("Hello")


def gated(gate: threading.Event) -> Script:
    def script(talk: Talk) -> None:
        talk.send(STREAM_HEAD + chunk(HELLO))
        if gate.wait(10):
            talk.send(chunk(HELLO) + LAST_CHUNK)

    return script


def is_refused(site: Site) -> bool:
    try:
        with raw_client(site.worker.port):
            return False
    except (ConnectionRefusedError, ConnectionResetError):  # while it closes
        return True


def until_refused(site: Site) -> None:
    deadline = time.monotonic() + 5
    while not is_refused(site) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_refused(site)


def test_a_graceful_stop_finishes_streams(open_site: OpenSite) -> None:
    """SIGTERM: new connections are refused, idle ones closed, streams end whole."""
    gate = threading.Event()
    with (
        open_site({"grace_s": 8}) as site,
        raw_client(site.worker.port) as client,
        raw_client(site.worker.port) as idle,
    ):
        site.upstream.queue(gated(gate))
        idle.send(request("/readyz", method="GET"))
        assert idle.read().status == 200
        client.send(request(CHAT_PATH, STREAM_BODY, site.bearer))
        head = client.read_head()
        assert client.read_chunk() == HELLO

        site.worker.terminate()
        until_refused(site)
        assert idle.is_closed()
        gate.set()
        assert client.read_chunk() == HELLO
        assert client.read_chunk() == b""
        assert client.is_closed()
        assert site.worker.process.wait(5) == 0
        assert site.end(head).data["outcome"] == "completed"


def test_what_outlasts_the_grace_is_cut_and_settled(open_site: OpenSite) -> None:
    """A stream that does not end is ended in its dialect, and booked."""
    with open_site({"grace_s": 0.5}) as site, raw_client(site.worker.port) as client:
        site.upstream.queue(gated(threading.Event()))
        client.send(request(CHAT_PATH, STREAM_BODY, site.bearer))
        head = client.read_head()
        client.read_chunk()
        site.worker.terminate()

        assert b'"code":"stopping"' in client.read_until(LAST_CHUNK)
        assert site.worker.process.wait(5) == 0
        end = site.end(head)
        assert end.data["outcome"] == "cut"
        assert end.data["comptroller.cost.nano_usd"] > 0


def test_another_worker_takes_over(open_site: OpenSite) -> None:
    """While one of two stops, every new connection is served by the other."""
    with open_site() as site:
        ask = request(CHAT_PATH, CHAT_BODY, site.bearer)
        second = WorkerProcess(site.worker.data, {"name": "w1"}, site.worker.port)
        try:
            site.worker.terminate()
            assert site.worker.process.wait(5) == 0
            assert {site.ask(ask).status for _ in range(20)} == {200}
        finally:
            second.stop()


def test_a_worker_stops_when_its_supervisor_is_gone(open_site: OpenSite) -> None:
    """The life line's end is a SIGTERM: no worker serves on unsupervised."""
    with open_site() as site:
        site.worker.let_go()

        assert site.worker.process.wait(5) == 0


def journal_of(site: Site) -> Path:
    (path,) = (site.worker.data / "journal").glob("*.jsonl")
    return path


def break_the_journal(site: Site) -> None:
    """From now on the worker's files cannot grow: as a full disk does it."""
    size = journal_of(site).stat().st_size
    resource.prlimit(site.worker.process.pid, resource.RLIMIT_FSIZE, (size, size))


def test_without_a_journal_nothing_is_forwarded(open_site: OpenSite) -> None:
    """A full disk: 503 with its own code, alive, not ready, nothing sent."""
    with open_site() as site, raw_client(site.worker.port) as client:
        assert site.chat().status == 200
        site.upstream.received.clear()
        time.sleep(0.2)
        break_the_journal(site)

        chat = request(CHAT_PATH, CHAT_BODY, site.bearer)
        denied = request(CHAT_PATH, b'{"model":"none"}', site.bearer)
        health = request("/healthz", method="GET")
        ready = request("/readyz", method="GET")
        client.send(chat + chat + denied + health + ready)
        replies = [client.read() for _ in range(5)]

        assert [one.status for one in replies] == [503, 503, 503, 200, 503]
        codes = {one.value(b"x-comptroller-code") for one in replies[:3]}
        assert codes == {b"journal_unavailable"}
        assert site.upstream.received == []
        assert site.worker.process.wait(5) == 1


def test_a_new_worker_takes_over_from_a_failed_journal(open_site: OpenSite) -> None:
    """The failed one stops, so that its place is taken by one that can record."""
    with open_site() as site:
        break_the_journal(site)
        site.chat()
        assert site.worker.process.wait(5) == 1
        second = WorkerProcess(site.worker.data, {"name": "w0"}, site.worker.port)
        try:
            assert site.chat().status == 200
        finally:
            second.stop()


def test_a_reply_under_way_survives_the_journals_failure(
    open_site: OpenSite,
) -> None:
    """The client gets its reply; the open request is recovery's to end."""
    gate = threading.Event()
    with open_site(unended=1) as site, raw_client(site.worker.port) as client:
        site.upstream.queue(gated(gate))
        client.send(request(CHAT_PATH, STREAM_BODY, site.bearer))
        head = client.read_head()
        client.read_chunk()
        time.sleep(0.2)
        break_the_journal(site)
        gate.set()
        assert client.read_chunk() == HELLO
        assert client.read_chunk() == b""
        assert site.decision(head).type == records.DECIDED
        assert site.worker.process.wait(5) == 1
