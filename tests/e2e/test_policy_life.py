"""`comptroller policy publish`, `activate`, `history` as people run them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from comptroller.adapters.control import ControlClient
from comptroller.bootstrap import Place, open_administrator
from comptroller.bootstrap.policies import gather_files
from comptroller.bootstrap.policy_archive import told_history
from comptroller.engine.commands import PublishPolicy
from comptroller.engine.policy_ports import BundleFile
from comptroller.engine.snapshot import decode
from comptroller.testing.administration import small_registry
from comptroller.testing.tree import command, control_process, told

POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.small, models: {acme: [small]}}
ceilings:
  - {id: ceil.default, max_output_tokens: 100}
rules:
  - {id: no.night, deny_if: "ctx.env == 'night'"}
"""
CASES = """\
tests:
  - name: the small model is allowed
    with: {principal.tenant: acme, model.id: small}
    expect: {decision: allow}
"""
DIES_AT_PROJECTION = """
import os, signal, sys
from pathlib import Path
from comptroller.adapters.control import ControlLock
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.site import Site, account
from comptroller.engine.administration import Administration
from comptroller.engine.commands import ActivatePolicy, perform

place = Place(Path(sys.argv[1]))
assert ControlLock(place.lock).take()
with Site.open(place, "cli") as site:
    parts = site.administration._parts
    dies = lambda source: os.kill(os.getpid(), signal.SIGKILL)
    acting = Administration(parts._replace(project=dies))
    perform(ActivatePolicy(sys.argv[2], "grace"), acting, account())
"""


@pytest.fixture(scope="module")
def applied_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("applied")
    with open_administrator(folder / "comptroller-data") as administrator:
        administrator.apply(small_registry(), "sha256:1")
    (folder / "policy").mkdir()
    (folder / "policy" / "acme.policy.yaml").write_text(POLICY)
    (folder / "policy" / "acme.policy_test.yaml").write_text(CASES)
    return folder


@pytest.fixture
def folder(applied_once: Path, tmp_path: Path) -> Path:
    """A folder of its own with an applied configuration and a bundle."""
    return shutil.copytree(applied_once, tmp_path / "folder")


@pytest.fixture(params=["with a control process", "without one"])
def either(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    if request.param == "without one":
        yield folder
        return
    with control_process(folder / "comptroller-data") as control:
        yield folder
        maps = Path(f"/proc/{control.pid}/maps").read_text()
        assert "cel_expr" not in maps, "the control process keeps the language loaded"


def in_force(folder: Path) -> str | None:
    policy = decode(Place(folder / "comptroller-data").snapshot.read_bytes()).policy
    return None if policy is None else policy.revision


def change(folder: Path, before: str, after: str) -> None:
    path = folder / "policy" / "acme.policy.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def published(folder: Path) -> str:
    files, _ = gather_files([folder / "policy"])
    with open_administrator(folder / "comptroller-data") as administrator:
        made = administrator.publish_policy(files, "", "ada")
    assert made.state == "published"
    return made.revision


def activated(folder: Path, revision: str) -> None:
    with open_administrator(folder / "comptroller-data") as administrator:
        administrator.activate_policy(revision, "grace")
    assert in_force(folder) == revision


def test_the_life_of_a_bundle(either: Path) -> None:
    """Published, activated, replaced, rolled back, ended; history tells it all."""
    checked = told(either, "policy", "check")["revision"]
    first = told(either, "policy", "publish", "--author", "ada")["revision"]
    assert first == checked
    assert in_force(either) is None
    again = command(either, "policy", "publish", "--author", "grace")
    assert (again.returncode, again.stderr) == (0, "")
    assert "was published before, by ada." in again.stdout
    told(either, "policy", "activate", first, "--approver", "grace")
    assert in_force(either) == first
    change(either, "max_output_tokens: 100", "max_output_tokens: 50")
    change_words = ("--author", "ada", "--note", "tighter")
    second = told(either, "policy", "publish", *change_words)["revision"]
    activated(either, second)
    activated(either, first)
    history = told(either, "policy", "history")
    assert [(one["revision"], one["state"]) for one in history["bundles"]] == [
        (first, "active"),
        (second, "was active"),
    ]
    bundle = history["bundles"][1]
    people = bundle["author"], bundle["approver"], bundle["note"]
    assert people == ("ada", "grace", "tighter")
    assert (bundle["files"], bundle["parts"], bundle["cases"]) == (2, 3, 1)
    lines = command(either, "policy", "history").stdout.splitlines()
    assert lines[0].split()[:5] == [
        "REVISION",
        "STATE",
        "AUTHOR",
        "APPROVER",
        "ACTIVATED",
    ]
    assert lines[1].split()[:4] == [first[7:19], "active", "ada", "grace"]
    shown = told(either, "policy", "show", second[7:15])
    texts = {one["name"]: one["text"] for one in shown["files"]}
    assert "max_output_tokens: 50" in texts["acme.policy.yaml"]
    assert texts["acme.policy_test.yaml"] == CASES
    words = ["--author", "ada", "--approver", "grace", "--note", "a mistake"]
    assert told(either, "policy", "deactivate", *words)["previous"] == first
    assert in_force(either) is None
    assert "No policy is active." in command(either, "policy", "history").stdout


def test_who_wrote_it_does_not_approve_it(either: Path) -> None:
    """The error says why and who could; nothing changes."""
    revision = published(either)
    done = command(either, "policy", "activate", revision, "--approver", "ada")
    assert done.returncode == 1
    assert "ada wrote it, so another person has to approve it" in done.stderr
    assert "one of alan, grace" in done.stderr
    assert in_force(either) is None


def test_a_bad_bundle_never_replaces_a_good_one(either: Path) -> None:
    """Problems and failing tests are shown with their places, and nothing is kept."""
    good = published(either)
    activated(either, good)
    kept = sorted((either / "comptroller-data" / "policy").iterdir())
    change(either, "ctx.env ==", "ctx.envv ==")
    done = command(either, "policy", "publish", "--author", "ada")
    assert done.returncode == 1
    place = 'policy/acme.policy.yaml:9:30: rule "no.night": deny_if: there is no'
    assert done.stderr.startswith(place)
    assert 'hint: did you mean "ctx.env"?' in done.stderr
    assert "1 problem: nothing was published." in done.stderr
    change(either, "ctx.envv ==", "ctx.env ==")
    change(either, "acme: [small]", "acme: [large]")
    done = command(either, "policy", "publish", "--author", "ada", "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (1, "policy_tests_failed")
    assert error["failed"][0]["place"] == "policy/acme.policy_test.yaml:2:5"
    change(either, "owner: ada", "owner: adda")
    change(either, "acme: [large]", "acme: [small]")
    done = command(either, "policy", "publish", "--author", "ada")
    place = 'policy/acme.policy.yaml:3:31: the owner "adda" of this set is not declared'
    assert done.stderr.startswith(place)
    assert sorted((either / "comptroller-data" / "policy").iterdir()) == kept
    assert in_force(either) == good
    journals = (either / "comptroller-data" / "journal").glob("*.jsonl")
    lines = b"".join(one.read_bytes() for one in journals).splitlines()
    assert sum(b"comptroller.policy.refused.v1" in one for one in lines) == 3
    bundles = told_history(either / "comptroller-data")["bundles"]
    assert [one["state"] for one in bundles] == ["active"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["publish"], 2, "--author"),
        (["publish", "--author", "adda"], 1, "did you mean ada?"),
        (["publish", "nowhere", "--author", "ada"], 1, "there is no such file"),
        (["activate", "abcd1234", "--approver", "grace"], 1, "policy history shows"),
        (["activate", "ab", "--approver", "grace"], 1, "at least its first 4 digits"),
        (["activate", "abcd1234"], 2, "--approver"),
        (["show", "abcd1234"], 1, "no bundle abcd1234 was published"),
        (
            ["deactivate", "--author", "ada", "--approver", "grace", "--note", "x"],
            1,
            "no policy is active",
        ),
    ],
)
def test_mistakes_with_policies_say_what_to_do(
    folder: Path, words: list[str], status: int, message: str
) -> None:
    """Wrongly asked is 2, not possible is 1; standard output stays empty."""
    done = command(folder, "policy", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr


def test_the_control_process_checks_what_anybody_sends(folder: Path) -> None:
    """A client that sends an unchecked bundle publishes nothing."""
    content = POLICY.replace("ctx.env", "ctx.envv").encode()
    bad = BundleFile("x/acme.policy.yaml", "acme.policy.yaml", content)
    escape = BundleFile("x", "../acme.policy.yaml", POLICY.encode())
    large = BundleFile("x", "x.policy.yaml", b"x" * (4 * 2**20 + 1))
    with control_process(folder / "comptroller-data"):
        client = ControlClient(Place(folder / "comptroller-data").socket)
        answers = []
        for file in (bad, escape, large):
            asked = msgspec.json.encode(PublishPolicy([file], "", "ada"))
            answers.append(json.loads(client.ask(asked) or b""))
    assert answers[0]["ok"]["state"] == "refused"
    assert "give it a name" in answers[1]["error"]["message"]
    assert "at most 100 files of 4,194,304 bytes" in answers[2]["error"]["message"]
    assert not (folder / "comptroller-data" / "policy").exists()


def test_killed_between_record_and_projection(folder: Path) -> None:
    """What was recorded is in force as soon as anybody looks; nothing is half done."""
    first = published(folder)
    activated(folder, first)
    change(folder, "max_output_tokens: 100", "max_output_tokens: 50")
    second = published(folder)
    done = subprocess.run(
        [sys.executable, "-c", DIES_AT_PROJECTION, "comptroller-data", second],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert in_force(folder) == first
    history = told_history(folder / "comptroller-data")
    assert history["active"] == second
    assert in_force(folder) == second
    assert [one["number"] for one in history["bundles"][0]["activations"]] == [2]


def test_a_restart_and_a_lost_store_keep_the_policy(folder: Path) -> None:
    """Killed control processes, a deleted database, a deleted snapshot: it is there."""
    revision = published(folder)
    activated(folder, revision)
    place = Place(folder / "comptroller-data")
    for lost in ([], [place.store], [place.store, place.snapshot]):
        with control_process(folder / "comptroller-data") as control:
            control.kill()
            control.wait()
        for path in lost:
            for one in path.parent.glob(path.name + "*"):
                one.unlink()
        with control_process(folder / "comptroller-data"):
            assert told_history(folder / "comptroller-data")["active"] == revision
        assert in_force(folder) == revision


@pytest.mark.parametrize("damage", ["acme.policy.yaml", "sets.json"])
def test_changed_content_is_not_activated(folder: Path, damage: str) -> None:
    """One byte is enough; the old policy stays, and publishing again mends it."""
    first = published(folder)
    activated(folder, first)
    change(folder, "max_output_tokens: 100", "max_output_tokens: 50")
    second = published(folder)
    path = folder / "comptroller-data" / "policy" / second[7:] / damage
    path.write_bytes(path.read_bytes().replace(b"50", b"51"))
    done = command(folder, "policy", "activate", second, "--approver", "grace")
    assert done.returncode == 1
    assert "was changed" in done.stderr
    assert in_force(folder) == first
    done = command(folder, "policy", "publish", "--author", "ada")
    assert "was published before" in done.stdout
    activated(folder, second)
