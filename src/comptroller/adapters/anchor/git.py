"""Checkpoints in a git repository: one file, one commit a checkpoint."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from comptroller.core.checkpoint import NOTE_BYTES_MAX
from comptroller.core.errors import AnchorError

TIMEOUT_S: Final = 60.0
PUSH_TIMEOUT_S: Final = 300.0
_ELSEWHERE: Final = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE"}
)
"""Set while git runs a hook: they would lead to another repository."""


class Anchored(NamedTuple):
    """A version of the file."""

    commit: str
    time: str
    """When it was committed, by the committer's clock; ISO 8601."""
    content: bytes


class GitAnchors:
    """One file of a repository, in whose history the anchors are.

    Args:
        folder: of the repository, or one within it.
        name: of the file, from there.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Looks whether it is a repository.

        Raises:
            AnchorError: it is not, or there is no git.
        """
        self._folder = folder
        self._name = name
        if not folder.is_dir():
            raise AnchorError(f"{folder} is not a folder: git clone or git init it")
        if self._git("rev-parse", "--is-inside-work-tree", check=False) != b"true\n":
            raise AnchorError(
                f"{folder} is not in the work tree of a git repository: git clone or"
                " git init it"
            )

    def add(self, content: bytes, subject: str) -> str:
        """Commits the file with a content, and nothing else.

        Returns:
            The commit.

        Raises:
            AnchorError: something else is staged, or git refuses.
        """
        staged = self._git("diff", "--cached", "--name-only").decode().split("\n")
        if staged[0]:
            raise AnchorError(
                f"something is staged in {self._folder} ({staged[0]}): commit or"
                " unstage it, so that an anchor is a commit of its own"
            )
        path = self._folder / self._name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise AnchorError(f"{path} cannot be written: {error.strerror}") from error
        # Ignored or not: what is anchored was asked for by name.
        self._git("add", "--force", "--", self._name)
        self._git("commit", "--quiet", "--message", subject, "--only", "--", self._name)
        return self._git("rev-parse", "HEAD").decode().strip()

    def push(self) -> None:
        """Pushes the branch to where it belongs.

        Raises:
            AnchorError: git refuses, or the other side does.
        """
        self._git("push", "--quiet", timeout_s=PUSH_TIMEOUT_S)

    def latest(self) -> bytes | None:
        """The file as it was committed last; None: it never was.

        Raises:
            AnchorError: git refuses.
        """
        if not self._git("rev-parse", "--verify", "--quiet", "HEAD", check=False):
            return None
        place = f"HEAD:./{self._name}"
        if self._git("cat-file", "-t", place, check=False) != b"blob\n":
            return None
        return self._git("cat-file", "blob", place)

    def history(self) -> Iterator[Anchored]:
        """Every version that was ever committed, on any branch, oldest first.

        Raises:
            AnchorError: git refuses.
        """
        listed = self._git(
            "log",
            "--all",
            "--full-history",
            "--topo-order",
            "--reverse",
            "--format=%H %cI",
            "--diff-filter=AMT",
            "--",
            self._name,
        )
        for line in listed.decode().splitlines():
            commit, _, time = line.partition(" ")
            place = f"{commit}:./{self._name}"
            size = int(self._git("cat-file", "-s", place))
            if size > NOTE_BYTES_MAX:
                raise AnchorError(
                    f"{self._name} in {commit} is no checkpoint: {size} B"
                )
            yield Anchored(commit, time, self._git("cat-file", "blob", place))

    def _git(
        self, *words: str, check: bool = True, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        command: Sequence[str] = ["git", "-C", str(self._folder), *words]
        environment = {
            name: value for name, value in os.environ.items() if name not in _ELSEWHERE
        }
        environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=environment,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            raise AnchorError("there is no git: install it to anchor") from None
        except subprocess.TimeoutExpired:
            raise AnchorError(
                f"git {words[0]} did not end in {timeout_s:.0f} s"
            ) from None
        except OSError as error:
            raise AnchorError(f"git cannot be run: {error.strerror}") from error
        if check and done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise AnchorError(f"git {words[0]} in {self._folder}: {said[-2000:]}")
        return done.stdout
