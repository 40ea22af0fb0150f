"""A trail that was pruned, in real processes: verified, proved, exported, rebuilt."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from comptroller.adapters.tlog.reader import TreeReader
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.merkle import leaf_hash
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

OLD = 700
"""Decisions that were refused: one record each."""
BELOW = 512
ACT = ("audit", "prune", "--reason", "400 days", "--by", "ada")
APPROVED = ("--approved-by", "grace", "--yes")


class Site:
    """A folder with a gateway's data, pruned; `before` is a copy from before."""

    def __init__(self, folder: Path, before: Path) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        self.trail = self.data / "trail"
        self.before = before

    def verify(self, trail: Path, *words: str) -> tuple[int, str]:
        """What the stand-alone verifier says."""
        vkey = (self.data / "trail.vkey").read_text().strip()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "comptroller.verify", str(trail)),
                *("--vkey", vkey, *words),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def audit(self) -> tuple[int, dict[str, Any]]:
        """What the command says, as JSON."""
        done = command(self.folder, "audit", "verify", "--json")
        return done.returncode, json.loads(done.stdout)

    def request_at(self, index: int) -> str:
        """Of which request the entry at an index is, as the copy has it."""
        record = TreeReader(self.before / "trail", index + 1).record(index)
        subject: str = json.loads(record)["subject"]
        assert b".decided.v1" in record
        return subject.rpartition("/")[2]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, old_trail: Callable[[Path, int], None]
) -> Path:
    folder = tmp_path_factory.mktemp("pruned")
    old_trail(folder, OLD)
    data = folder / "comptroller-data"
    shutil.copytree(data, folder / "before", ignore=shutil.ignore_patterns("*.sock"))
    run_command(folder, *ACT, "--below", str(BELOW), *APPROVED)
    run_command(folder, "audit", "sequence")
    return folder


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Site:
    """A copy, to be changed."""
    folder = tmp_path / "site"
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("*.sock"))
    return Site(folder, folder / "before")


def test_the_sequencer_removes_what_the_record_says(site: Site) -> None:
    """Bundles of entries below, and nothing else; both verifiers say so."""
    entries = site.trail / "tile/entries"
    assert not (entries / "000").exists()
    assert not (entries / "001").exists()
    assert (entries / "002.p").exists()
    assert (site.trail / "tile/0/000").exists()
    code, said = site.verify(site.trail)
    assert code == 0, said
    assert f"NOTE {BELOW} records are pruned, as record " in said
    since = ("--since", str(site.before / "trail/checkpoint"))
    assert site.verify(site.trail, *since)[0] == 0
    code, found = site.audit()
    assert code == 0, found
    compared = found["compared"]
    assert (compared["pruned"], compared["wrong"]) == (BELOW, 0)
    assert f"as record {compared['pruned_by']} says" in said
    assert 400 < compared["pruned_decisions"] < BELOW
    printed = run_command(site.folder, "audit", "verify")
    assert f"The first {BELOW} records were pruned, record " in printed


def test_another_library_still_proves_all_of_it(site: Site) -> None:
    """Inclusion of what is pruned and of what is not, and what was before."""
    reader = TilesReader(LocalBackend(site.trail))
    now = reader.get_checkpoint()
    now.verify(Vkey.from_string((site.data / "trail.vkey").read_text().strip()))
    assert reader.calculate_root_hash() == now.root_hash
    note = parse_note((site.before / "trail/checkpoint").read_bytes())
    old = parse_checkpoint(note.body).head
    proof = reader.get_consistency_proof(old.size, now.size)
    proof.check(old.root, now.root_hash)
    copy = TreeReader(site.before / "trail", old.size)
    for index in (0, 255, 256, 511, 512, old.size - 1):
        record = copy.record(index)
        inclusion = reader.get_inclusion_proof(index, now.size)
        inclusion.check(leaf_hash(record), now.root_hash)


def test_more_than_was_said_is_named(site: Site) -> None:
    """By both: a bundle that no record prunes, where a full one is left."""
    trail = site.folder / "shorter"
    shutil.copytree(site.before / "trail", trail)
    (trail / "tile/entries/000").unlink()
    code, said = site.verify(trail)
    assert code == 1
    assert "WRONG tile/entries/000: missing; no signed record prunes it" in said
    shutil.rmtree(site.data)
    shutil.copytree(site.before, site.data)
    (site.trail / "tile/entries/000").unlink()
    code, found = site.audit()
    assert code == 1
    assert "no record prunes them" in str(found["compared"]["first_wrong"])


def test_a_pruned_record_that_its_journal_has_is_proved(site: Site) -> None:
    """With the hashes that stayed; a changed journal proves nothing."""
    name = site.request_at(100)
    to = site.folder / "proofs"
    found = told(site.folder, "audit", "prove", name, "--to", str(to))
    assert found["proofs"]["decision"]["index"] == 100
    assert name in Path(found["proofs"]["decision"]["record"]).read_text()
    path = site.data / "journal" / "host.w0.01A.jsonl"
    content = path.read_bytes()
    subject = f'"subject":"request/{name}"'.encode()
    place = content.index(subject)
    changed = content[place:].replace(b'"denied"', b'"DENIED"', 1)
    path.write_bytes(content[:place] + changed)
    done = command(site.folder, "audit", "prove", name, "--to", str(to))
    assert done.returncode != 0


def test_a_pruned_record_without_its_journal_is_named_as_such(site: Site) -> None:
    """Not as damage: when, by whom, and what can still be done."""
    name = site.request_at(100)
    for path in (site.data / "journal").glob("host.w0.*"):
        path.unlink()
    done = command(site.folder, "audit", "prove", name, "--to", "proofs")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "was pruned on 20" in said
    assert "by ada, approved by grace: 400 days" in said
    assert "proof of its hash can still be made" in said
    assert "Traceback" not in said


def test_an_export_says_what_it_lacks_and_verifies(site: Site) -> None:
    """Offline, with the program that lies in it."""
    to = site.folder / "export"
    found = told(site.folder, "audit", "export", "--to", str(to))
    assert found["pruned"] == BELOW
    assert found["listed"] == found["size"] - BELOW
    page = (to / "README.md").read_text()
    assert f"The first {BELOW} records were pruned" in page
    assert not (to / "log/tile/entries/000").exists()
    vkey = (to / "vkey.txt").read_text().strip()
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", "log", "--vkey", vkey],
        cwd=to,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "records are pruned" in done.stdout


def test_a_store_is_rebuilt_with_a_copy_of_the_entries(site: Site) -> None:
    """Not without one, and not with one that was changed."""
    done = command(site.folder, "audit", "rebuild", "--check")
    assert done.returncode != 0
    assert "--entries DIR" in done.stdout + done.stderr
    rebuild = ("audit", "rebuild", "--check", "--entries")
    for copy in (site.before, site.before / "trail"):
        found = json.loads(command(site.folder, *rebuild, str(copy), "--json").stdout)
        # The decisions of the test name a rate card that there never was.
        assert found["problems"] == [
            "rate card card-1 is not in comptroller-data/rate-cards"
        ]
        assert found["compared"]["is_same"], found
    bundle = site.before / "trail/tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b'"denied"', b'"DENIED"', 1))
    done = command(site.folder, *rebuild, str(site.before))
    assert done.returncode != 0
    assert "is not the one that its tile has" in done.stdout + done.stderr


def test_what_is_pruned_is_gone_over_http(site: Site) -> None:
    """410 for its entries; its hashes are served, and the status says the minimum."""
    tree = ServeTree(site.folder, 1)
    try:
        said = re.search(r"status http://127\.0\.0\.1:([0-9]+)/", tree.log())
        assert said is not None, tree.log()
        port = int(said[1])
        await_true(lambda: status(port)["is_running"], 20)
        assert status(port)["minimum_index"] == BELOW
        codes = [
            ask(port, f"/tile/{name}")[0]
            for name in ("entries/000", "entries/001", "entries/009", "0/000", "0/001")
        ]
        assert codes == [410, 410, 404, 200, 200]
    finally:
        assert tree.stop() == 0, tree.log()
    assert site.verify(site.trail)[0] == 0


def status(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(port, "/api/status")[1])["trail"]
    return found


def ask(port: int, path: str) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request("GET", path)
    reply = link.getresponse()
    content = reply.read()
    link.close()
    return reply.status, content
