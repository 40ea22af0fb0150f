"""Anchors in real git repositories, of a trail that its operator may rewrite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.bootstrap.anchoring import anchor, check_anchors
from comptroller.core.errors import AnchorError, NoteError, TrailUnavailableError
from comptroller.testing.tree import command

KEY = TrailKey("log.example/trail", bytes(32))
FILE = "log.example/trail/checkpoint"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.strip()


def records(begin: int, end: int, salt: bytes = b"") -> list[bytes]:
    return [b"%d%b" % (number, salt) for number in range(begin, end)]


class Bench:
    """A trail, and a clone of a repository that somebody else keeps."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "trail.vkey").write_text(f"{KEY.key}\n")
        self.there, self.git = folder / "there.git", folder / "here"
        subprocess.run(
            ["git", "init", "--quiet", "--bare", str(self.there)], check=True
        )
        subprocess.run(
            ["git", "clone", "--quiet", str(self.there), str(self.git)],
            check=True,
            capture_output=True,
        )
        git(self.git, "config", "user.name", "An Auditor")
        git(self.git, "config", "user.email", "audit@example.org")
        self.size = 0

    def grow(self, size: int, salt: bytes = b"") -> None:
        """Appends records and publishes."""
        writer = TrailWriter(self.data / "trail", KEY)
        try:
            writer.append(records(writer.size, size, salt), {})
            writer.publish()
        finally:
            writer.close()

    def anew(self) -> None:
        """What the operator does who wants another history."""
        shutil.rmtree(self.data / "trail")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_anchor_is_one_commit_of_one_file(bench: Bench) -> None:
    """Size and root in its subject; the same checkpoint is committed once."""
    bench.grow(10)
    first = anchor(bench.data, bench.git, [], push=True)
    again = anchor(bench.data, bench.git, [], push=False)
    (bench.git / "unrelated").write_text("not staged, so not the anchor's business")
    bench.grow(300)
    second = anchor(bench.data, bench.git, [], push=True)

    assert again["commit"] is None
    subjects = git(bench.there, "log", "--format=%s").splitlines()
    assert subjects == [
        f"log.example/trail: 300 records, root {second['root']}",
        f"log.example/trail: 10 records, root {first['root']}",
    ]
    for one in (first, second):
        changed = git(bench.git, "show", "--format=", "--name-only", one["commit"])
        assert changed == FILE
    kept = git(bench.git, "show", f"HEAD:{FILE}") + "\n"
    assert kept == (bench.data / "trail" / "checkpoint").read_text()


def test_honest_growth_fits_every_anchor(bench: Bench) -> None:
    """Checkpoints of many sizes are all checked, over two branches."""
    for size in (1, 2, 255, 256, 257, 600):
        bench.grow(size)
        anchor(bench.data, bench.git, [], push=False)
        if size == 255:
            git(bench.git, "checkout", "--quiet", "-b", "other")
    found = check_anchors(bench.data, bench.git, [])

    assert found["ok"]
    assert found["checked"] == 6
    assert found["last"]["size"] == 600


def test_the_first_contradicted_anchor_is_named(bench: Bench) -> None:
    """Rewritten from record 300 on: the anchor of 256 fits, that of 400 does not."""
    for size in (256, 400, 500):
        bench.grow(size)
        anchor(bench.data, bench.git, [], push=False)
    commits = git(bench.git, "log", "--reverse", "--format=%H").split()
    bench.anew()
    bench.grow(300)
    bench.grow(600, b" otherwise")
    found = check_anchors(bench.data, bench.git, [])

    assert not found["ok"]
    assert found["checked"] == 1
    assert found["first_wrong"]["commit"] == commits[1]
    assert "rewritten or forked" in found["first_wrong"]["problem"]
    words = ("--data", str(bench.data), "--git", str(bench.git), "--check")
    done = command(bench.data, "audit", "anchors", *words)
    assert done.returncode == 1
    assert commits[1] in done.stdout


def test_a_truncated_trail_is_named(bench: Bench) -> None:
    """More was anchored than is there."""
    bench.grow(400)
    anchor(bench.data, bench.git, [], push=False)
    bench.anew()
    bench.grow(300)
    problem = check_anchors(bench.data, bench.git, [])["first_wrong"]["problem"]

    assert problem == "400 records were anchored, 300 are here"


def test_an_anchor_that_the_log_never_signed_is_named(bench: Bench) -> None:
    """Somebody edits the file in the repository: that is no anchor."""
    bench.grow(400)
    anchor(bench.data, bench.git, [], push=False)
    path = bench.git / FILE
    path.write_text(path.read_text().replace("\n400\n", "\n399\n"))
    git(bench.git, "commit", "--quiet", "--all", "--message", "edited")
    found = check_anchors(bench.data, bench.git, [])

    assert found["checked"] == 1
    assert "is wrong" in found["first_wrong"]["problem"]


def test_what_keeps_it_from_anchoring_is_said(bench: Bench, tmp_path: Path) -> None:
    """No trail, no repository, something staged, no remote: each in words."""
    with pytest.raises(TrailUnavailableError, match="no published trail"):
        anchor(bench.data, bench.git, [], push=False)
    bench.grow(5)
    with pytest.raises(AnchorError, match="not in the work tree"):
        anchor(bench.data, bench.data, [], push=False)
    with pytest.raises(AnchorError, match="is not a folder"):
        anchor(bench.data, tmp_path / "nowhere", [], push=False)
    (bench.git / "staged").write_text("x")
    git(bench.git, "add", "staged")
    with pytest.raises(AnchorError, match=r"something is staged .*\(staged\)"):
        anchor(bench.data, bench.git, [], push=False)
    git(bench.git, "rm", "--quiet", "--cached", "staged")
    git(bench.git, "remote", "remove", "origin")
    with pytest.raises(AnchorError, match="git push"):
        anchor(bench.data, bench.git, [], push=True)
    other = TrailKey("log.example/trail", b"o" * 32)
    with pytest.raises(NoteError, match="not signed by a key that is known"):
        anchor(bench.data, bench.git, [str(other.key)], push=False)


def test_without_git_the_command_says_so(bench: Bench) -> None:
    """A machine without git: what to do, not a stack of calls."""
    bench.grow(5)
    program = shutil.which("env")
    assert program is not None
    python = Path(sys.executable)
    done = subprocess.run(
        [
            *(program, "PATH=/nowhere", str(python), "-m", "comptroller", "audit"),
            *("anchor", "--git", str(bench.git), "--data", str(bench.data)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "error: there is no git: install it to anchor\n"


def test_nothing_anchored_is_said_as_such(bench: Bench) -> None:
    """An empty repository proves nothing, and the command says what that means."""
    bench.grow(5)
    words = ("--data", str(bench.data), "--git", str(bench.git))
    done = command(bench.data, "audit", "anchors", *words)

    assert done.returncode == 0
    assert "tamper-evident against outsiders only" in done.stdout
