"""A bundle: everything that was read together, under one revision."""

from __future__ import annotations

from dataclasses import dataclass

from comptroller.core.policy.case import PolicyCase
from comptroller.core.policy.expression import OneByOne
from comptroller.core.policy.rules import Joiner, Policy
from comptroller.core.problem import Problem


@dataclass(frozen=True, slots=True)
class Bundle:
    """Policy sets and their test cases, or why there are none."""

    revision: str
    """`sha256:` and hex over the names and bytes of the policy files."""
    files: tuple[str, ...]
    policy: Policy | None
    """None: the bundle has problems, and must not decide anything."""
    cases: tuple[PolicyCase, ...] = ()
    problems: tuple[Problem, ...] = ()
    join: Joiner = OneByOne

    def policy_for(self, case: PolicyCase) -> Policy:
        """The policy that a case is about: all of it, or that of the files it names.

        Raises:
            ValueError: the bundle has problems.
        """
        if self.policy is None:
            raise ValueError("a bundle with problems decides nothing")
        if not case.files:
            return self.policy
        named = [one for one in self.policy.sets if one.file in case.files]
        if len(named) == len(self.policy.sets):
            return self.policy
        return Policy.of(named, self.join)
