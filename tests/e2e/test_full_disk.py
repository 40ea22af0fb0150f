"""A worker whose journal fails: it forwards nothing, ends, and has a successor."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptroller.testing.provider.process import running_provider
from comptroller.testing.rawclient import RawClient, raw_client, request
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, await_true, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 100"}
BURST = 20
BODY = b'{"model":"chat","messages":[{"role":"user","content":"Hi"}]}'
STREAM = BODY[:-1] + b',"stream":true}'
SLOW = "x-simulate: output=30, chunk_ms=40"


class Site:
    """A gateway of one worker, and the provider behind it."""

    def __init__(self, tree: ServeTree, origin: str, key: str) -> None:
        self.tree = tree
        self._origin = origin
        self._key = key

    def ask(self, client: RawClient, body: bytes, *headers: str) -> None:
        """Sends a request."""
        name = f"authorization: Bearer {self._key}"
        client.send(request("/v1/chat/completions", body, name, *headers))

    def status(self) -> int:
        """Of one request on a connection of its own; 0: no connection, no reply."""
        try:
            with raw_client(self.tree.port) as client:
                self.ask(client, BODY)
                return client.read().status
        except (OSError, EOFError):
            return 0

    def forwarded(self) -> int:
        """How many requests reached the provider."""
        with urllib.request.urlopen(f"{self._origin}/__stats") as reply:  # noqa: S310  loopback
            return int(json.load(reply)["counts"].get("requests", 0))

    def limit_files(self, bytes_max: int) -> None:
        """From now on, no file of the worker and its successors grows beyond."""
        for pid in (self.tree.process.pid, self.tree.children()["w0"]):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, hard))

    def allow_files(self) -> None:
        """The worker's successors may write again."""
        pid = self.tree.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def ended(self) -> int:
        """How often the worker ended by itself, for want of a journal."""
        return self.tree.log().count("worker w0 exited with status 1")


def answer(client: RawClient) -> bytes:
    """The code of a refusal; nothing where the connection was closed instead."""
    try:
        reply = client.read()
    except EOFError:
        return b""
    finally:
        client.close()
    assert reply.status == 503
    return bytes(json.loads(reply.body)["error"]["code"], "ascii")


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        (folder / "comptroller.yaml").write_text(text)
        run_command(folder, "apply", "--yes")
        key = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(folder, 1)
        try:
            yield Site(tree, origin, key)
        finally:
            status = tree.stop()
        assert status == 0, tree.log()
        assert "Traceback" not in tree.log()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as one:
        yield one


def test_a_full_disk_stops_forwarding_until_there_is_room(
    site: Site, tmp_path: Path
) -> None:
    """Nothing unrecorded is forwarded; a successor serves again, without a hot loop."""
    with raw_client(site.tree.port) as streaming:
        site.ask(streaming, STREAM, SLOW)
        assert streaming.read_head().status == 200
        clients = [RawClient(site.tree.port) for _ in range(BURST)]
        site.limit_files(1)
        for client in clients:
            # Those that come after the first refusals find it stopping.
            with contextlib.suppress(OSError):
                site.ask(client, BODY)
        answers = [answer(client) for client in clients]
        assert set(answers) - {b""} == {b"journal_unavailable"}
        assert site.forwarded() == 1, "forwarded and not recorded"
        assert site.ended() == 0, "a stream is under way"
        last = b""
        while chunk := streaming.read_chunk():
            last = chunk
        assert last == b"data: [DONE]\n\n", "what was begun is finished"
    await_true(lambda: site.ended() >= 4, 20)
    await_true(lambda: site.status() == 0, 5)
    assert site.ended() < 12
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", site.tree.port)) != 0
    site.allow_files()
    await_true(lambda: site.status() == 200, 15)
    assert site.forwarded() == 2
    states = [row["state"] for row in told(tmp_path, "requests", "--all")]
    assert sorted(states) == ["abandoned", "settled"]
