from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from pathlib import Path

import cel
import pytest

from comptroller.adapters.policy.language import Language, Wanted
from comptroller.adapters.policy.reading import Content, Reader
from comptroller.bootstrap.policies import policy_reader, read_bundle
from comptroller.core.policy.decide import PolicyDecision, decide
from comptroller.core.policy.expression import (
    Expression,
    ExpressionError,
    FlatFacts,
    OneByOne,
)
from comptroller.core.policy.rules import Policy
from comptroller.testing.policy_oracle import Expected, expected
from comptroller.testing.policy_requests import RandomRequests

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"
REQUESTS = 2000
"""For each of five seeds, so that two processes share them."""


class OtherExpression:
    """An expression evaluated by common-expression-language."""

    def __init__(self, source: str, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._source = source
        self._lists = {name: list(texts) for name, texts in lists.items()}
        self._program = cel.compile(source)

    @property
    def source(self) -> str:
        """As it was written."""
        return self._source

    def evaluate(self, facts: FlatFacts) -> object:
        """Its value, or an error."""
        nested: dict[str, dict[str, object]] = {"lists": dict(self._lists)}
        for name, value in facts.items():
            section, _, key = name.partition(".")
            nested.setdefault(section, {})[key] = value
        try:
            return self._program.execute(nested)
        except (ValueError, TypeError, RuntimeError, LookupError) as error:
            raise ExpressionError(str(error)) from error


class OtherLanguage:
    """The language of common-expression-language; it has no types to check."""

    def __init__(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._lists = lists

    def compile(self, source: str, wanted: Wanted) -> Expression:  # noqa: ARG002
        """Whatever it is wanted for: nothing is checked."""
        return OtherExpression(source, self._lists)

    def constant(self, expression: Expression) -> object:
        """Not known."""


def other_language(lists: Mapping[str, tuple[str, ...]]) -> Language:
    return OtherLanguage(lists)


def outcome(decision: PolicyDecision) -> Expected:
    assert decision.errors == ()
    assert decision.max_output_tokens is not None
    return Expected(
        decision.effect.value,
        decision.by,
        decision.would_deny,
        decision.warnings,
        decision.max_output_tokens,
        decision.is_clamped,
    )


@pytest.mark.parametrize("seed", range(5))
def test_decisions_are_what_a_person_reads_in_the_example(seed: int) -> None:
    """Effect, ids, shadows and ceilings of 10,000 requests as in plain Python."""
    policy = read_bundle([EXAMPLES]).policy
    assert policy is not None
    requests = RandomRequests(seed)
    effects = set()

    for _ in range(REQUESTS):
        facts = requests.next()
        decision = decide(policy, facts)
        assert outcome(decision) == expected(facts), facts
        effects.add(decision.effect)

    assert len(effects) == 2


def utc_policies() -> tuple[Policy, Policy]:
    """The example by both engines; the second knows no time zones."""
    text = (EXAMPLES / "acme.policy.yaml").read_text()
    content = text.replace("('Europe/Berlin')", "()").encode()
    files = [Content("acme.policy.yaml", "acme.policy.yaml", content)]
    ours = policy_reader()
    other = Reader(ours._parts._replace(make_language=other_language, join=OneByOne))
    policies = [one.read_contents(files).policy for one in (ours, other)]
    assert policies[0] is not None
    assert policies[1] is not None
    return policies[0], policies[1]


@pytest.mark.parametrize("seed", range(5, 10))
def test_another_engine_decides_the_same(seed: int) -> None:
    """By common-expression-language 10,000 requests have the same decisions."""
    ours, other = utc_policies()
    requests = RandomRequests(seed)

    for _ in range(REQUESTS):
        facts = requests.next()
        decision = decide(ours, facts)
        assert decision == decide(other, facts), facts
        assert outcome(decision) == expected(facts, UTC), facts
