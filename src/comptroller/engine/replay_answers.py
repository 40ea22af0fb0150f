"""What another policy would have said, where the recorded facts suffice to know.

Records hold what the policy of their time asked about: prompts were not searched for
patterns that nobody asked for, and of a system prompt that no rule spoke of there is
no digest. Where an answer hangs on such a thing, there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, TypeAlias

from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.prompt import SECTION
from comptroller.core.policy.rules import Mode, Policy, PolicySet, Selector
from comptroller.core.policy.schema import flatten
from comptroller.engine.policy_facts import (
    UNLISTED_DIGEST,
    Sections,
    digests_in,
    restored,
)

MakePolicy: TypeAlias = "Callable[[Sequence[PolicySet]], Policy]"
"""Puts sets together into a policy that decides many requests."""

_NONE: Final[frozenset[str]] = frozenset()


class Answering:
    """A policy that is asked about requests that others decided."""

    def __init__(self, sets: Sequence[PolicySet], make: MakePolicy) -> None:
        self._sets = sets
        self._make = make
        self._policy = make(sets)
        self._digests = digests_in([plain_set(one) for one in sets])
        enforced = [one for one in self._policy.prompts if one.mode is Mode.ENFORCE]
        self._restricted = [one.selector for one in enforced]
        self._scanned = [one.selector for one in enforced if one.patterns]

    def decide(
        self, facts: Sections, listed: frozenset[str] = _NONE
    ) -> PolicyDecision | None:
        """What it says of a request; None: the facts do not tell.

        Args:
            facts: as recorded.
            listed: digests of system prompts that are recorded where they occur.
        """
        request = facts.get("request")
        if not isinstance(request, dict):
            return self._decide(facts)
        unlisted = self._digests - listed
        if request.get("system_digest") != UNLISTED_DIGEST or not unlisted:
            return self._decide(facts)
        # It is one of these, or yet another: if they all say the same, that holds.
        first = self._decide(facts)
        for digest in sorted(unlisted):
            other = self._decide({**facts, "request": request | {_DIGEST: digest}})
            if first is None or other is None or _kept(first) != _kept(other):
                return None
        return first

    def _decide(self, recorded: Sections) -> PolicyDecision | None:
        facts = restored(recorded)
        if not self._policy.prompts:
            return decide(self._policy, facts)
        section = facts.get(SECTION)
        if not isinstance(section, dict):
            return self._unless(self._restricted, decide(self._bare, facts), facts)
        if section.get("matches") is None:
            known = decide(self._unscanned, facts)
            return self._unless(self._scanned, known, facts)
        return decide(self._policy, facts)

    @staticmethod
    def _unless(
        selectors: Sequence[Selector], known: PolicyDecision, facts: Sections
    ) -> PolicyDecision | None:
        """What is known without some restrictions; None: they might deny it."""
        if known.effect is Effect.DENY:
            return known
        flat, _ = flatten(facts)
        return None if any(one.selects(flat) for one in selectors) else known

    @cached_property
    def _bare(self) -> Policy:
        return self._make([replace(one, prompts=()) for one in self._sets])

    @cached_property
    def _unscanned(self) -> Policy:
        return self._make(
            [
                replace(
                    one,
                    prompts=tuple(replace(each, patterns=()) for each in one.prompts),
                )
                for one in self._sets
            ]
        )


_DIGEST: Final = "system_digest"


def _kept(decision: PolicyDecision) -> tuple[object, ...]:
    return (
        decision.effect,
        decision.by,
        decision.would_deny,
        decision.warnings,
        decision.is_clamped,
        decision.ceiling,
    )
