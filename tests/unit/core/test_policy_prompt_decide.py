from __future__ import annotations

import pytest

from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.prompt import needs_scan, neutral_section
from comptroller.core.policy.rules import (
    CeilingRule,
    EnvironmentTable,
    Mode,
    OnExceed,
    Policy,
    PolicySet,
    PromptRestriction,
    Rule,
    Selector,
)
from comptroller.testing.policy import EVERYTHING, PythonExpression, facts_with

AGENTS = Selector((("principal.kind", frozenset({"agent"})),))
SECRET = [["secret.jwt", "user/last"]]


def policy_of(*prompts: PromptRestriction) -> Policy:
    return Policy.of([PolicySet("p", "ada", allow=(EVERYTHING,), prompts=prompts)])


def decided(*prompts: PromptRestriction, **section: object) -> PolicyDecision:
    """The decision on an ordinary request with some facts of its prompt changed."""
    facts = facts_with() | {"prompt": {**neutral_section(), **section}}
    return decide(policy_of(*prompts), facts)


def test_a_prompt_that_breaks_a_restriction_is_denied_by_it() -> None:
    """By its id, beside all else that denies, in words without the prompt's text."""
    small = PromptRestriction("small", max_bytes=10)
    clean = PromptRestriction("clean", patterns=("secret",), message="no secrets")
    decision = decided(small, clean, bytes=11, matches=SECRET)

    assert (decision.effect, decision.by) == (Effect.DENY, ("clean", "small"))
    assert decision.messages == (
        ("clean", "no secrets: secret.jwt (user/last)"),
        ("small", "denied by the prompt restriction small: max_bytes"),
    )
    assert decided(small, clean, bytes=10).by == ("allow.all",)


def test_modes_of_restrictions_are_those_of_rules() -> None:
    """In warn it is told, in audit only listed; neither blocks."""
    warn = PromptRestriction("w", max_bytes=10, mode=Mode.WARN)
    audit = PromptRestriction("a", max_bytes=10, mode=Mode.AUDIT)
    decision = decided(warn, audit, bytes=11)

    assert (decision.effect, decision.by) == (Effect.ALLOW, ("allow.all",))
    assert (decision.would_deny, decision.warnings) == (("a",), ("w",))
    assert [id_ for id_, _ in decision.messages] == ["w"]


def test_a_restriction_is_for_whom_it_selects() -> None:
    """Others are not judged by it, and need no facts of their prompt."""
    restriction = PromptRestriction("r", max_bytes=10, selector=AGENTS)
    agent = facts_with({"principal.kind": "agent"})
    large = {"prompt": {**neutral_section(), "bytes": 11}}

    assert decide(policy_of(restriction), agent | large).by == ("r",)
    bare = facts_with()
    del bare["prompt"]
    assert decide(policy_of(restriction), bare).by == ("allow.all",)


def test_without_facts_of_the_prompt_a_restriction_denies() -> None:
    """A section that is missing or broken is an error of each that it is for."""
    pair = [PromptRestriction("r", max_bytes=9), PromptRestriction("s", models=("m",))]
    bare = facts_with()
    del bare["prompt"]

    for facts in (bare, bare | {"prompt": None}, bare | {"prompt": {"bytes": 1}}):
        decision = decide(policy_of(*pair), facts)
        assert (decision.effect, decision.by) == (Effect.DENY, ("policy_error",))
        assert [one.partition(":")[0] for one in decision.errors] == ["r", "s"]


def test_a_prompt_that_was_not_scanned_breaks_who_asks_for_patterns() -> None:
    """Nobody looked is not nothing found; who asks for no pattern does not mind."""
    asks = PromptRestriction("r", patterns=("secret",))
    asks_not = PromptRestriction("r", max_bytes=10)

    decision = decided(asks, matches=None)
    assert (decision.effect, decision.by) == (Effect.DENY, ("policy_error",))
    assert decision.errors == ("r: nobody looked for patterns in the prompt",)
    assert decided(asks, matches=[]).effect is Effect.ALLOW
    assert decided(asks_not, matches=None).effect is Effect.ALLOW


@pytest.mark.parametrize("mode", [Mode.AUDIT, Mode.WARN])
def test_a_failing_restriction_in_shadow_does_not_block(mode: Mode) -> None:
    """It is listed with its failure, as a rule is."""
    asks = PromptRestriction("r", patterns=("secret",), mode=mode)
    for section in ({"matches": None}, {"bytes": "many"}):
        decision = decided(asks, **section)
        listed = {Mode.AUDIT: decision.would_deny, Mode.WARN: decision.warnings}

        assert decision.effect is Effect.ALLOW
        assert listed[mode] == ("r",)
        assert decision.errors[0].startswith("r: ")


def test_a_scan_is_needed_where_a_selected_restriction_asks_for_patterns() -> None:
    """Of nobody else, and of nobody at all where none asks."""
    size = PromptRestriction("s", max_bytes=10)
    clean = PromptRestriction("c", patterns=("secret",), selector=AGENTS)
    agent = facts_with({"principal.kind": "agent"})

    assert needs_scan(policy_of(size, clean), agent)
    assert not needs_scan(policy_of(size, clean), facts_with())
    assert not needs_scan(policy_of(size), agent)
    assert not needs_scan(policy_of(clean), {})
    assert policy_of(size).scans == ()


def test_each_id_of_a_decision_has_its_control() -> None:
    """Every kind of part, and the reasons that are built in."""
    ceiling = CeilingRule("c", 1, OnExceed.DENY)
    true = PythonExpression(lambda _: True)
    declared = PolicySet(
        "p",
        "ada",
        allow=(EVERYTHING,),
        ceilings=(ceiling,),
        environments=(EnvironmentTable("e", {}),),
        rules=(Rule("r", true),),
        prompts=(PromptRestriction("p", max_bytes=1),),
    )
    policy = Policy.of([declared])

    assert {one: policy.control_of(one) for one in policy.ids()} == {
        "allow.all": "entitlement",
        "c": "token_ceiling",
        "e": "environment",
        "r": "entitlement",
        "p": "prompt_restriction",
    }
    assert policy.control_of("default-deny") == "entitlement"
    assert policy.control_of("policy_error") == "entitlement"
    with pytest.raises(KeyError):
        policy.control_of("nobody")
