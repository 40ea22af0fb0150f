"""The trail over the life of a site: kept, verified, proved, exported, damaged."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import (
    ServeTree,
    await_true,
    command,
    run_command,
    told,
)

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
REQUESTS = 5


class Site:
    """A gateway that serves, with a key, and what it was asked."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        self.key = key

    @contextmanager
    def serving(self) -> Iterator[ServeTree]:
        """Serves while the block lasts."""
        tree = ServeTree(self.folder, 1)
        try:
            yield tree
        finally:
            assert tree.stop() == 0, tree.log()

    def ask(self, tree: ServeTree, model: str = "chat", status: int = 200) -> str:
        """One request, and how it is answered; its id."""
        return chat(tree.port, self.key, status=status, model=model)

    def verified(self) -> tuple[int, dict[str, Any]]:
        """What `audit verify` says."""
        done = command(self.folder, "audit", "verify", "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document


def status_of(tree: ServeTree) -> dict[str, Any]:
    found = re.search(r"status (http://\S+)", tree.log())
    assert found is not None
    with urllib.request.urlopen(found.group(1)) as reply:  # noqa: S310  loopback
        document: dict[str, Any] = json.load(reply)
    return document


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        yield Site(tmp_path, key)


def test_a_request_is_in_the_trail_within_two_seconds(site: Site) -> None:
    """Explained with its place, proved for others, and verified while it serves."""
    with site.serving() as tree:
        asked = [site.ask(tree) for _ in range(REQUESTS)]
        time.sleep(2)
        explained = told(site.folder, "explain", asked[0])
        proof = explained["proof"]
        assert proof["checkpoint"]["origin"] == "comptroller.local/acme"
        assert 0 < proof["decision"] < proof["end"] < proof["checkpoint"]["size"]
        assert (proof["problem"], proof["witnesses"]) == (None, [])
        page = run_command(site.folder, "explain", asked[0])
        assert f"record {proof['decision']} of the trail" in page
        assert "none (tamper-evident against outsiders only" in page
        check_proof(site, asked[0])
        status, found = site.verified()
        assert status == 0, found
        compared = found["compared"]
        assert compared["in_store"] == REQUESTS
        assert compared["decisions"] + compared["waiting_decisions"] == REQUESTS
        trail = status_of(tree)["trail"]
        assert trail["is_running"]
        assert trail["problem"] is None
        assert trail["size"] >= proof["checkpoint"]["size"]


def check_proof(site: Site, request_id: str) -> None:
    """The exact record, and a proof of it that an other's code accepts."""
    to = site.folder / "proofs"
    found = told(site.folder, "audit", "prove", request_id, "--to", str(to))
    assert found["strength"].startswith("tamper-evident against outsiders only")
    explained = told(site.folder, "explain", request_id)
    for role in ("decision", "end"):
        line = explained["records"][role]["line"].encode()
        assert Path(found["proofs"][role]["record"]).read_bytes() == line
        text = Path(found["proofs"][role]["proof"]).read_text()
        assert text.startswith("c2sp.org/tlog-proof@v1\nindex ")
        assert f"\n{found['origin']}\n{found['proofs'][role]['size']}\n" in text


def test_a_refused_request_ends_with_its_decision(site: Site) -> None:
    """Its one record is proved, and no other one is waited for."""
    with site.serving() as tree:
        asked = site.ask(tree, model="another", status=400)
        time.sleep(2)
        found = told(site.folder, "audit", "prove", asked)
        assert list(found["proofs"]) == ["decision"]
        assert found["absent"] == []
        page = run_command(site.folder, "explain", asked)
        assert "not in the checkpoint below" not in page


def test_what_a_stopped_site_recorded_is_sequenced(site: Site) -> None:
    """By a command where none serves, and by the next serve; each record once."""
    assert command(site.folder, "audit", "verify").returncode == 1
    assert told(site.folder, "audit", "sequence")["size"] > 3
    before = told(site.folder, "audit", "sequence")["size"]
    assert told(site.folder, "audit", "sequence")["size"] == before
    told(site.folder, "key", "issue", "checkout", "--for", "ada")
    assert site.verified()[1]["compared"]["waiting"] > 0
    with site.serving() as tree:
        site.ask(tree)
        done = command(site.folder, "audit", "sequence")
        assert done.returncode == 1
        assert "another process writes the trail" in done.stderr
    status, found = site.verified()
    assert (status, found["compared"]["waiting"]) == (0, 0)
    assert found["compared"]["decisions"] == found["compared"]["in_store"] == 1


def test_an_export_verifies_without_us(site: Site) -> None:
    """By the program in it, alone, and by what others wrote."""
    with site.serving() as tree:
        site.ask(tree)
    to = site.folder / "out"
    words = ("--to", str(to), "--from", "2026-01-01", "--until", "2999-01-01")
    found = told(site.folder, "audit", "export", *words)
    assert (
        found["listed"]
        == found["size"]
        == len((to / "records.jsonl").read_text().splitlines())
    )
    verified = subprocess.run(
        [sys.executable, "-I", "verify.py", "log", "--vkey", found["vkey"]],
        cwd=to,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    reader = TilesReader(LocalBackend(to / "log"))
    last = reader.get_checkpoint()
    last.verify(Vkey.from_string(found["vkey"]))
    assert reader.calculate_root_hash() == last.root_hash
    assert found["vkey"] in (to / "README.md").read_text()
    assert command(site.folder, "audit", "export", "--to", str(to)).returncode == 1
    none = told(
        site.folder, "audit", "export", "--to", str(to / "n"), "--until", "2020-01-01"
    )
    assert none["listed"] == 0


def test_a_damaged_trail_stops_alone(site: Site) -> None:
    """The sequencer signs nothing and says why; the gateway serves and records on."""
    run_command(site.folder, "audit", "sequence")
    state = site.data / "trail" / "state.json"
    whole = state.read_bytes()
    state.write_bytes(whole.replace(b'"size":', b'"size":1', 1))
    checkpoint = (site.data / "trail" / "checkpoint").read_bytes()
    with site.serving() as tree:
        tree.await_said("sequencer cannot work; the others go on without it", 20)
        assert "state.json" in tree.log()
        site.ask(tree)
        status = status_of(tree)
        assert "state.json" in status["trail"]["problem"]
        assert not status["trail"]["is_running"]
        assert status["problems"] == []
    assert (site.data / "trail" / "checkpoint").read_bytes() == checkpoint
    state.write_bytes(whole)
    with site.serving() as tree:
        await_true(lambda: status_of(tree)["trail"]["problem"] is None, 10)
    status_code, found = site.verified()
    assert status_code == 0, found
    assert found["compared"]["decisions"] == 1


@pytest.mark.parametrize("what", ["trail", "journal", "store"])
def test_what_is_changed_afterwards_is_found(site: Site, what: str) -> None:
    """In the log, in a journal, or in the store: verify names what contradicts."""
    with site.serving() as tree:
        request_id = site.ask(tree)
    if what == "store":
        store = sqlite3.connect(site.data / "store.sqlite3")
        with contextlib.closing(store), store:
            store.execute("DELETE FROM requests WHERE request_id = ?", (request_id,))
    else:
        changed = 0
        for path in sorted((site.data / what).rglob("*")):
            if path.is_file() and request_id.encode() in path.read_bytes():
                content = path.read_bytes()
                # Of the same length, so that only the content tells.
                path.write_bytes(content.replace(b'"allow"', b'"ALLOW"', 1))
                changed += content.count(b'"allow"')
        assert changed
    status, found = site.verified()
    assert status == 1
    said = json.dumps(found)
    assert {"trail": "entries", "journal": "another record", "store": request_id}[
        what
    ] in said
    if what == "journal":  # which is not "in no checkpoint yet"
        problem = told(site.folder, "explain", request_id)["proof"]["problem"]
        assert "the journal was changed" in problem
        done = command(site.folder, "audit", "prove", request_id)
        assert (done.returncode, problem in done.stderr) == (1, True)


def test_a_trail_that_is_smaller_than_what_relied_on_it_is_found(site: Site) -> None:
    """A journal was deleted under a checkpoint that has more records: put back."""
    run_command(site.folder, "audit", "sequence")
    store = sqlite3.connect(site.data / "store.sqlite3")
    with contextlib.closing(store), store:
        row = ("/n/w0/1", 0, 0, 10**6, "[]", 1)
        store.execute("INSERT INTO deleted_journals VALUES (?, ?, ?, ?, ?, ?)", row)
    status, found = site.verified()
    assert status == 1
    said = found["signed"]["said"][-1]
    assert "1000000 were signed when a journal was deleted" in said


def test_only_its_account_reads_the_signing_key(site: Site) -> None:
    """It is made for this account alone, and refused when others could read it."""
    run_command(site.folder, "audit", "sequence")
    key = site.data / "keys" / "trail.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    done = command(site.folder, "audit", "sequence")
    assert done.returncode == 1
    assert "others can read the key" in done.stderr
    key.chmod(0o600)
    key.unlink()
    done = command(site.folder, "audit", "sequence")
    assert done.returncode == 1
    assert not key.exists(), "a log that has a key gets no other one"


def test_a_trail_that_is_gone_is_not_begun_anew(site: Site) -> None:
    """A second history under the same name would contradict the first."""
    run_command(site.folder, "audit", "sequence")
    moved = site.folder / "moved"
    (site.data / "trail").rename(moved)
    done = command(site.folder, "audit", "sequence")
    assert done.returncode == 1
    assert "says that there was a trail" in done.stderr
    assert not (site.data / "trail").exists()
    moved.rename(site.data / "trail")
    run_command(site.folder, "audit", "sequence")


def test_a_trail_keeps_the_name_that_it_was_given(site: Site) -> None:
    """It is chosen at the beginning; another name, and a bad one, are refused."""
    bad = command(site.folder, "audit", "sequence", "--trail-origin", "a b")
    assert bad.returncode == 1
    assert "cannot name a log" in bad.stderr
    key = str(site.folder / "elsewhere.key")
    words = ("audit", "sequence", "--trail-key", key)
    run_command(site.folder, *words, "--trail-origin", "example.org/gateway")
    text = (site.data / "trail" / "checkpoint").read_text()
    assert text.startswith("example.org/gateway\n")
    assert not (site.data / "keys").exists()
    run_command(site.folder, *words)
    other = command(site.folder, *words, "--trail-origin", "example.org/other")
    assert other.returncode == 1
    assert "a log keeps its name" in other.stderr
