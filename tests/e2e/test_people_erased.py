"""People of the configuration in real processes: declared, changed, gone, erased."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.control import ControlLock
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.site import Site
from comptroller.core.disclosure import commitment
from comptroller.core.registry import Person, PersonId
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.registry_fold import encode_object
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.traces import traces
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
NAME, EMAIL, NEW_EMAIL = (
    "Erika Mustermann-Gabler",
    "erika.mustermann@example.org",
    "gabler+new@example.net",
)
ERASE = ("privacy", "erase", "--person", "p-17", "--by", "ada", "--reason", "Left us")


def configured(folder: Path, *people: str) -> None:
    """Writes the configuration with these people beside ada."""
    lines = "".join(f"  {one}\n" for one in people)
    text = (folder / "base.yaml").read_text()
    text = text.replace("people:\n", f"people:\n{lines}", 1)
    (folder / "comptroller.yaml").write_text(text)


def apply(folder: Path, *people: str) -> None:
    """Applies the configuration with these people beside ada."""
    configured(folder, *people)
    run_command(folder, "apply", "--yes", "--by", "ada")


def person(email: str) -> str:
    return f'p-17: {{name: "{NAME}", email: {email}}}'


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway served while a person came, changed their address, and left."""
    folder = tmp_path_factory.mktemp("past")
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        (folder / "base.yaml").write_text(small_configuration(provider, MODELS))
        apply(folder)
        tree = ServeTree(folder, 1)
        try:
            apply(folder, person(EMAIL))
            apply(folder, person(NEW_EMAIL))
            apply(folder)
        finally:
            assert tree.stop() == 0, tree.log()
    (folder / "comptroller.yaml").unlink()
    return folder


@pytest.fixture
def site(past: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    sockets = shutil.ignore_patterns("*.sock")
    return Path(shutil.copytree(past, tmp_path / "site", ignore=sockets))


def recorded(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The data of every record whose type has this in it, by revision."""
    found = []
    for path in (folder / "comptroller-data" / "journal").iterdir():
        lines = (json.loads(one) for one in path.read_bytes().splitlines())
        found += [one["data"] for one in lines if kind in one["type"]]
    return sorted(found, key=lambda one: int(one.get("revision", 0)))


def of_person(folder: Path) -> list[dict[str, Any]]:
    return [one for one in recorded(folder, "registry.object") if one["id"] == "p-17"]


def holders(folder: Path) -> set[str]:
    """The folders and files of the data directory in which a value stands."""
    data = folder / "comptroller-data"
    return {
        Path(found.split(": ")[0]).relative_to(data).parts[0]
        for value in (NAME, EMAIL, NEW_EMAIL)
        for found in traces(data, value)
    }


def assert_sound(folder: Path) -> None:
    """The trail verifies, also for a stranger, and gives the same store."""
    trail = folder / "comptroller-data" / "trail"
    run_command(folder, "audit", "sequence")
    assert command(folder, "audit", "verify").returncode == 0
    vkey = (folder / "comptroller-data" / "trail.vkey").read_text().strip()
    alone = [sys.executable, "-m", "comptroller.verify", str(trail), "--vkey", vkey]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rebuilt = told(folder, "audit", "rebuild", "--check")
    assert (rebuilt["compared"]["differing"], rebuilt["problems"]) == (0, [])


def test_who_a_person_is_stands_in_the_side_table_alone(site: Path) -> None:
    """No record, store or entry of the trail says it; the records say it changed."""
    created, changed, removed = of_person(site)
    assert (changed["changed"], changed["before"]) == (["email"], created["after"])
    assert (removed["before"], removed["after"]) == (changed["after"], None)
    assert_sound(site)
    assert holders(site) == {"disclosures"}

    shown = told(site, "privacy", "show", "--person", "p-17", "--by", "ada")
    assert (shown["is_declared"], shown["undisclosed"]) == (False, 0)
    said = {one["value"]: one["revisions"] for one in shown["disclosed"]}
    assert said == {NAME: [2, 3], EMAIL: [2], NEW_EMAIL: [3]}
    for one in shown["disclosed"]:
        sides = [created["after"], changed["after"]]
        assert any(commitment(one["disclosure"]) in side["_sd"] for side in sides)


def test_an_erased_person_is_in_no_file_and_every_proof_holds(site: Path) -> None:
    """Byte by byte, in every form; the trail verifies and rebuilds as before."""
    run_command(site, "audit", "sequence")
    journals = (site / "comptroller-data" / "journal").iterdir()
    before = {one: one.read_bytes() for one in journals}

    erased = told(site, *ERASE)
    assert (erased["requests"], erased["disclosures"]) == (0, 3)
    assert traces(site, NAME) + traces(site, EMAIL) + traces(site, NEW_EMAIL) == []
    assert_sound(site)
    for path, content in before.items():
        assert path.read_bytes().startswith(content)

    (record,) = recorded(site, "privacy.erased")
    assert (record["person"], record["disclosures"]) == ("p-17", 3)
    shown = told(site, "privacy", "show", "--person", "p-17")
    assert (shown["disclosed"], shown["undisclosed"]) == ([], 3)
    ada = told(site, "privacy", "show", "--person", "ada")
    assert len(ada["disclosed"]) == 2

    torn = site / "comptroller-data" / "disclosures" / "people" / "torn.jsonl"
    torn.write_text(f'{{"id":"p-17","disclosures":["{NAME}')
    assert "nothing was erased" in run_command(site, *ERASE)
    assert traces(site, NAME) == []


def test_a_declared_person_is_not_erased(site: Path) -> None:
    """Nor somebody unknown, nor for a reason that repeats the name."""
    for words, why in (
        (("--person", "ada", "--reason", "x"), "take them out"),
        (("--person", "p-17", "--reason", NAME.upper()), "repeats"),
        (("--person", "p-17", "--request", "x", "--reason", "x"), "exactly one"),
    ):
        done = command(site, "privacy", "erase", "--by", "ada", *words)
        assert done.returncode == 1
        assert why in done.stderr
        assert NAME not in done.stderr
    assert command(site, "privacy", "show", "--person", "eve").returncode == 1
    assert command(site, "privacy", "show").returncode == 1
    assert holders(site) == {"disclosures"}


def test_nothing_is_applied_that_cannot_be_disclosed(site: Path) -> None:
    """No folder for the side table: no record, no revision; then it goes on."""
    told(site, *ERASE)
    people = site / "comptroller-data" / "disclosures" / "people"
    people.rename(site / "aside")
    people.write_text("in the way")
    configured(site, person(EMAIL))
    done = command(site, "apply", "--yes", "--by", "ada")
    assert done.returncode == 1
    assert "disclosures" in done.stderr
    assert len(of_person(site)) == 3

    people.unlink()
    (site / "aside").rename(people)
    run_command(site, "apply", "--yes", "--by", "ada")
    assert len(of_person(site)) == 4


def test_a_lost_store_is_rebuilt_and_answers_with_names(site: Path) -> None:
    """From the trail, with who people are read from the side table."""
    data = site / "comptroller-data"
    command(site, "spend")
    run_command(site, "audit", "sequence")
    for suffix in ("", "-wal", "-shm"):
        (data / f"store.sqlite3{suffix}").unlink(missing_ok=True)
    run_command(site, "audit", "rebuild", "--to", "comptroller-data/store.sqlite3")
    configured(site)
    assert told(site, "plan")["changes"] == []
    shown = told(site, "privacy", "show", "--person", "ada")
    assert [one["revisions"] for one in shown["disclosed"]] == [[1], [1]]


def test_a_kill_at_an_apply_leaves_nothing_that_cannot_be_erased(site: Path) -> None:
    """Wherever it strikes: the person is declared, or their disclosures go."""
    configured(site, person(EMAIL))
    told(site, *ERASE)
    people = site / "comptroller-data" / "disclosures" / "people"
    count = len(list(people.iterdir()))
    words = [sys.executable, "-m", "comptroller", "apply", "--yes", "--by", "ada"]
    process = subprocess.Popen(words, cwd=site, stdout=subprocess.DEVNULL)
    await_true(lambda: len(list(people.iterdir())) > count, 20)
    process.kill()
    process.wait()

    apply(site)
    told(site, *ERASE)
    (site / "comptroller.yaml").unlink()
    assert traces(site, NAME) + traces(site, EMAIL) == []
    assert_sound(site)


def recorded_plainly(data: Path) -> None:
    """A revision as older releases recorded it: a person with all that it says."""
    actor = records.Actor(person="ada", account="root@old")
    body = encode_object(Person(PersonId("p-17"), NAME, EMAIL))
    change = records.ObjectChange(
        revision=5, kind="person", id="p-17", after=msgspec.Raw(body), actor=actor
    )
    applied = records.RegistryApplied(
        revision=5, changes=1, digest="sha256:5", actor=actor
    )
    place = Place(data)
    lock = ControlLock(place.lock)
    assert lock.take()
    with Site.open(place, "cli") as site:
        batch = Batch(site.journal, site.clock, site.ids)
        batch.add(records.OBJECT_CREATED, "person/p-17", change)
        batch.add(records.REGISTRY_APPLIED, "registry", applied)
        site.project(batch.commit())
    lock.release()


def test_what_an_older_release_recorded_is_read_and_said(site: Path) -> None:
    """It projects, verifies, rebuilds; an erasure says what it leaves as it is."""
    recorded_plainly(site / "comptroller-data")
    assert_sound(site)
    configured(site, person(EMAIL))
    assert told(site, "plan")["changes"] == []
    apply(site, person(NEW_EMAIL))
    *_, plain, changed = of_person(site)
    assert plain["after"]["email"] == EMAIL
    assert (set(changed["before"]), changed["changed"]) == (
        {"id", "_sd", "_sd_alg"},
        ["email"],
    )
    apply(site)
    done = command(site, *ERASE)
    assert done.returncode == 0
    assert "records of revision 5 say plainly who p-17 is" in done.stderr
    (site / "comptroller.yaml").unlink()
    assert traces(site, NEW_EMAIL) == []
    assert holders(site) == {"journal", "trail", "store.sqlite3"}
    assert_sound(site)
