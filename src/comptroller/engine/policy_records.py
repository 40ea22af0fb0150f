"""Records of the life of policy bundles; see `engine.records` for the envelope."""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.engine.records import Actor

POLICY_PUBLISHED: Final = "comptroller.policy.published.v1"
POLICY_REFUSED: Final = "comptroller.policy.refused.v1"
POLICY_ACTIVATED: Final = "comptroller.policy.activated.v1"
POLICY_DEACTIVATED: Final = "comptroller.policy.deactivated.v1"
POLICY_LOADED: Final = "comptroller.policy.loaded.v1"


class KeptFile(msgspec.Struct, frozen=True):
    """A file of a bundle, by what it holds."""

    name: str
    bytes: int
    sha256: str
    """Hex, of the file as it was."""


class PolicyPublished(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `policy.published`: a bundle was checked, tested and kept.

    Nothing is decided by it before it is activated.
    """

    revision: str
    """`sha256:` and hex; names its policy files."""
    author: str
    note: str
    files: list[KeptFile]
    """Policy and test files."""
    parts: list[str]
    """Ids of its parts, as declared; as many as a record has room for."""
    parts_count: int
    cases: int
    """How many test cases passed; none failed."""
    sets_digest: str
    """`sha256:` of the sets as workers get them."""
    actor: Actor


class PolicyRefused(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `policy.refused`: a bundle was not fit to be published."""

    revision: str
    author: str
    reason: str
    """The first problem, or the first case that failed."""
    problems: int
    failed_cases: int
    actor: Actor


class PolicyActivated(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `policy.activated`: this bundle decides from now on."""

    revision: str
    previous: str | None
    author: str
    approver: str
    separation_of_duties: bool
    """Whether the approver had to be another person than the author."""
    actor: Actor


class PolicyDeactivated(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `policy.deactivated`: no bundle decides from now on."""

    previous: str
    author: str
    """Who asked for it."""
    approver: str
    note: str
    separation_of_duties: bool
    actor: Actor


class PolicyLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `policy.loaded`, in a worker's own journal.

    Every decision after it in that journal is by this bundle.
    """

    revision: str | None
    """None: by none."""
    previous: str | None
