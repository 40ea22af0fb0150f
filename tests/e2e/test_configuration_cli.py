from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comptroller.testing.tree import command

PRINTED = Path(__file__).parents[1] / "unit/adapters/printed.yaml"


def loads(text: str) -> dict[str, Any]:
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the printed file."""
    (tmp_path / "comptroller.yaml").write_text(PRINTED.read_text())
    return tmp_path


@pytest.fixture(scope="module")
def applied_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which grace applied the printed file; it is only copied."""
    folder = tmp_path_factory.mktemp("applied")
    (folder / "comptroller.yaml").write_text(PRINTED.read_text())
    done = command(folder, "apply", "--yes", "--by", "grace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Applied as revision 1."
    return folder


@pytest.fixture
def applied(applied_once: Path, tmp_path: Path) -> Path:
    """A folder of its own with the printed file, applied by grace."""
    return shutil.copytree(applied_once, tmp_path / "applied")


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "comptroller.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_init_writes_what_check_finds_valid(tmp_path: Path) -> None:
    """A newcomer's first two commands work; a second init overwrites nothing."""
    written = command(tmp_path, "init")
    checked = command(tmp_path, "check")
    again = command(tmp_path, "init")

    assert written.returncode == 0, written.stderr
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "comptroller.yaml: valid (3 people, 2 providers" in checked.stdout
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_check_reports_every_problem_and_fails(folder: Path) -> None:
    """Problems go out with their places, and the exit status is 1."""
    change(folder, "budget: {limit", "budgt: {limit")
    change(folder, "billing: grace", "billing: grcae")

    checked = command(folder, "check")
    as_json = command(folder, "check", "--json")

    assert checked.returncode == as_json.returncode == 1
    assert checked.stdout.splitlines()[-1] == "2 problems."
    assert '  hint: did you mean "budget"?' in checked.stdout
    document = loads(as_json.stdout)
    assert document["valid"] is False
    assert [(one["line"], one["hint"]) for one in document["problems"]] == [
        (34, 'did you mean "grace"?'),
        (37, 'did you mean "budget"?'),
    ]


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Without a file, check says how to get one."""
    checked = command(tmp_path, "check")

    assert checked.returncode == 1
    assert "comptroller.yaml: there is no such file" in checked.stdout
    assert "`comptroller init` writes one" in checked.stdout


def test_check_warns_of_a_model_without_a_price(folder: Path) -> None:
    """A model that nobody has a price for is valid, with a warning."""
    change(folder, ", price: {input: 0.10, output: 0.40}", "")

    checked = command(folder, "check")

    assert checked.returncode == 0
    assert "warning: model house-model" in checked.stdout


def test_schema_prints_json_schema(tmp_path: Path) -> None:
    """The schema is a document of draft 2020-12 for editors."""
    printed = command(tmp_path, "schema")

    assert printed.returncode == 0
    assert loads(printed.stdout)["$schema"].endswith("2020-12/schema")


def test_the_first_plan_adds_everything_and_writes_nothing(folder: Path) -> None:
    """Before the first apply a plan leaves no state behind."""
    planned = command(folder, "plan")

    assert planned.returncode == 0, planned.stderr
    assert "service checkout-assistant: added" in planned.stdout
    assert "compared with nothing applied yet" in planned.stdout
    assert [one.name for one in folder.iterdir()] == ["comptroller.yaml"]


def test_what_is_applied_is_no_news(applied: Path) -> None:
    """Planning and applying the same again changes nothing."""
    planned = command(applied, "plan")
    reapplied = command(applied, "apply", "--json")

    assert planned.stdout == "Nothing to change: revision 1 says this already.\n"
    assert loads(reapplied.stdout) == {"revision": 1, "changes": 0}


def test_a_change_is_planned_and_applied(applied: Path) -> None:
    """A changed budget is one line, with the people who answer for it."""
    change(applied, "1200 USD", "1500 USD")

    planned = command(applied, "plan")
    reapplied = command(applied, "apply", "--json")

    assert planned.stdout.splitlines() == [
        "service checkout-assistant: budget 1,200 → 1,500 USD/month",
        "",
        "Who answers for what this touches:",
        "  Ada Lovelace (ada): service checkout-assistant (policy owner)",
        "  Alan Turing (alan): service checkout-assistant (technical owner)",
        (
            "  Grace Hopper (grace): service checkout-assistant "
            "(billing owner, unit owner)"
        ),
        "",
        "0 added, 1 changed, 0 removed, compared with revision 1.",
    ]
    assert loads(reapplied.stdout) == {"revision": 2, "changes": 1}


def test_an_invalid_file_is_not_applied(applied: Path) -> None:
    """With a problem anywhere nothing is applied, and each problem is said."""
    before = sorted((applied / "comptroller-data").rglob("*"))
    change(applied, "1200 USD", "1500 USD")
    change(applied, "owner: grace", "owner: nobody")

    refused = command(applied, "apply", "--yes")
    as_json = command(applied, "plan", "--json")

    assert refused.returncode == as_json.returncode == 1
    assert refused.stdout == as_json.stdout == ""
    assert 'owner "nobody" is not declared under people' in refused.stderr
    error = loads(as_json.stderr)["error"]
    assert error["code"] == "configuration"
    assert error["problems"][0]["line"] == 27
    assert len(records(applied, "registry.applied.v1")) == 1
    assert sorted((applied / "comptroller-data").rglob("*")) == before


def test_applying_is_recorded_with_who_did_it(applied: Path) -> None:
    """The journal holds each change and the apply, with person and account."""
    (act,) = records(applied, "registry.applied.v1")
    created = records(applied, "object.created.v1")

    assert act["actor"]["person"] == "grace"
    assert "@" in act["actor"]["account"]
    text = PRINTED.read_bytes()
    assert act["digest"] == f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert act["changes"] == len(created) > 0


def test_a_stranger_cannot_have_applied_it(folder: Path) -> None:
    """`--by` names a declared person."""
    refused = command(folder, "apply", "--yes", "--by", "mallory")

    assert refused.returncode == 1
    assert "mallory" in refused.stderr
    assert records(folder, "registry.applied.v1") == []


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The data of every record of a kind in the folder's journals, in order."""
    lines = [
        loads(line)
        for journal in sorted((folder / "comptroller-data/journal").glob("*.jsonl"))
        for line in journal.read_text().splitlines()
    ]
    return [one["data"] for one in lines if one["type"].endswith(kind)]


def on_a_terminal(folder: Path, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Runs a command on a terminal and answers its question."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "comptroller", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    answered = False
    with contextlib.suppress(OSError):  # the other side closes the terminal
        while read := os.read(ours, 4096):
            seen += read
            if b"[y/N]" in seen and not answered:
                os.write(ours, answer)
                answered = True
    os.close(ours)
    return process.wait(timeout=60), seen.decode()


def test_apply_asks_on_a_terminal(folder: Path) -> None:
    """On a terminal the plan is shown and only a yes applies it."""
    refused, shown = on_a_terminal(folder, b"n\n", "apply")
    applied, told = on_a_terminal(folder, b"y\n", "apply")

    assert refused == 1
    assert "service checkout-assistant: added" in shown
    assert "Nothing was applied." in shown
    assert "compared with nothing applied yet" in told
    assert applied == 0
    assert "Applied as revision 1." in told


def test_several_files_and_a_folder_are_one_configuration(folder: Path) -> None:
    """`--config` may be repeated and may be a folder."""
    text = PRINTED.read_text()
    head, _, tenants = text.partition("tenants:")
    parts = folder / "parts"
    parts.mkdir()
    (parts / "a.yaml").write_text(head)
    (folder / "b.yaml").write_text("tenants:" + tenants)

    checked = command(folder, "check", "--config", "parts", "--config", "b.yaml")

    assert checked.returncode == 0, checked.stdout
    assert "parts/a.yaml, b.yaml: valid" in checked.stdout
