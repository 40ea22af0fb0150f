from __future__ import annotations

import random  # noqa: TID251  the seed is in the name of the test
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest

from comptroller.core.policy.decide import decide
from comptroller.core.policy.prompt import neutral_section
from comptroller.core.policy.rules import (
    Mode,
    Policy,
    PolicySet,
    PromptRestriction,
    Selector,
)
from comptroller.testing.policy import EVERYTHING, facts_with

ROUNDS = 2000
"""For each of five seeds."""
AGENTS = Selector((("principal.kind", frozenset({"agent"})),))
DIGESTS = ("a" * 64, "b" * 64)
NAMES = ("run", "run_x", "shell", "m", "n")
RULES = ("secret.jwt", "secret.npm", "personal.iban")
FIELDS = ("file", "prompt")
PARTS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "max_bytes": ((10,), (100,)),
    "required_system_digests": (DIGESTS[:1], DIGESTS),
    "forbidden_system_digests": (DIGESTS[1:],),
    "forbidden_tools": (("run",), ("run*", "n"), ("*",)),
    "forbidden_builtin_tools": (("run_*",), ("shell",)),
    "patterns": (("secret",), ("secret.jwt", "personal"), RULES),
    "models": (("m",), ("m", "n"), ("shell",)),
    "allowed_elsewhere": (("file",), FIELDS),
}
BROKEN: tuple[Any, ...] = (
    *(None, True, -1, "x", {}, 1.5),
    *(["x"], [1], [["x"]], [["x", "y", "z"]]),
)


def restrictions(chance: random.Random) -> list[PromptRestriction]:
    found = []
    for number in range(chance.randrange(4)):
        parts: dict[str, Any] = {}
        for key in chance.sample(sorted(PARTS), chance.choice((1, 2, 3, 8))):
            chosen = chance.choice(PARTS[key])
            parts[key] = chosen[0] if key == "max_bytes" else chosen
        selector = chance.choice((Selector(), AGENTS))
        mode = chance.choice(tuple(Mode))
        found.append(
            PromptRestriction(f"r{number}", **parts, selector=selector, mode=mode)
        )
    return found


def section(chance: random.Random) -> dict[str, Any]:
    def some(words: tuple[str, ...]) -> list[str]:
        return chance.sample(words, chance.choice((0, 0, 1, 2)))

    return {
        "bytes": chance.choice((0, 10, 11, 100, 101)),
        "system_digest": chance.choice((None, *DIGESTS, "c" * 64)),
        "tools": some(NAMES),
        "builtin_tools": some(NAMES),
        "other_models": some(NAMES),
        "elsewhere": some(FIELDS),
        "matches": [[rule, "user/last"] for rule in some(RULES)]
        if chance.randrange(8)
        else None,
    }


def is_met(words: tuple[str, ...], names: list[str]) -> bool:
    return any(fnmatchcase(name, word) for word in words for name in names)


def is_broken(one: PromptRestriction, prompt: dict[str, Any]) -> bool | None:
    """Whether a prompt breaks a restriction, read once more; None: unknown."""
    if one.patterns and prompt["matches"] is None:
        return None
    asked = [f"{word}*" for word in one.patterns]
    digest = prompt["system_digest"]
    reasons = [
        one.max_bytes is not None and prompt["bytes"] > one.max_bytes,
        one.required_system_digests and digest not in one.required_system_digests,
        digest in one.forbidden_system_digests,
        is_met(one.forbidden_tools, prompt["tools"]),
        is_met(one.forbidden_builtin_tools, prompt["builtin_tools"]),
        is_met(tuple(asked), [rule for rule, _ in prompt["matches"] or ()]),
        one.models and not {"m", *prompt["other_models"]}.issubset(one.models),
    ]
    is_empty = one == PromptRestriction(
        one.id,
        allowed_elsewhere=one.allowed_elsewhere,
        selector=one.selector,
        mode=one.mode,
    )
    unseen = set(prompt["elsewhere"]) - set(one.allowed_elsewhere)
    return any(reasons) or (bool(unseen) and not is_empty)


def expected(
    policy: list[PromptRestriction], kind: str, prompt: dict[str, Any] | None
) -> dict[Mode, set[str]]:
    """The ids of each mode; without a prompt nothing is known of any."""
    found: dict[Mode, set[str]] = {mode: set() for mode in Mode}
    for one in policy:
        if one.selector == AGENTS and kind != "agent":
            continue
        is_so = is_broken(one, prompt) if prompt is not None else None
        if is_so is None and one.mode is Mode.ENFORCE:
            found[one.mode].add("policy_error")
        elif is_so is not False:
            found[one.mode].add(one.id)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_restrictions_decide_what_a_person_reads_in_them(seed: int) -> None:
    """10,000 random policies and prompts, a third of them broken, in plain Python."""
    chance = random.Random(seed)  # noqa: S311  not for secrets
    seen: Counter[str] = Counter()

    for _ in range(ROUNDS):
        declared = restrictions(chance)
        policy = Policy.of(
            [PolicySet("p", "ada", allow=(EVERYTHING,), prompts=tuple(declared))]
        )
        kind = chance.choice(("agent", "internal"))
        prompt: dict[str, Any] | None = section(chance)
        facts = facts_with({"principal.kind": kind, "model.id": "m"})
        facts["prompt"] = prompt
        if prompt is not None and chance.randrange(3) == 0:
            key = chance.choice(sorted(neutral_section()))
            wrong = chance.choice(BROKEN)
            if wrong is None and key in {"system_digest", "matches"}:
                del prompt[key]
            else:
                is_right = wrong == ["x"] and key not in {"bytes", "matches"}
                prompt[key] = {} if is_right else wrong
            prompt = None

        decision = decide(policy, facts)
        wanted = expected(declared, kind, prompt)
        assert set(decision.by) - {"allow.all"} == wanted[Mode.ENFORCE], facts
        assert set(decision.would_deny) == wanted[Mode.AUDIT], facts
        assert set(decision.warnings) == wanted[Mode.WARN], facts
        seen["error" if decision.errors else decision.effect.value] += 1

    assert min(seen[one] for one in ("error", "allow", "deny")) > ROUNDS / 20, seen
