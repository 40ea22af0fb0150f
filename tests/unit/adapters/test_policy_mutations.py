from __future__ import annotations

import random  # noqa: TID251  the seed is in the name of the test
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cel
import pytest

from comptroller.adapters.policy.cel import CelLanguage
from comptroller.adapters.policy.language import FaultsError, Wanted
from comptroller.adapters.policy.tokens import tokens
from comptroller.bootstrap.policies import read_bundle
from comptroller.core.policy.decide import Effect, decide
from comptroller.core.policy.expression import Expression
from comptroller.core.policy.rules import AllowTable, Policy, PolicySet, Rule
from comptroller.core.policy.schema import FIELDS, NAMES, flatten
from comptroller.testing.policy_requests import RandomRequests

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"
MUTANTS = 3000
"""For each of ten seeds."""
LISTS = {
    "eu_tenants": ("umbrella", "wayne"),
    "approved_agent_tools": ("search", "calculator", "read_ticket"),
    "approved_system_prompts": ("sha256:00",),
}
WORDS = (
    *(field.name for field in FIELDS),
    *("lists.eu_tenants", "lists.nothing", "request", "t", "x"),
    *("&&", "||", "!", "==", "!=", "<", ">=", "in", "?", ":", "+", "-", "/", "%", "*"),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "'",
        '"',
        "\\",
        "#",
        "\x00",
        "\ud800",
        "é",
    ),
    *("0", "1", "-1", "9223372036854775807", "9223372036854775808", "1.5", "1u", "1e9"),
    *("null", "true", "false", "dyn(", "size(", "string(", "int(", "timestamp('x')"),
    *(
        ".exists(t, t == 'x')",
        ".all(t, t > 1)",
        ".map(t, t)",
        ".size()",
        ".matches('(')",
    ),
    *("''", "'prod'", "[]", "{}", "{'a': 1}.a", "[1][2] == 1", "1 / 0 > 0", "b'x'"),
)


def kin(word: str) -> tuple[str, ...]:
    """Words that may stand where a word stands, so that types often still fit."""
    field = NAMES.get(word)
    if field is not None:
        return tuple(one.name for one in FIELDS if one.kind is field.kind)
    found = next((group for group in KIN if word in group), None)
    if found is not None:
        return found
    return TEXTS if word.startswith("'") else (word,)


def sources() -> list[str]:
    policy = read_bundle([EXAMPLES]).policy
    assert policy is not None
    rules = [rule for group in policy.groups for rule in group.rules]
    found = [rule.deny_if.source for rule in rules]
    found += [rule.unless.source for rule in rules if rule.unless is not None]
    # The other engine knows no time zones.
    return [one.replace("('Europe/Berlin')", "()") for one in found]


KIN = (
    ("&&", "||", "!=", "=="),
    ("==", "!=", "<", ">=", ">", "<="),
    ("!", "", "!!"),
    (">", "<", "<=", ">=", "==", "!="),
    ("lists.eu_tenants", "lists.approved_agent_tools", "model.envs"),
    ("2000000", "4", "0", "-1", "9223372036854775807", "(1 / 0)", "request.choices"),
)
TEXTS = ("''", "'prod'", "'eu'", "'x'", "principal.tenant", "model.id", "string(1 / 0)")


def mutants(seed: int) -> Iterator[str]:
    chance = random.Random(seed)  # noqa: S311  not for secrets
    originals = sources()
    for _ in range(MUTANTS):
        words = [one.text for one in tokens(chance.choice(originals))]
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(words))
            word = chance.choice((chance.choice(WORDS), chance.choice(words)))
            match chance.randrange(10):
                case 0:
                    words[place] = word
                case 1:
                    words.insert(place, word)
                case 2 if len(words) > 1:
                    del words[place]
                case 3:
                    at = chance.randrange(len(words))
                    words[place], words[at] = words[at], words[place]
                case _:
                    words[place] = chance.choice(kin(words[place]))
        yield " ".join(words)


def other_says(source: str, flat: dict[str, object]) -> object:
    """What common-expression-language makes of it; None: an error."""
    nested: dict[str, dict[str, object]] = {
        "lists": {name: list(texts) for name, texts in LISTS.items()}
    }
    for name, value in flat.items():
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = value
    try:
        return cel.evaluate(source, nested)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError):
        return None


def effects(expression: Expression, facts: dict[str, object]) -> tuple[Effect, Effect]:
    """What is decided where the expression denies, and where it allows."""
    everything = {"*": frozenset({"*"})}
    denying = PolicySet(
        "p",
        "ada",
        allow=(AllowTable("a", everything),),
        rules=(Rule("r", expression),),
    )
    allowing = PolicySet(
        "p", "ada", allow=(AllowTable("a", everything, when=expression),)
    )
    first, second = (decide(Policy.of([one]), facts) for one in (denying, allowing))
    return first.effect, second.effect


@pytest.mark.parametrize("seed", range(10))
def test_no_mutant_allows_what_another_engine_denies(seed: int) -> None:
    """30,000 changed expressions: no crash, and no allow by a doubtful value."""
    language = CelLanguage(LISTS)
    requests = RandomRequests(seed)
    seen: Counter[str] = Counter()

    for source in mutants(seed):
        try:
            expression = language.compile(source, Wanted.CONDITION)
        except FaultsError:
            seen["refused"] += 1
            continue
        facts: dict[str, object] = dict(requests.next())
        flat, wrong = flatten(facts)
        assert wrong == ()
        told = other_says(source, flat)
        as_denial, as_allow = effects(expression, facts)
        seen[f"{told} {as_denial} {as_allow}"] += 1
        if told is not None:
            # An error in ours denies both; a doubt is never an allow.
            assert as_denial is Effect.DENY or told is False, source
            assert as_allow is Effect.DENY or told is True, source
        assert Effect.DENY in {as_denial, as_allow}, source

    assert seen["refused"] > MUTANTS / 10, seen
    assert seen["True deny allow"] > MUTANTS / 20, seen
    assert seen["False allow deny"] > MUTANTS / 20, seen
    assert seen["None deny deny"] > 0, seen
