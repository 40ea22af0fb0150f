"""Testing a bundle: its cases, what they reach, and how another one differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.case import PolicyCase
from comptroller.core.policy.decide import PolicyDecision, decide
from comptroller.core.policy.rules import Policy


class Verdict(NamedTuple):
    """How one case went."""

    case: PolicyCase
    missed: tuple[str, ...]
    """How the decision was not as expected; empty: it was."""
    decision: PolicyDecision


@dataclass(frozen=True, slots=True)
class TestReport:
    """How all cases of a bundle went, and which of its parts none of them reached."""

    verdicts: tuple[Verdict, ...]
    never_hit: tuple[str, ...]
    """Ids that no decision named: untested, or of no use."""
    ids: tuple[str, ...]
    """The ids of all parts."""

    __test__ = False  # its name is not a test's

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The cases that did not go as expected."""
        return tuple(one for one in self.verdicts if one.missed)

    @property
    def passed_count(self) -> int:
        """How many cases went as expected."""
        return len(self.verdicts) - len(self.failed)


def run_cases(bundle: Bundle) -> TestReport:
    """Decides every case of a bundle.

    Raises:
        ValueError: the bundle has problems.
    """
    policies: dict[tuple[str, ...], Policy] = {}
    verdicts = []
    hit: set[str] = set()
    for case in bundle.cases:
        if case.files not in policies:
            policies[case.files] = bundle.policy_for(case)
        decision = decide(policies[case.files], case.facts)
        verdicts.append(Verdict(case, case.expect.missed(decision), decision))
        hit |= _named(decision)
    ids = bundle.policy.ids() if bundle.policy is not None else ()
    never_hit = tuple(one for one in ids if one not in hit)
    return TestReport(tuple(verdicts), never_hit, ids)


def is_fit(bundle: Bundle) -> bool:
    """Whether a bundle may replace another: it has no problem, and its cases pass."""
    return bundle.policy is not None and not run_cases(bundle).failed


def _named(decision: PolicyDecision) -> set[str]:
    named = {*decision.by, *decision.would_deny, *decision.warnings}
    return named | {decision.ceiling} if decision.ceiling is not None else named


class Asked(NamedTuple):
    """One request of the past, or of a test."""

    name: str
    """The decision's id, or the case's name."""
    facts: Mapping[str, object]


class Change(NamedTuple):
    """A request that two bundles decide differently."""

    name: str
    tenant: str
    before: PolicyDecision
    after: PolicyDecision


class DiffReport(NamedTuple):
    """How two bundles differ over the same requests."""

    asked_count: int
    changes: tuple[Change, ...]
    added: tuple[str, ...]
    """Ids of parts that only the second has."""
    removed: tuple[str, ...]


def corpus_of(cases: Sequence[PolicyCase]) -> list[Asked]:
    """The requests of test cases; each set of facts once."""
    seen: dict[str, Asked] = {}
    for case in cases:
        seen.setdefault(repr(case.facts), Asked(case.name, case.facts))
    return list(seen.values())


def diff(before: Policy, after: Policy, requests: Iterable[Asked]) -> DiffReport:
    """Decides every request by both policies, each on its own facts alone."""
    changes = []
    count = 0
    for count, one in enumerate(requests, 1):  # noqa: B007  counted to the end
        old, new = decide(before, one.facts), decide(after, one.facts)
        if _outcome(old) != _outcome(new):
            changes.append(Change(one.name, _tenant(one.facts), old, new))
    old_ids, new_ids = before.ids(), after.ids()
    return DiffReport(
        asked_count=count,
        changes=tuple(changes),
        added=tuple(one for one in new_ids if one not in old_ids),
        removed=tuple(one for one in old_ids if one not in new_ids),
    )


def _outcome(decision: PolicyDecision) -> tuple[object, ...]:
    """What of a decision matters to anybody; words and causes do not."""
    return (
        decision.effect,
        decision.by,
        decision.would_deny,
        decision.warnings,
        decision.max_output_tokens,
        decision.on_exceed,
    )


def _tenant(facts: Mapping[str, object]) -> str:
    principal = facts.get("principal")
    tenant = principal.get("tenant") if isinstance(principal, dict) else None
    return tenant if isinstance(tenant, str) else "unknown"
