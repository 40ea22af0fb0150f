"""What administration recorded outlives the pruning of the trail: real processes.

A gateway with a service, a key and a policy that prompts are restricted by; a second
gateway after it whose journals are deleted and pruned; a third one that goes on.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from comptroller.adapters.journal.files import DirectoryJournalFiles
from comptroller.adapters.system import SystemClock
from comptroller.core.timestamps import rfc3339
from comptroller.engine.projection import is_administrative
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import SMALL_POLICY, small_configuration
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

MODELS: Final = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 900"}
REQUESTS: Final = 300
"""Two records each: more than two bundles of 256."""
SOON: Final = ("--keep-journals", "1s")
WAIT_S: Final = 60.0
PRUNE: Final = ("audit", "prune", "--reason", "400 days", "--by", "ada")
APPROVED: Final = ("--approved-by", "grace", "--yes")


class Kept(NamedTuple):
    """What was done."""

    folder: Path
    old: str
    """A request whose records are pruned, and in no journal any more."""
    old_at: str
    """A time between the first and the last of these."""
    new: str
    """A request after that."""
    new_at: str
    below: int
    pruned_by: int
    """Index of the record that prunes."""


def chat(port: int, key: str, count: int = 1) -> str:
    """Asks for completions; the last request's id."""
    asked = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    name = ""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as link:
        for _ in range(count):
            link.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
            reply = link.getresponse()
            assert reply.status == 200, reply.read()
            reply.read()
            name = str(reply.headers["x-comptroller-request-id"]).upper()
    return name


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[ServeTree]:
    tree = ServeTree(folder, 1, more=more)
    try:
        yield tree
    finally:
        assert tree.stop() == 0, tree.log()


def workers(folder: Path) -> set[str]:
    """The workers of which there is a journal."""
    files = DirectoryJournalFiles(folder / "comptroller-data" / "journal").list()
    return {one for one in files if not is_administrative(one)}


def now() -> str:
    return rfc3339(SystemClock().now_ns())


def made_in(folder: Path) -> Kept:
    """Declares, activates, serves, deletes the workers' journals, and prunes."""
    (folder / "policy").mkdir()
    (folder / "policy" / "acme.policy.yaml").write_text(SMALL_POLICY)
    with running_provider() as origin:
        text = small_configuration(f"{{base_url: {origin}, speaks: [openai]}}", MODELS)
        grace = "  grace: {name: Grace Hopper, email: grace@acme.example}\n"
        text = text.replace("gateway:", f"{grace}gateway:", 1)
        (folder / "comptroller.yaml").write_text(text)
        run_command(folder, "apply", "--yes")
        key = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]
        bundle = told(folder, "policy", "publish", "policy", "--author", "ada")
        words = ("policy", "activate", str(bundle["revision"]), "--approver", "grace")
        run_command(folder, *words)
        with serving(folder) as tree:
            chat(tree.port, key, REQUESTS // 2)
            old_at = now()
            old = chat(tree.port, key, REQUESTS // 2)
        gone = workers(folder)
        with serving(folder, *SOON) as tree:
            await_true(lambda: not gone & workers(folder), WAIT_S)
            chat(tree.port, key, REQUESTS // 2)
            below = told(folder, "explain", old)["proof"]["end"] // 256 * 256 + 256
            await_true(lambda: size(folder) > below, WAIT_S)
            found = told(folder, *PRUNE, *APPROVED, "--below", str(below))
            assert found["is_recorded"]
            entries = folder / "comptroller-data/trail/tile/entries"
            await_true(lambda: not (entries / f"{below // 256 - 1:03d}").exists(), 20)
            new = chat(tree.port, key)
            new_at = now()
            chat(tree.port, key)
    run_command(folder, "audit", "sequence")
    verified = told(folder, "audit", "verify")
    by = verified["compared"]["pruned_by"]
    return Kept(folder, old, old_at, new, new_at, below, by)


def size(folder: Path) -> int:
    """Records in the last checkpoint."""
    checkpoint = folder / "comptroller-data/trail/checkpoint"
    return int(checkpoint.read_text().splitlines()[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return made_in(tmp_path_factory.mktemp("kept"))


def controls(kept: Kept, *words: str) -> dict[str, Any]:
    """The answer, its controls by name."""
    found: dict[str, Any] = told(kept.folder, "audit", "controls", *words)
    found["controls"] = {one["control"]: one for one in found["controls"]}
    return found


def indices(found: dict[str, Any], kept: Kept) -> list[int]:
    """The log indices of the acts, each of which was pruned."""
    places = [found["registry"]["record"], found["policy"]["record"]]
    places += [one["record"] for one in found["declared_by"]]
    told_of = [one["log_index"] for one in places]
    assert all(one is not None and one < kept.below for one in told_of), places
    return told_of


def test_what_was_declared_is_shown_after_it_was_pruned(made: Kept) -> None:
    """At a time, of a request and over a span, from the journals that stay."""
    for words in (
        ("--service", "checkout", "--at", made.new_at),
        ("--request", made.new),
    ):
        found = controls(made, *words)
        for name in ("prompt_restriction", "price", "model_selection"):
            one = found["controls"][name]
            assert one["verdict"] == "active", one["why"]
        assert found["controls"]["prompt_restriction"]["is_complete"]
        approved = found["controls"]["prompt_restriction"]["approved_by"]
        assert (approved["author"], approved["approver"]) == ("ada", "grace")
        assert len(set(indices(found, made))) >= 4
        assert found["discrepancies_count"] == 0
        assert found["trail"]["problem"] is None
    span = ("--service", "checkout", "--between", made.new_at, "now")
    found = controls(made, *span)
    causes = {one["cause"] for one in found["controls"]["price"]["gaps"]}
    assert causes <= {"no_worker"}, found["controls"]["price"]["gaps"]
    assert found["controls"]["price"]["covered_seconds"] > 0
    assert found["discrepancies_count"] == 0


def test_what_was_pruned_is_not_guessed(made: Kept) -> None:
    """Of the time before, the pruning is named: heartbeats and decisions are gone."""
    words = ("--service", "checkout", "--at", made.old_at)
    found = controls(made, *words)
    said = f"it was pruned, as record {made.pruned_by} of the trail says"
    for one in found["controls"].values():
        assert one["verdict"] == "unproven"
        assert any(said in why for why in one["why"]), one["why"]
    assert found["pruned_by"] == [made.pruned_by]
    assert indices(found, made)  # what was declared then is known all the same
    page = run_command(made.folder, "audit", "controls", *words)
    assert "NOT PROVEN" in page
    assert "ACTIVE" not in page
    assert f"see record {made.pruned_by} of the trail" in page
    span = ("--service", "checkout", "--between", made.old_at, made.new_at)
    gaps = controls(made, *span)["controls"]["price"]["gaps"]
    assert gaps[0]["cause"] == "pruned"
    asked = command(made.folder, "audit", "controls", "--request", made.old)
    assert asked.returncode == 1
    assert said in asked.stderr
    assert "Traceback" not in asked.stderr


def test_an_old_and_a_new_request_are_explained(made: Kept) -> None:
    """The new one with its places; of the old one it is said what became of it."""
    proof = told(made.folder, "explain", made.new)["proof"]
    assert proof["problem"] is None
    assert proof["decision"] > made.below
    old = command(made.folder, "explain", made.old)
    assert old.returncode == 1
    assert "was pruned on 20" in old.stderr
    assert f"as record {made.pruned_by} of the trail says" in old.stderr
    assert "by ada, approved by grace: 400 days" in old.stderr


def test_all_of_it_verifies(made: Kept) -> None:
    """By both verifiers; the lines whose entries are gone are counted."""
    found = told(made.folder, "audit", "verify")
    assert found["ok"]
    assert found["compared"]["pruned"] == made.below
    assert found["compared"]["by_hash"] > 10
    data = made.folder / "comptroller-data"
    vkey = (data / "trail.vkey").read_text().strip()
    alone = [sys.executable, "-m", "comptroller.verify", str(data / "trail")]
    done = subprocess.run(
        [*alone, "--vkey", vkey], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{made.below} records are pruned" in done.stdout


@pytest.mark.parametrize("change", ["edited", "dropped", "cut", "removed"])
def test_a_journal_that_was_changed_after_the_pruning_is_named(
    made: Kept, tmp_path: Path, change: str
) -> None:
    """Its line is not the one of which the trail has the hash."""
    ignored = shutil.ignore_patterns("*.sock")
    folder = Path(shutil.copytree(made.folder, tmp_path / "copy", ignore=ignored))
    kept = made._replace(folder=folder)
    for path in sorted((folder / "comptroller-data/journal").iterdir()):
        if b'"comptroller.policy.activated.v1"' in path.read_bytes():
            break
    lines = path.read_bytes().splitlines(keepends=True)
    number = next(i for i, one in enumerate(lines) if b".activated.v1" in one)
    if change == "edited":
        lines[number] = lines[number].replace(b'"grace"', b'"grade"')
    elif change == "dropped":
        del lines[number]
    elif change == "cut":
        del lines[number:]
    path.write_bytes(b"".join(lines))
    if change == "removed":
        path.unlink()
    # A projected journal's store is not asked: the page is of the records.
    done = command(folder, "audit", "verify", "--json")
    assert done.returncode == 1, done.stdout
    found = json.loads(done.stdout)
    host, name, boot, _ = path.name.split(".")
    source = f"/{host}/{name}/{boot}"
    said = [one for one in found["compared"]["first_wrong"] if source in one]
    assert said, found["compared"]["first_wrong"]
    if change == "edited":
        assert f"its record {number} is not the one" in said[0]
    words = ("--service", "checkout", "--at", made.new_at)
    answer = controls(kept, *words)["controls"]["prompt_restriction"]
    assert answer["verdict"] == "unproven"
    assert any(source in one for one in answer["why"]), answer["why"]
