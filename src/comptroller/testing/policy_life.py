"""The life of policies on fakes: bundles in memory, checked without a language."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from comptroller.core.errors import ContentUnavailableError
from comptroller.core.problem import Place, Problem
from comptroller.engine.policy_ports import (
    BundleFile,
    CheckedBundle,
    FailedCase,
    SetOwner,
)

BAD = b"bad"
"""A file that holds this has a problem."""
FAILING = b"failing"
"""A file that holds this has a test case that fails."""


class InMemoryArchive:
    """The BundleArchive port in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[list[tuple[str, bytes]], bytes]] = {}
        self.is_full = False

    def keep(self, revision: str, files: Sequence[BundleFile], sets: bytes) -> None:
        """Keeps a bundle, in place of what a test has made of it.

        Raises:
            ContentUnavailableError: the test says that the disk is full.
        """
        if self.is_full:
            raise ContentUnavailableError("the disk is full")
        self.kept[revision] = [(one.name, one.content) for one in files], sets

    def sets(self, revision: str, digest: str) -> bytes:
        """The sets of a bundle.

        Raises:
            ContentUnavailableError: a test took them away, or changed them.
        """
        if revision not in self.kept:
            raise ContentUnavailableError(f"policy {revision} is not kept here")
        _, sets = self.kept[revision]
        if f"sha256:{hashlib.sha256(sets).hexdigest()}" != digest:
            raise ContentUnavailableError(f"policy {revision} was changed")
        return sets

    def files(self, revision: str) -> Sequence[tuple[str, bytes]]:
        """The names and bytes of a bundle's files.

        Raises:
            ContentUnavailableError: a test took them away.
        """
        if revision not in self.kept:
            raise ContentUnavailableError(f"policy {revision} is not kept here")
        return self.kept[revision][0]


def bundle_file(
    owner: str = "ada", content: bytes = b"", name: str = "a"
) -> BundleFile:
    """A file with one set, as `check_plainly` reads it."""
    file = f"{name}.policy.yaml"
    return BundleFile(f"policy/{file}", file, owner.encode() + b"\n" + content)


def check_plainly(files: Sequence[BundleFile]) -> CheckedBundle:
    """Satisfies BundleChecker: each file is a set whose first line is its owner."""
    hashed = hashlib.sha256()
    sets: list[dict[str, Any]] = []
    owners, problems, failed = [], [], []
    for one in files:
        hashed.update(one.name.encode() + b"\n" + one.content)
        owner = one.content.split(b"\n")[0].decode()
        place = Place(one.path, 3, 27)
        name = one.name.removesuffix(".policy.yaml")
        sets.append({"name": name, "owner": owner, "allow": [{"id": f"allow.{name}"}]})
        owners.append(SetOwner(name, owner, place))
        if BAD in one.content:
            problems.append(Problem(place, "something is wrong", "put it right"))
        if FAILING in one.content:
            failed.append(FailedCase(place, "a case", ["decision is deny"]))
    return CheckedBundle(
        revision=f"sha256:{hashed.hexdigest()}",
        problems=problems,
        failed=failed,
        passed=len(files),
        sets=[] if problems else sets,
        owners=owners,
    )
