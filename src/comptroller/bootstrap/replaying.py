"""Wiring of replays: recorded decisions, decided again by kept or by other bundles.

What is asked is a plain value, so that other processes can be asked the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.policy.remembering import remembering
from comptroller.adapters.processes.hands import ProcessHands, spare_cpus
from comptroller.adapters.store.replays import SqliteReplays
from comptroller.adapters.store.reports import SqliteReports
from comptroller.adapters.system import SystemClock
from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.policy_language import join, policy_set
from comptroller.bootstrap.recorded import open_recorded
from comptroller.core.errors import ContentUnavailableError
from comptroller.core.policy.plain import PlainSet, plain_set
from comptroller.core.policy.rules import Policy, PolicySet
from comptroller.engine.policy_facts import digests_in
from comptroller.engine.policy_life import find_policy
from comptroller.engine.policy_ports import decode_sets, encode_sets
from comptroller.engine.replay_answers import Answering
from comptroller.engine.replay_tally import Replayed
from comptroller.engine.replaying import (
    Question,
    Replaying,
    Scope,
    Verification,
    WhatIf,
    replay,
)
from comptroller.engine.said_times import said_ns

BUNDLES_MAX: Final = 8
"""Bundles that are ready to decide at a time; the one used longest ago goes first."""


class Asked(NamedTuple):
    """A question as plain values, for this process or another."""

    policies: str
    """The folder of the kept bundles."""
    kept: tuple[tuple[str, str], ...]
    """Revisions that were ever published, with the digests of their sets."""
    scope: Scope
    after: bytes | None = None
    """Sets of the bundle that is asked what it would say; None: verify instead."""
    before: bytes | None = None
    """Sets of the bundle to compare it with; None: with what is recorded."""


class KeptBundles:
    """The published bundles of a data directory, ready to decide many requests.

    Satisfies `engine.replaying.Bundles`.
    """

    def __init__(self, folder: Path, kept: Sequence[tuple[str, str]]) -> None:
        self._archive = PolicyArchive(folder)
        self._kept = dict(kept)
        self._policies: OrderedDict[str, Policy | None] = OrderedDict()
        self._digests: dict[str, frozenset[str]] = {}

    def policy(self, revision: str) -> Policy | None:
        """The policy of a revision; None: it is not kept, or was changed."""
        if revision in self._policies:
            self._policies.move_to_end(revision)
            return self._policies[revision]
        sets = self.sets(revision)
        policy = None if sets is None else make_policy(sets)
        self._policies[revision] = policy
        if len(self._policies) > BUNDLES_MAX:
            self._policies.popitem(last=False)
        return policy

    def digests(self, revision: str) -> frozenset[str]:
        """Digests of system prompts that it speaks of; none where it is not kept."""
        found = self._digests.get(revision)
        if found is None:
            found = digests_in(self._plain(revision) or [])
            self._digests[revision] = found
        return found

    def sets(self, revision: str) -> list[PolicySet] | None:
        """The sets of a revision; None: it is not kept, or was changed."""
        plain = self._plain(revision)
        return None if plain is None else list(map(policy_set, plain))

    def _plain(self, revision: str) -> list[PlainSet] | None:
        digest = self._kept.get(revision)
        if digest is None:
            return None
        try:
            return decode_sets(self._archive.sets(revision, digest))
        except ContentUnavailableError:
            return None


class Replays:
    """Replays of the decisions in a data directory."""

    def __init__(
        self, place: Place, reports: SqliteReports, replaying: Replaying
    ) -> None:
        self._place = place
        self._reports = reports
        self._published = reports.policies()
        self._kept = tuple((row.revision, row.sets_digest) for row in self._published)
        self._replaying = replaying

    def since_ns(self, text: str | None) -> int:
        """The beginning of a span, as people say it; 0: of all that is recorded.

        Raises:
            InvalidArgumentError: it is no time.
        """
        if text is None:
            return 0
        return said_ns("--since", text, self._reports, SystemClock())

    def verify(self, scope: Scope) -> Replayed:
        """Whether each decision follows from its own facts and its own bundle."""
        return self._run(self._asked(scope))

    def what_if(
        self,
        scope: Scope,
        after: Sequence[PolicySet],
        before: Sequence[PolicySet] | None = None,
    ) -> Replayed:
        """What a bundle would say that the record, or another one, does not."""
        return self._run(
            self._asked(scope)._replace(
                after=_plain(after), before=None if before is None else _plain(before)
            )
        )

    def sets(self, revision: str) -> list[PolicySet]:
        """The sets of a published bundle.

        Args:
            revision: or how it begins, with `sha256:` or without.

        Raises:
            NotFoundError: none was published that begins so.
            ConflictError: several begin so.
            ContentUnavailableError: what was kept is gone, or was changed.
        """
        whole = find_policy(self._published, revision).revision
        sets = KeptBundles(self._place.policies, self._kept).sets(whole)
        if sets is None:
            raise ContentUnavailableError(f"what was kept of {whole} was changed")
        return sets

    def _asked(self, scope: Scope) -> Asked:
        return Asked(str(self._place.policies), self._kept, scope)

    def _run(self, asked: Asked) -> Replayed:
        hands = ProcessHands(partial(work, asked), spare_cpus())
        return self._replaying.run(hands, asked.scope.since_ns)


def make_policy(sets: Sequence[PolicySet]) -> Policy:
    """A policy that decides many requests, one after the other."""
    return remembering(sets, join)


def work(asked: Asked, part: Sequence[bytes]) -> Replayed:
    """Does one part of a replay, in whichever process."""
    return replay(_question(asked), part, asked.scope)


@lru_cache(maxsize=1)
def _question(asked: Asked) -> Question:
    bundles = KeptBundles(Path(asked.policies), asked.kept)
    if asked.after is None:
        return Verification(bundles)
    before = None if asked.before is None else _answering(asked.before)
    return WhatIf(bundles, _answering(asked.after), before)


def _answering(sets: bytes) -> Answering:
    return Answering(list(map(policy_set, decode_sets(sets))), make_policy)


def _plain(sets: Sequence[PolicySet]) -> bytes:
    return encode_sets([plain_set(one) for one in sets])


@contextmanager
def open_replays(data: Path) -> Iterator[Replays]:
    """Replays of what is recorded in a data directory by now.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    place = Place(data)
    with (
        open_reports(data) as reports,
        open_recorded(place, reports) as journals,
        closing(SqliteReplays.open(place.store)) as decisions,
    ):
        yield Replays(place, reports, Replaying(journals, decisions))
