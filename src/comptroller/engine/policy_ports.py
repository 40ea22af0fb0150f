"""What the life of policy bundles asks of the outside, and the values it uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from comptroller.core.policy.plain import PlainSet
from comptroller.core.problem import Place, Problem


class BundleFile(msgspec.Struct, frozen=True):
    """One policy or test file, on its way to be published."""

    path: str
    """As its author named it, for messages."""
    name: str
    """In the bundle; without a folder."""
    content: bytes


class FailedCase(msgspec.Struct, frozen=True):
    """A test case that did not go as expected."""

    place: Place
    name: str
    missed: list[str]
    """How, in words."""


class SetOwner(msgspec.Struct, frozen=True):
    """Who answers for a set, and where the file says so."""

    name: str
    """Of the set."""
    owner: str
    place: Place


class CheckedBundle(msgspec.Struct, frozen=True):
    """What checking and testing a bundle found."""

    revision: str
    problems: list[Problem]
    failed: list[FailedCase]
    passed: int
    """How many cases went as expected."""
    sets: list[PlainSet]
    """Whose files go by their names alone; none where there are problems."""
    owners: list[SetOwner]

    def parts(self) -> list[str]:
        """The ids of its parts, as declared."""
        return [
            part["id"]
            for one in self.sets
            for value in one.values()
            if isinstance(value, list)
            for part in value
            if isinstance(part, dict) and "id" in part
        ]


BundleChecker: TypeAlias = Callable[[Sequence[BundleFile]], CheckedBundle]
"""Reads, checks and tests a bundle; takes about a second.

Raises:
    ContentUnavailableError: it could not be checked now.
"""


class BundleArchive(Protocol):
    """Every bundle that was published, by its revision."""

    def keep(self, revision: str, files: Sequence[BundleFile], sets: bytes) -> None:
        """Keeps a bundle durably, in place of what a disk has made of it.

        Raises:
            ContentUnavailableError: it could not be written.
        """

    def sets(self, revision: str, digest: str) -> bytes:
        """The sets of a bundle, as they were kept.

        Args:
            revision: the bundle; its files are compared with it.
            digest: `sha256:` of the sets.

        Raises:
            ContentUnavailableError: they are not there, or were changed.
        """

    def files(self, revision: str) -> Sequence[tuple[str, bytes]]:
        """The names and bytes of a bundle's files.

        Raises:
            ContentUnavailableError: they are not there, or were changed.
        """


class PolicyRow(NamedTuple):
    """A published bundle."""

    revision: str
    author: str
    note: str
    time_ns: int
    file_count: int
    part_count: int
    case_count: int
    sets_digest: str


class ActivationRow(NamedTuple):
    """A change of the bundle that decides."""

    number: int
    """From 1, in order."""
    revision: str | None
    """None: from then on none decided."""
    previous: str | None
    author: str
    approver: str
    note: str
    is_separated: bool
    time_ns: int


class PolicyLoadRow(NamedTuple):
    """A worker began to decide by another bundle."""

    source: str
    """The worker's journal."""
    offset: int
    revision: str | None
    previous: str | None
    time_ns: int


class PolicyReports(Protocol):
    """Reads of what happened to policies; any process may hold one."""

    def policies(self) -> Sequence[PolicyRow]:
        """Every published bundle, oldest first."""

    def policy_activations(self) -> Sequence[ActivationRow]:
        """Every change of the bundle that decides, oldest first."""

    def policy_loads(self) -> Sequence[PolicyLoadRow]:
        """The last load of each worker that ever loaded one, by source."""


def active_policy(reports: PolicyReports) -> PolicyRow | None:
    """The bundle that decides now; None: none does."""
    activations = reports.policy_activations()
    revision = activations[-1].revision if activations else None
    if revision is None:
        return None
    return next(one for one in reports.policies() if one.revision == revision)


_Sets: TypeAlias = list[dict[str, Any]]
_SETS = msgspec.json.Decoder(_Sets)
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode_sets(sets: Sequence[PlainSet]) -> bytes:
    """Sets as they are kept; equal sets give equal bytes."""
    return _ENCODER.encode(sets)


def decode_sets(content: bytes) -> list[PlainSet]:
    """Reads what `encode_sets` wrote.

    Raises:
        msgspec.DecodeError: it did not write this.
    """
    return _SETS.decode(content)
