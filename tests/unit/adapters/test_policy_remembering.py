from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from comptroller.adapters.policy.cel import CelLanguage
from comptroller.adapters.policy.language import Wanted
from comptroller.adapters.policy.remembering import dependence, remembering
from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.policy_language import join
from comptroller.core.policy.decide import decide
from comptroller.core.policy.expression import Expression, FlatFacts
from comptroller.core.policy.rules import AllowTable, PolicySet, Rule
from comptroller.testing.policy import PythonExpression, facts_with
from comptroller.testing.policy_requests import RandomRequests

ROOT = Path(__file__).parents[3]
ODD = (
    "request.tools.exists(request, request == 'shell')",
    ".request.max_tokens > 4096",
    "request . max_tokens > 4096",
    "request.`max_tokens` > 4096",
    "-request.max_tokens < -4096",
    "request.max_tokens + 1 > 1025",
    "1024 < request.max_tokens ? request.choices >= 4 : request.choices == 5",
    "request.max_tokens > 1024 == (request.choices > 4)",
    "1000 / (request.max_tokens - 1024) > 0 && request.max_tokens > 1",
    "string(request.max_tokens).startsWith('10')",
    "[request.max_tokens > 1024, request.max_tokens > 8192] == [true, false]",
    "request.max_tokens * 2 > request.max_tokens",
    "request.max_tokens <= 1024 && request.max_tokens != 0",
    "request.tools[1] == 'shell'",
    "principal.kind == 'agent' || model.id.matches(principal.tenant)",
    "ctx.time.getHours('Europe/Berlin') >= 20 && ctx.env in model.envs",
    "ctx.time > timestamp('2026-06-01T00:00:00Z')",
    "lists.eu.exists(t, t == principal.tenant)",
)


def compiled(source: str) -> Expression:
    language = CelLanguage({"eu": ("umbrella", "wayne")})
    return language.compile(source, Wanted.CONDITION)


def odd_set(sources: Sequence[str] = ODD) -> PolicySet:
    """One rule for each expression, with it as the exception of another, too."""
    always = compiled("request.choices == request.choices")
    rules = []
    for place, source in enumerate(sources):
        one = compiled(source)
        rules += [
            Rule(f"deny{place}", one),
            Rule(f"unless{place}", always, unless=one, message=_shown()),
        ]
    tables = (
        AllowTable("all", {"*": frozenset({"*"})}),
        AllowTable("some", {"*": frozenset({"*"})}, when=compiled(sources[0])),
    )
    return PolicySet("odd", "ada", allow=tables, rules=tuple(rules))


def _shown() -> Expression:
    source = "model.id + request.tools[0] + string(request.max_tokens)"
    return CelLanguage({}).compile(source, Wanted.TEXT)


def test_a_policy_that_remembers_decides_to_the_letter_the_same() -> None:
    """Over the example and every odd way to write what an expression names."""
    bundle = read_bundle([ROOT / "examples" / "policy"])
    assert bundle.policy is not None
    for sets in (bundle.policy.sets, [odd_set()]):
        plain = type(bundle.policy).of(sets, join)
        remembers = remembering(sets, join)
        source = RandomRequests(7)

        for _ in range(3000):
            facts = source.next()
            assert decide(remembers, facts) == decide(plain, facts)


@pytest.mark.parametrize(
    ("source", "names", "limits"),
    [
        ("request.max_tokens > 5", {"request.max_tokens"}, {"request.max_tokens": 5}),
        ("5 >= request.max_tokens", {"request.max_tokens"}, {"request.max_tokens": 5}),
        ("request.max_tokens + 1 > 5", {"request.max_tokens"}, {}),
        ("5 > request.max_tokens == true", {"request.max_tokens"}, {}),
        ("-request.max_tokens > 5", {"request.max_tokens"}, {}),
        ("5 + 5 > request.max_tokens", {"request.max_tokens"}, {}),
        ("request.tools.size() > 5", {"request.tools"}, {}),
        ("principal.tenant in lists.eu", {"principal.tenant"}, {}),
    ],
)
def test_an_expression_depends_on_what_it_names(
    source: str, names: set[str], limits: dict[str, int]
) -> None:
    """And of a number only on the side of the literals it is compared with."""
    found = dependence(compiled(source))

    assert found is not None
    assert found.names == names
    assert found.limits == {name: (limit,) for name, limit in limits.items()}


@pytest.mark.parametrize("source", [".request.stream", "request.`stream`"])
def test_what_the_engine_does_not_prove_is_not_remembered(source: str) -> None:
    """A name that the words of the text do not show makes the dependence unknown."""
    assert dependence(compiled(source)) is None


def test_an_expression_of_another_engine_is_asked_every_time() -> None:
    """Nothing is known of what it depends on."""
    asked: list[FlatFacts] = []

    def evaluate(facts: FlatFacts) -> object:
        asked.append(facts)
        return False

    rule = Rule("a", PythonExpression(evaluate))
    allow = AllowTable("all", {"*": frozenset({"*"})})
    policy = remembering([PolicySet("s", "ada", allow=(allow,), rules=(rule,))], join)

    for _ in range(3):
        decide(policy, facts_with())

    assert len(asked) == 3
