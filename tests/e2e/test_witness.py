"""A witness and a gateway as real processes: asked, killed, lied to."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tlog import Checkpoint as ForeignCheckpoint

from comptroller.adapters.tlog.keys import TrailKey, read_key
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.cosignature import Submission, format_submission
from comptroller.testing.tree import command, told
from comptroller.testing.witnessed import (
    CONFIGURATION,
    Gateway,
    Post,
    Running,
    begun_gateway,
    reserved_port,
    running,
    wait_for,
)

DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from comptroller.bootstrap import witness
from comptroller.bootstrap.serving import Address

def open_files(folder):
    put = witness._files(folder)
    def dying(name, data):
        put(name, data)
        os.kill(os.getpid(), signal.SIGKILL)
    return dying

data = Path(sys.argv[1])
key, logs = witness.witness_key(data, None), witness.log_keys(sys.argv[2:])
asyncio.run(
    witness.run_witness(data, Address("127.0.0.1", 0), key, logs, open_files)
)
"""


def ask(port: int, body: bytes, path: str = "/add-checkpoint") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@contextmanager
def dying(post: Post, *logs: str) -> Iterator[Running]:
    """A witness that kills itself when its memory is written, before it answers."""
    words = ["-c", DYING, "w", *logs]
    with running(words, post.folder, "ready at") as witness:
        yield witness


class Log:
    """A log on disk, whose operator has the key and the disk."""

    def __init__(self, folder: Path, key: TrailKey) -> None:
        self.folder = folder
        self.key = key

    def grow(self, records: Sequence[bytes]) -> bytes:
        """Appends and publishes."""
        writer = TrailWriter(self.folder, self.key)
        try:
            writer.append(records, {})
            return writer.publish()
        finally:
            writer.close()

    def submission(self, old: int, note: bytes) -> bytes:
        """What is sent to a witness."""
        size = parse_checkpoint(parse_note(note).body).head.size
        path = TreeReader(self.folder, size).consistency(old)
        return format_submission(Submission(old, tuple(path), note))


def records(begin: int, end: int, salt: bytes = b"") -> list[bytes]:
    return [b"%drecord%b" % (number, salt) for number in range(begin, end)]


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log", TrailKey("log.example/trail", bytes(32)))


def test_a_witness_killed_between_memory_and_answer_stays_true(
    post: Post, log: Log
) -> None:
    """`kill -9` before the cosignature leaves: no answer, and the tree is known."""
    vkey = str(log.key.key)
    first = log.grow(records(0, 300))
    with (
        dying(post, vkey) as witness,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        ask(witness.ports[0], log.submission(0, first))
    second = log.grow(records(300, 700))
    with post.running(vkey) as witness:
        port = witness.ports[0]
        assert "300 records signed so far" in witness.said()
        assert ask(port, log.submission(0, second)) == (409, b"300\n")
        status, line = ask(port, log.submission(300, second))
        assert status == 200
        checkpoint = ForeignCheckpoint.from_text((second + line).decode())
        keys = VkeySet(Vkey.from_string(post.vkey), Vkey.from_string(vkey))
        found = keys.verify(checkpoint.signatures, checkpoint)
        assert {one.name for one, _ in found} == {log.key.key.name, "audit.example/w1"}


def test_a_witness_outlives_bad_requests(post: Post, log: Log) -> None:
    """Each is answered as the protocol says, or hung up on; the next is served."""
    note = log.grow(records(0, 5))
    with post.running(str(log.key.key)) as witness:
        port = witness.ports[0]
        assert ask(port, b"nonsense")[0] == 400
        assert ask(port, b"", "/elsewhere")[0] == 404
        assert ask(port, b"x" * 400_000)[0] == 413
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/add-checkpoint")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (405, b"only POST is answered here\n")
        found = []
        for _ in range(2):  # the connection is kept, as witnesses should
            connection.request("POST", "/add-checkpoint", log.submission(0, note))
            reply = connection.getresponse()
            found.append((reply.status, reply.getheader("content-type"), reply.read()))
        assert found[0][0] == 200
        assert found[1] == (409, "text/x.tlog.size", b"5\n")
        connection.putrequest("POST", "/add-checkpoint")
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders()
        assert connection.getresponse().status == 411
        connection.close()


def test_two_witnesses_never_share_a_memory(post: Post, log: Log) -> None:
    """The second on a directory refuses to start, and names it."""
    vkey = str(log.key.key)
    with post.running(vkey):
        words = ["witness", "--data", "w", "--listen", "127.0.0.1:0", "--log", vkey]
        done = subprocess.run(
            [sys.executable, "-m", "comptroller", *words],
            cwd=post.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert "another witness runs on w/logs" in done.stderr


def kinds(gateway: Gateway) -> list[str]:
    """The types of all published records."""
    found = TreeReader(gateway.trail, gateway.size()).records()
    return [json.loads(one)["type"] for one in found]


def keep_witnessed(gateway: Gateway, post: Post, port: int) -> str:
    """Runs the gateway once; its witness comes, goes, and is back. The log's key."""
    with gateway.running() as served:
        wait_for(gateway.key_file.exists)
        vkey = str(read_key(gateway.key_file).key)
        wait_for(lambda: gateway.status(served)["witnesses"][0]["problem"])
        away = gateway.status(served)["witnesses"][0]
        assert away["name"] == "audit.example/w1"
        assert "no answer" in away["problem"]
        assert not away["is_refusing"]
        assert gateway.status(served)["problem"] is None
        with post.running(vkey, port=port):
            wait_for(lambda: gateway.cosigned() == gateway.size())
            before = gateway.cosigned()
            told(gateway.folder, "key", "issue", "checkout", "--for", "ada")
            wait_for(lambda: gateway.cosigned() > before)
        told(gateway.folder, "key", "issue", "checkout", "--for", "ada")
        with post.running(vkey, port=port):
            size = gateway.size()
            wait_for(lambda: gateway.cosigned() >= size)
            wait_for(lambda: not gateway.status(served)["witnesses"][0]["problem"])
            served.process.send_signal(signal.SIGTERM)
            served.process.wait(30)
            assert gateway.cosigned() == gateway.size()
    assert "signs again" in served.said()
    return vkey


def test_a_gateway_is_witnessed(tmp_path: Path) -> None:
    """Each checkpoint is cosigned, over a witness's restart and up to the very end."""
    post = Post(tmp_path)
    with reserved_port() as port:
        gateway = Gateway(tmp_path, f"http://127.0.0.1:{port}", post.vkey)
        keep_witnessed(gateway, post, port)

    known = ForeignCheckpoint.from_text((gateway.trail / "checkpoint").read_text())
    assert VkeySet(Vkey.from_string(post.vkey)).verify(known.signatures, known)
    found = told(tmp_path, "audit", "verify", "--witness-key", post.vkey)
    assert found["ok"], found
    assert found["witnessed"][0]["size"] == found["size"]
    assert f"too, for the first {found['size']} records" in found["strength"]
    unverified = told(tmp_path, "audit", "verify")["strength"]
    assert unverified.startswith("tamper-evident against outsiders only")
    keys = (told(tmp_path, "audit", "export", "--to", "out")["vkey"], post.vkey)
    alone = [sys.executable, "-I", "verify.py", "log"]
    alone += [word for key in keys for word in ("--vkey", key)]
    assert subprocess.run(alone, cwd=tmp_path / "out", check=False).returncode == 0


def test_a_rewrite_by_the_operator_is_refused_and_named(tmp_path: Path) -> None:
    """Rewritten and signed anew with the log's key: refused, recorded, shown."""
    post = Post(tmp_path)
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        gateway = Gateway(tmp_path, f"http://127.0.0.1:{port}", post.vkey)
        vkey = keep_witnessed(gateway, post, port)
        kept = tmp_path / "kept"
        (gateway.trail.parent / "trail-witnessed").rename(kept)
        rewrite(gateway)
        witness = stack.enter_context(post.running(vkey, port=port))
        served = stack.enter_context(gateway.running())
        wait_for(lambda: "REFUSES" in served.said())
        wait_for(lambda: "audit.example/w1 refuses" in str(gateway.status(served)))
        status = gateway.status(served)
        assert status["witnesses"][0]["is_refusing"]
        assert re.search("rewritten|continue", status["problem"])
        refused = "comptroller.trail.witness_refused.v1"
        wait_for(lambda: refused in kinds(gateway))
        assert "refused comptroller.local/" in witness.said()
        time.sleep(3)
        assert kinds(gateway).count(refused) == 1
        assert gateway.cosigned() == 0
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
        shutil.rmtree(gateway.trail.parent / "trail-witnessed")
        kept.rename(gateway.trail.parent / "trail-witnessed")
        done = command(tmp_path, "audit", "verify", "--witness-key", post.vkey)
        assert done.returncode == 1
        assert "rewritten or forked" in done.stdout


def rewrite(gateway: Gateway) -> None:
    """What an operator with the key and the disk can do: one record is another."""
    state = json.loads((gateway.trail / "state.json").read_bytes())["state"]
    kept = list(TreeReader(gateway.trail, gateway.size()).records())
    kept[2] = kept[2].replace(b'"subject":"', b'"subject":"not-')
    shutil.rmtree(gateway.trail)
    writer = TrailWriter(gateway.trail, read_key(gateway.key_file))
    try:
        writer.append(kept, state["positions"])
        writer.publish()
    finally:
        writer.close()


def test_a_witness_that_hangs_delays_nothing(tmp_path: Path) -> None:
    """Stopped in the middle: checkpoints go on, and the command is still quick."""
    post = Post(tmp_path)
    with ExitStack() as stack:
        begun = stack.enter_context(begun_gateway(tmp_path, post))
        gateway, served, vkey, port = begun
        witness = stack.enter_context(post.running(vkey, port=port))
        wait_for(lambda: gateway.cosigned() > 0)
        os.kill(witness.process.pid, signal.SIGSTOP)
        try:
            for _ in range(4):
                before, begun_s = gateway.size(), time.monotonic()
                told(tmp_path, "key", "issue", "checkout", "--for", "ada")
                wait_for(lambda size=before: gateway.size() > size)  # type: ignore[misc]
                assert time.monotonic() - begun_s < 8  # a command, and a checkpoint
            assert gateway.status(served)["is_running"]
        finally:
            os.kill(witness.process.pid, signal.SIGCONT)


def test_witness_options_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    """A missing key, a log's key, no URL: the command says which."""
    post = Post(tmp_path)
    log = str(TrailKey("log.example/trail", bytes(32)).key)
    (tmp_path / "comptroller.yaml").write_text(CONFIGURATION)
    for words, said in [
        (["--witness", "http://w"], "go in pairs"),
        (["--witness", "http://w", "--witness-key", log], "not of a witness"),
        (["--witness", "w.example", "--witness-key", post.vkey], "is not a URL"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "comptroller", "serve", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1, done
        assert said in done.stderr
