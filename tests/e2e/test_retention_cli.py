"""Pruning and legal holds in real processes: asked for, refused, carried out."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.disclosures import DisclosureWriter
from comptroller.core.disclosure import disclosure
from comptroller.engine.privacy_ports import DisclosureLine
from comptroller.testing.traces import traces
from comptroller.testing.tree import (
    ServeTree,
    await_true,
    command,
    control_process,
    run_command,
    told,
)

PERSON, NEIGHBOUR = "erika.mustermann@example.org", "u-8f2c/neighbour"
OLD = 600
"""Records of November 2025: they fill two bundles of 256."""
BY = ("--reason", "Case 7", "--by", "ada")
PRUNE = ("audit", "prune", "--reason", "400 days", "--by", "ada")
APPROVED = ("--approved-by", "grace", "--yes")


@pytest.fixture(scope="module")
def past(
    tmp_path_factory: pytest.TempPathFactory, old_trail: Callable[[Path, int], None]
) -> Path:
    """A folder with a trail of many old records and a few new ones."""
    folder = tmp_path_factory.mktemp("past")
    old_trail(folder, OLD)
    return folder


@pytest.fixture
def site(past: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed, in which two end users are disclosed."""
    folder = Path(shutil.copytree(past, tmp_path / "site"))
    table = folder / "comptroller-data" / "disclosures"
    writer = DisclosureWriter(table, "node.w0.before", 2000)
    for letter, value in (("A", PERSON), ("B", NEIGHBOUR)):
        text = disclosure(letter.encode() * 16, "enduser.id", value)
        line = DisclosureLine(f"01ARZ3NDEKTSV4RRFFQ69G5FA{letter}", [text])
        writer.append(msgspec.json.encode(line) + b"\n")
    writer.close()
    return folder


@pytest.fixture(params=["alone", "control process"])
def administered(site: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The copy, with or without a process that performs what commands ask for."""
    data = site / "comptroller-data"
    is_alone = request.param == "alone"
    with nullcontext() if is_alone else control_process(data):
        yield site


def recorded(site: Path, kind: str) -> list[dict[str, Any]]:
    """The data of every record of a type, in all journals."""
    found = []
    for path in sorted((site / "comptroller-data" / "journal").iterdir()):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            if record["type"] == kind:
                found.append(record["data"])
    return found


def refused(site: Path, *words: str) -> dict[str, str]:
    """The error of a command that is refused."""
    done = command(site, *words, "--json")
    assert done.returncode == 1, done.stdout
    error: dict[str, str] = json.loads(done.stderr.splitlines()[-1])["error"]
    return error


def bundles(site: Path) -> list[str]:
    """The full bundles that are there."""
    folder = site / "comptroller-data" / "trail" / "tile" / "entries"
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("0??"))


def test_what_is_old_is_pruned_on_two_people_s_word(administered: Path) -> None:
    """Told first, recorded with all names; a second time there is nothing left."""
    site = administered
    # The first entry is of today: its bundle keeps all that is after it.
    old = run_command(site, *PRUNE, *APPROVED, "--before", "2026-01-01")
    assert old.startswith("Nothing goes: no full bundle of 256 records has only older")
    said = run_command(site, *PRUNE, *APPROVED, "--before", "2999-01-01")
    assert said.startswith("512 records go: 0 to 511, recorded from 2025-11-")
    assert "Recorded." in said
    (data,) = recorded(site, "comptroller.trail.pruned.v1")
    assert (data["below"], data["before"]) == (512, 0)
    assert (data["reason"], data["approved_by"]) == ("400 days", "grace")
    assert data["actor"]["person"] == "ada"

    again = told(site, *PRUNE, *APPROVED, "--before", "2999-01-01")
    assert (again["is_recorded"], again["records"], again["before"]) == (False, 0, 512)
    error = refused(site, *PRUNE, *APPROVED, "--below", "256")
    assert "pruned below 512 already" in error["message"]
    assert len(recorded(site, "comptroller.trail.pruned.v1")) == 1


def test_a_gateway_that_serves_carries_a_pruning_out(site: Path) -> None:
    """The bundle goes, and no other; the next pruning begins where it ended."""
    assert bundles(site) == ["000", "001"]
    tree = ServeTree(site, 1)
    try:
        going = told(site, *PRUNE, *APPROVED, "--below", "256")
        assert (going["is_recorded"], going["records"]) == (True, 256)
        await_true(lambda: bundles(site) == ["001"], 20)
        verified = command(site, "audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        going = told(site, *PRUNE, *APPROVED, "--before", "2999-01-01")
        assert (going["before"], going["below"]) == (256, 512)
        await_true(lambda: bundles(site) == [], 20)
    finally:
        assert tree.stop() == 0, tree.log()


def test_what_must_not_be_pruned_is_refused(site: Path) -> None:
    """Unpublished records, one person alone, nobody to ask, no time and no index."""
    for words, code, said in (
        (("--below", "1024", *APPROVED), "conflict", "at most --below 512"),
        (
            ("--below", "256", "--approved-by", "ada", "--yes"),
            "conflict",
            "--approved-by with one of grace",
        ),
        (("--below", "256", "--approved-by", "grace"), "invalid_argument", "add --yes"),
        (APPROVED, "invalid_argument", "exactly one of --before and --below"),
        (("--before", "soon", *APPROVED), "invalid_argument", '"soon" is not a time'),
    ):
        error = refused(site, *PRUNE, *words)
        assert (error["code"], said in error["message"]) == (code, True), error
    assert recorded(site, "comptroller.trail.pruned.v1") == []


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("y", 0)])
def test_a_person_is_asked(site: Path, answer: str, status: int) -> None:
    """On a terminal, after what goes was told; only a yes prunes."""
    ours, theirs = pty.openpty()
    words = (*PRUNE, "--approved-by", "grace", "--below", "256")
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "comptroller", *words],
            cwd=site,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, f"{answer}\n".encode())
        said, _ = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == status
    assert "256 records go" in said
    assert len(recorded(site, "comptroller.trail.pruned.v1")) == 1 - status


def test_a_legal_hold_stops_every_deletion(administered: Path) -> None:
    """Of the trail and of persons, until it is lifted; each refusal names it."""
    site = administered
    placed = told(site, "audit", "legal-hold", "place", "--everything", *BY)
    hold_id = placed["legal_hold_id"]
    assert placed["scope"] == "everything"
    erase = ("privacy", "erase", "--end-user", PERSON, "--by", "ada", "--reason", "x")
    prune = (*PRUNE, *APPROVED, "--below", "256")
    for words in (erase, prune):
        error = refused(site, *words)
        assert error["code"] == "legal_hold"
        for part in (hold_id, "Case 7", "comptroller audit legal-hold lift"):
            assert part in error["message"]
    assert traces(site, PERSON)
    assert recorded(site, "comptroller.trail.pruned.v1") == []

    lifted = told(site, "audit", "legal-hold", "lift", hold_id, *BY)
    assert lifted == {"legal_hold_id": hold_id, "in_force": 0}
    assert told(site, *erase)["requests"] == 1
    assert told(site, *prune)["is_recorded"]


def test_a_legal_hold_on_an_end_user_leaves_no_trace_of_them(
    administered: Path,
) -> None:
    """Others are erased meanwhile; lifted and erased, the person is in no file."""
    site = administered
    words = ("audit", "legal-hold", "place", "--end-user", PERSON, *BY)
    hold_id = told(site, *words)["legal_hold_id"]
    salts = site / "comptroller-data" / "keys" / "legal-holds"
    assert [one.name for one in salts.iterdir()] == [f"{hold_id}.salt"]
    erase = ("privacy", "erase", "--by", "ada", "--reason", "x")
    error = refused(site, *erase, "--end-user", PERSON)
    assert hold_id in error["message"]
    assert PERSON not in error["message"]
    assert refused(site, *erase, "--before", "1h")["code"] == "legal_hold"
    half = site / "comptroller-data" / "disclosures" / "node.w1.lost.1.jsonl"
    half.write_bytes(b'{"id":"01ARZ3NDEKTSV4RRFFQ69')
    assert told(site, *erase, "--end-user", NEIGHBOUR)["requests"] == 1
    assert half.read_bytes().startswith(b'{"id"'), "it may be of the person"

    (held,) = told(site, "audit", "legal-hold", "list")
    assert (held["scope"], held["is_in_force"]) == ("end_user", True)
    run_command(site, "audit", "legal-hold", "lift", hold_id, *BY)
    assert list(salts.iterdir()) == []
    assert told(site, *erase, "--end-user", PERSON)["requests"] == 1
    assert traces(site, PERSON) == []
    assert not half.exists()
    shown = run_command(site, "audit", "legal-hold", "list")
    assert shown.splitlines()[0].split()[:3] == ["LEGAL", "HOLD", "ON"]
    assert f"{hold_id}  an end user  lifted" in shown


def test_who_places_and_lifts_is_named(site: Path) -> None:
    """And on what, and that it is there: nothing else is recorded."""
    group = ("audit", "legal-hold")
    assert "No legal hold" in run_command(site, *group, "list")
    place, lift = (*group, "place"), (*group, "lift")
    for words, code, said in (
        ((*place, *BY), "invalid_argument", "exactly one of --everything"),
        (
            (*place, "--everything", "--end-user", "x", *BY),
            "invalid_argument",
            "exactly one of --everything",
        ),
        ((*place, "--end-user", "", *BY), "invalid_argument", "--end-user VALUE"),
        ((*lift, "nothing", *BY), "not_found", "legal-hold list shows"),
    ):
        error = refused(site, *words)
        assert (error["code"], said in error["message"]) == (code, True), error
    assert command(site, *place, "--everything", "--reason", "x").returncode == 2
    assert recorded(site, "comptroller.legal_hold.placed.v1") == []


def test_a_rebuilt_store_knows_the_legal_holds(site: Path) -> None:
    """They are in the trail, and the store worked out of it has the same rows."""
    hold_id = told(site, "audit", "legal-hold", "place", "--end-user", "x9", *BY)
    run_command(site, "audit", "legal-hold", "place", "--everything", *BY)
    words = ("audit", "legal-hold", "lift", hold_id["legal_hold_id"], *BY)
    run_command(site, *words)
    run_command(site, "audit", "sequence")
    # The old requests name a rate card that was never kept here, so it exits 1.
    done = command(site, "audit", "rebuild", "--check", "--json")
    assert json.loads(done.stdout)["compared"]["is_same"], done.stdout


def test_a_hold_keeps_what_was_to_go_and_has_not(site: Path) -> None:
    """Pruned while nothing served, held before it did: gone only once it is lifted."""
    told(site, *PRUNE, *APPROVED, "--below", "256")
    hold_id = told(site, "audit", "legal-hold", "place", "--everything", *BY)
    run_command(site, "audit", "sequence")
    assert bundles(site) == ["000", "001"]
    words = ("audit", "legal-hold", "lift", hold_id["legal_hold_id"], *BY)
    run_command(site, *words)
    run_command(site, "audit", "sequence")
    assert bundles(site) == ["001"]


@pytest.mark.parametrize("is_older", [True, False])
def test_an_older_store_ends_no_legal_hold(site: Path, *, is_older: bool) -> None:
    """What is recorded in a journal holds, whether the store knows of it or not."""
    store = site / "comptroller-data" / "store.sqlite3"
    told(site, *PRUNE, *APPROVED, "--below", "256")
    before = store.read_bytes()
    hold_id = told(site, "audit", "legal-hold", "place", "--everything", *BY)
    store.write_bytes(before)
    if not is_older:
        store.unlink()
    run_command(site, "audit", "sequence")
    assert bundles(site) == ["000", "001"]
    words = ("audit", "legal-hold", "lift", hold_id["legal_hold_id"], *BY)
    run_command(site, *words)
    run_command(site, "audit", "sequence")
    assert bundles(site) == ["001"]
