"""Journals are deleted once the trail has them: everything still answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comptroller.adapters.journal.files import DirectoryJournalFiles
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.engine.projection import is_administrative
from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import (
    ServeTree,
    await_true,
    command,
    kill_dead,
    run_command,
    told,
)

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
PRIVACY = "privacy: {end_user: true, client_address: true, prompt_fingerprint: true}"
POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.chat, models: {acme: [chat]}}
"""
CASES = """\
tests:
  - name: the model is allowed
    with: {principal.tenant: acme, model.id: chat}
    expect: {decision: allow}
"""
REQUESTS = 20
KILLS = 3
DELETED_S_MAX = 60.0
SOON = ("--keep-journals", "1s")


class Site:
    """A data directory with a key and an active policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        run_command(folder, "apply", "--yes")
        self.key = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]
        made = told(folder, "policy", "publish", "policy", "--author", "ada")
        words = ("policy", "activate", str(made["revision"]), "--approver", "ada")
        run_command(folder, *words)

    @contextmanager
    def serving(self, *more: str) -> Iterator[ServeTree]:
        """Serves while the block lasts."""
        tree = ServeTree(self.folder, 2, more=more)
        try:
            yield tree
        finally:
            assert tree.stop() == 0, tree.log()

    def ask(self, tree: ServeTree) -> str:
        """One request of a person; its id."""
        return chat(tree.port, self.key, user="u-8f2c")

    def journals(self) -> list[str]:
        """The sources of which there is a file."""
        return sorted(DirectoryJournalFiles(self.data / "journal").list())

    def workers(self) -> list[str]:
        """Those of workers: the others stay."""
        return [one for one in self.journals() if not is_administrative(one)]

    def dead(self) -> list[str]:
        """The sources of which there is a file, and no process any more."""
        reader = DirectoryJournalReader(self.data / "journal")
        try:
            return [one for one in reader.sources() if reader.is_dead(one)]
        finally:
            reader.close()

    def records_of_deletions(self) -> list[dict[str, Any]]:
        """What the journals that there are say of those that there are no more."""
        return [
            json.loads(line)["data"]
            for file in sorted((self.data / "journal").iterdir())
            for line in file.read_bytes().splitlines()
            if b'"comptroller.journal.deleted.v1"' in line
        ]

    def verified(self) -> None:
        """The trail, the store and the journals agree."""
        done = command(self.folder, "audit", "verify", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["ok"], found
        alone = [sys.executable, "-m", "comptroller.verify", str(self.data / "trail")]
        alone.append(f"--vkey={(self.data / 'trail.vkey').read_text().strip()}")
        subprocess.run(alone, check=True, stdout=subprocess.DEVNULL)
        run_command(self.folder, "audit", "rebuild", "--check")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        text = text.replace("{owner: ada}", f"{{owner: ada, {PRIVACY}}}", 1)
        (tmp_path / "comptroller.yaml").write_text(text)
        (tmp_path / "policy").mkdir()
        (tmp_path / "policy" / "acme.policy.yaml").write_text(POLICY)
        (tmp_path / "policy" / "acme.policy_test.yaml").write_text(CASES)
        yield Site(tmp_path)


def answers(site: Site, asked: list[str]) -> dict[str, Any]:
    """All that is said of requests, but for how far the trail is."""
    found: dict[str, Any] = {}
    for one in asked:
        explained = told(site.folder, "explain", one)
        proof = explained.pop("proof")
        assert proof["problem"] is None, proof
        assert proof["decision"] is not None
        found[f"explain {one}"] = [explained, proof["decision"], proof["end"]]
    one = asked[-1]
    found["shown"] = told(site.folder, "privacy", "show", one)
    controls = told(site.folder, "audit", "controls", "--request", one)
    found["controls"] = controls["controls"]
    replayed = told(site.folder, "policy", "replay")
    found["replay"] = [replayed["decided"], replayed.get("differ")]
    found["since"] = told(site.folder, "policy", "replay", "--since", "1d")["decided"]
    found["spend"] = told(site.folder, "spend", "--by", "service")
    requests = told(site.folder, "requests")
    found["requests"] = [row["request_id"] for row in requests]
    return found


def test_everything_answers_from_the_trail(site: Site) -> None:
    """Explained, proved, shown, audited, replayed, verified and rebuilt as before."""
    with site.serving() as tree:
        asked = [site.ask(tree) for _ in range(REQUESTS)]
        assert kill_dead(tree.children()["w0"])
        asked += [site.ask(tree) for _ in range(REQUESTS)]
    before = answers(site, [asked[0], asked[-1]])
    assert before["shown"]["disclosed"], before["shown"]
    assert before["replay"][0] == 2 * REQUESTS
    old = site.workers()
    kept = set(site.journals()) - set(old)
    with site.serving(*SOON) as tree:
        await_true(lambda: not set(old) & set(site.journals()), DELETED_S_MAX)
        assert _problems(tree) == []
        site.verified()
    deleted = {one["source"] for one in site.records_of_deletions()}
    assert set(old) <= deleted
    assert kept <= set(site.journals()), "of who administers, none goes"
    assert answers(site, [asked[0], asked[-1]]) == before
    site.verified()
    lose_the_store(site)
    assert answers(site, [asked[0], asked[-1]]) == before


def lose_the_store(site: Site) -> None:
    """Nobody makes books of what journals are left; the trail makes them whole."""
    store = site.data / "store.sqlite3"
    for one in site.data.glob("store.sqlite3*"):
        one.unlink()
    for words in (("apply", "--yes"), ("key", "issue", "checkout", "--for", "ada")):
        done = command(site.folder, *words)
        assert done.returncode == 1
        assert "comptroller audit rebuild --to" in done.stderr, done.stderr
    assert not store.exists()
    process = subprocess.run(
        [sys.executable, "-m", "comptroller", "_control", _options(site)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 78  # a restart cannot help
    assert "comptroller audit rebuild --to" in process.stderr
    assert not store.exists()
    run_command(site.folder, "audit", "rebuild", "--to", str(store))


def test_a_kill_while_journals_are_deleted_is_made_good(site: Site) -> None:
    """Each is recorded once, and what a kill left is finished, if it is the same."""
    asked: list[str] = []
    for _ in range(2):
        with site.serving() as tree:
            asked = [site.ask(tree) for _ in range(REQUESTS)]
    before = answers(site, asked[:1])
    old, folder = set(site.workers()), site.data / "journal"
    files = DirectoryJournalFiles(folder).list()
    names = [mark.name for one in old for mark in files[one]]
    kept = {name: (folder / name).read_bytes() for name in names}
    with site.serving(*SOON) as tree:
        for _ in range(KILLS):
            left = len(old & set(site.journals()))
            await_true(lambda: len(old & set(site.journals())) < left, DELETED_S_MAX)  # noqa: B023  used at once
            assert kill_dead(tree.children()["control"])
            await_true(lambda: "control" in tree.children(), DELETED_S_MAX)
        await_true(lambda: not old & set(site.journals()), DELETED_S_MAX)
        sources = [one["source"] for one in site.records_of_deletions()]
        assert len(set(sources)) == len(sources)
        # As a kill right before a file goes leaves it; and one that is another.
        same, other = sorted(kept)[:2]
        (folder / other).write_bytes(kept[other].replace(b"ada", b"bob"))
        (folder / same).write_bytes(kept[same])
        await_true(lambda: not (folder / same).exists(), DELETED_S_MAX)
        await_true(lambda: any("was deleted" in one for one in _problems(tree)), 10)
        assert (folder / other).exists()
        again = [one["source"] for one in site.records_of_deletions()]
        assert len(set(again)) == len(again)
        (folder / other).unlink()
    assert answers(site, asked[:1]) == before
    site.verified()


def _options(site: Site) -> str:
    """What a control process is told."""
    console = {"console_host": "127.0.0.1", "console_port": 0}
    return json.dumps({"data": str(site.data), **console})


def _problems(tree: ServeTree) -> list[str]:
    """What the control process says is wrong."""
    found = re.search(r"status (http://\S+)", tree.log())
    assert found is not None
    with urllib.request.urlopen(found.group(1)) as reply:  # noqa: S310  loopback
        problems: list[str] = json.load(reply)["problems"]
    return problems
