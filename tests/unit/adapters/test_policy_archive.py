from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.policy.revision import revision_of
from comptroller.core.errors import ContentUnavailableError
from comptroller.engine.policy_ports import BundleFile

FILES = [
    BundleFile("p/a.policy.yaml", "a.policy.yaml", b"one\r\n\xff"),
    BundleFile("p/a.policy_test.yaml", "a.policy_test.yaml", b"tests: []\n"),
]
REVISION = revision_of((one.name, one.content) for one in FILES)
SETS = b'[{"name":"a"}]'
DIGEST = f"sha256:{hashlib.sha256(SETS).hexdigest()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PolicyArchive(tmp_path / "policy").keep(REVISION, FILES, SETS)
    return tmp_path / "policy"


def bundle(folder: Path) -> Path:
    return folder / REVISION.removeprefix("sha256:")


def test_files_are_kept_as_they_were_for_this_account_only(folder: Path) -> None:
    """Byte for byte, under the revision, beside what workers get; nothing else."""
    archive = PolicyArchive(folder)
    assert archive.sets(REVISION, DIGEST) == SETS
    assert archive.files(REVISION) == [(one.name, one.content) for one in FILES]
    assert [one.name for one in folder.iterdir()] == [bundle(folder).name]
    for path in (folder, bundle(folder), *bundle(folder).iterdir()):
        assert path.stat().st_mode & 0o077 == 0


def test_keeping_the_same_again_touches_nothing(folder: Path) -> None:
    """What is whole stays, with the tests that came first."""
    before = bundle(folder).stat().st_ino
    tests = BundleFile("x", "a.policy_test.yaml", b"tests: [other]\n")
    PolicyArchive(folder).keep(REVISION, [FILES[0], tests], SETS)
    assert bundle(folder).stat().st_ino == before
    assert dict(PolicyArchive(folder).files(REVISION))[tests.name] == b"tests: []\n"


@pytest.mark.parametrize(
    "damage", ["a.policy.yaml", "sets.json", "gone", "no sets", "another file"]
)
def test_damage_is_found_and_mended_by_keeping_it_again(
    folder: Path, damage: str
) -> None:
    """A byte that changed, a file that went or came: never read, then put back."""
    path = bundle(folder)
    match damage:
        case "gone":
            shutil.rmtree(path)
        case "no sets":
            (path / "sets.json").unlink()
        case "another file":
            (path / "b.policy.yaml").write_bytes(b"x")
        case name:
            content = (path / name).read_bytes()
            (path / name).write_bytes(content[:-1] + b"?")
    archive = PolicyArchive(folder)
    with pytest.raises(ContentUnavailableError, match="publish the bundle again"):
        archive.sets(REVISION, DIGEST)
    archive.keep(REVISION, FILES, SETS)
    assert archive.sets(REVISION, DIGEST) == SETS
    assert [one.name for one in folder.iterdir()] == [path.name]


def test_what_a_dead_process_left_is_no_bundle(folder: Path) -> None:
    """A draft without its rename is not read, and is cleared by the next one."""
    draft = folder / f".{bundle(folder).name}.new"
    bundle(folder).rename(draft)
    archive = PolicyArchive(folder)
    with pytest.raises(ContentUnavailableError, match="is not in"):
        archive.files(REVISION)
    archive.keep(REVISION, FILES, SETS)
    assert archive.sets(REVISION, DIGEST) == SETS
    assert not draft.exists()


@pytest.mark.parametrize(
    "revision", ["sha256:../../etc", "sha256:", "", "sha256:" + "A" * 64]
)
def test_only_a_revision_names_a_folder(folder: Path, revision: str) -> None:
    """What a record says cannot lead out of the archive."""
    with pytest.raises(ContentUnavailableError, match="not a bundle's revision"):
        PolicyArchive(folder).files(revision)


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The error names the folder; nothing half-kept is left."""
    blocked = tmp_path / "policy"
    blocked.write_text("a file in its place")
    with pytest.raises(ContentUnavailableError, match=f"cannot be kept in {blocked}"):
        PolicyArchive(blocked).keep(REVISION, FILES, SETS)
    assert os.listdir(tmp_path) == ["policy"]  # noqa: PTH208  names alone
