from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.expression import FlatFacts
from comptroller.core.policy.rules import (
    AllowTable,
    CeilingRule,
    EnvironmentTable,
    Mode,
    OnExceed,
    Policy,
    PolicySet,
    Rule,
    Selector,
)
from comptroller.core.policy.schema import FIELDS, Kind, flatten
from comptroller.testing.policy import EVERYTHING, PythonExpression, facts_with


def says(value: object) -> PythonExpression:
    return PythonExpression(lambda _: value)


def fails(facts: FlatFacts) -> object:
    raise ValueError(facts["ctx.env"])


BROKEN = PythonExpression(fails)


def asks(evaluate: Callable[[FlatFacts], object]) -> PythonExpression:
    return PythonExpression(evaluate)


def decided(
    *parts: AllowTable | CeilingRule | EnvironmentTable | Rule, **facts: object
) -> PolicyDecision:
    """The decision of one set of parts on facts, given as `section__key=value`."""
    declared = PolicySet(
        "test",
        "ada",
        allow=tuple(one for one in parts if isinstance(one, AllowTable)),
        ceilings=tuple(one for one in parts if isinstance(one, CeilingRule)),
        environments=tuple(one for one in parts if isinstance(one, EnvironmentTable)),
        rules=tuple(one for one in parts if isinstance(one, Rule)),
    )
    changes = {path.replace("__", "."): value for path, value in facts.items()}
    return decide(Policy.of([declared]), facts_with(changes))


def test_nothing_is_allowed_unless_a_table_allows_it() -> None:
    """An empty policy denies, and says that nothing allows the request."""
    decision = decided(model__id="m", principal__tenant="acme")

    assert decision.effect is Effect.DENY
    assert decision.by == ("default-deny",)
    assert decision.message == "nothing allows m to acme"


def test_a_table_allows_what_it_lists_to_whom_it_lists() -> None:
    """A tenant may ask for the models of its entry and for no other."""
    table = AllowTable("a", {"acme": frozenset({"m"})})

    assert decided(table, model__id="m").by == ("a",)
    assert decided(table, model__id="n").by == ("default-deny",)
    assert decided(table, model__id="m", principal__tenant="x").effect is Effect.DENY


def test_an_entry_of_its_own_replaces_that_of_everyone() -> None:
    """`*` is for whoever has no entry; it adds nothing to those who have one."""
    table = AllowTable("a", {"acme": frozenset({"m"}), "*": frozenset({"n"})})

    assert decided(table, model__id="n").by == ("default-deny",)
    assert decided(table, model__id="n", principal__tenant="x").by == ("a",)


@pytest.mark.parametrize("by", ["unit", "service", "kind"])
def test_tables_may_go_by_other_facts(by: str) -> None:
    """An allow-list can go by unit, service or kind."""
    value = "agent" if by == "kind" else "x"
    table = AllowTable("a", {value: frozenset({"*"})}, f"principal.{by}")

    assert decided(table).effect is Effect.DENY
    assert decided(table, **{f"principal__{by}": value}).effect is Effect.ALLOW


def test_several_allows_are_joined_with_or_and_all_reported() -> None:
    """One table suffices, and every one that matches is named, sorted."""
    other = AllowTable("b", {"nobody": frozenset({"*"})})

    assert decided(EVERYTHING, other).by == ("allow.all",)
    assert decided(EVERYTHING, AllowTable("a", EVERYTHING.models)).by == (
        "a",
        "allow.all",
    )


def test_a_selector_needs_every_fact_and_one_of_its_values() -> None:
    """Keys of a selector are joined with AND, the values of a key with OR."""
    kinds = frozenset({"agent", "automation"})
    both = Selector((("ctx.env", frozenset({"x"})), ("principal.kind", kinds)))
    table = AllowTable("a", {"*": frozenset({"*"})}, selector=both)

    assert decided(table, ctx__env="x", principal__kind="agent").by == ("a",)
    assert decided(table, ctx__env="x", principal__kind="automation").by == ("a",)
    assert decided(table, ctx__env="y", principal__kind="agent").effect is Effect.DENY
    assert decided(table, ctx__env="x").effect is Effect.DENY


def test_every_rule_that_matches_is_reported_sorted() -> None:
    """All denials are named, also beside a missing allow."""
    rules = (Rule("z", says(value=True)), Rule("a", says(value=True)))

    assert decided(EVERYTHING, *rules).by == ("a", "z")
    assert decided(*rules).by == ("a", "default-deny", "z")


def test_a_rule_speaks_of_the_request_in_its_message() -> None:
    """The message is an expression of its own; without one the id is named."""
    message = asks(lambda facts: f"not in {facts['ctx.env']}")
    loud = Rule("a", says(value=True), message=message)
    quiet = Rule("b", says(value=True))

    assert decided(EVERYTHING, loud, ctx__env="x").message == "not in x"
    assert decided(EVERYTHING, quiet).message == "denied by the rule b"
    assert decided(EVERYTHING).message == ""


def test_an_exception_excuses_a_match_and_nothing_else() -> None:
    """`unless` is asked only where the condition is true, and true excuses."""
    excused = Rule("a", says(value=True), unless=says(value=True))
    not_excused = Rule("a", says(value=True), unless=says(value=False))
    not_asked = Rule("a", says(value=False), unless=BROKEN)

    assert decided(EVERYTHING, excused).effect is Effect.ALLOW
    assert decided(EVERYTHING, not_excused).by == ("a",)
    assert decided(EVERYTHING, not_asked).effect is Effect.ALLOW


def test_environments_deny_what_they_do_not_approve() -> None:
    """A model outside its environments, or without any, is denied by the table."""
    table = EnvironmentTable("env", {"m": frozenset({"prod"}), "n": frozenset({"*"})})

    assert decided(EVERYTHING, table, model__id="m", ctx__env="prod").by == (
        "allow.all",
    )
    assert decided(EVERYTHING, table, model__id="n").effect is Effect.ALLOW
    denied = decided(EVERYTHING, table, model__id="m", ctx__env="dev")
    assert (denied.by, denied.message) == (("env",), "m is not approved for dev")
    assert decided(EVERYTHING, table, model__id="other").by == ("env",)


def ceilings(*, low: OnExceed, mode: Mode = Mode.ENFORCE) -> tuple[CeilingRule, ...]:
    return (
        CeilingRule("high", 8000, OnExceed.DENY),
        CeilingRule("low", 1000, low, mode=mode),
    )


@pytest.mark.parametrize("asked", [-1, 0, 1000])
@pytest.mark.parametrize("low", OnExceed)
def test_the_lowest_ceiling_governs(asked: int, low: OnExceed) -> None:
    """What asks for no more passes, and is told what it may have."""
    decision = decided(EVERYTHING, *ceilings(low=low), request__max_tokens=asked)

    assert decision.effect is Effect.ALLOW
    assert decision.max_output_tokens == 1000
    assert (decision.ceiling, decision.on_exceed) == ("low", low)
    assert not decision.is_clamped


@pytest.mark.parametrize("asked", [1001, 9000])
def test_more_than_a_ceiling_is_clamped_or_denied(asked: int) -> None:
    """The lowest alone says what follows, also above the next."""
    clamp, deny = (
        decided(EVERYTHING, *ceilings(low=one), request__max_tokens=asked)
        for one in (OnExceed.CLAMP, OnExceed.DENY)
    )

    assert (clamp.effect, clamp.is_clamped) == (Effect.ALLOW, True)
    assert (deny.by, deny.is_clamped) == (("low",), False)
    assert f"asks for {asked} output tokens, of at most 1000" in deny.message


def test_of_equal_ceilings_one_that_denies_governs() -> None:
    """A tie is decided for the stricter, whatever the order of the file."""
    pair = [CeilingRule(one, 10, OnExceed(one)) for one in ("clamp", "deny")]

    for order in (pair, pair[::-1]):
        assert decided(EVERYTHING, *order, request__max_tokens=11).by == ("deny",)


def test_a_shadow_ceiling_does_not_govern() -> None:
    """A ceiling in audit or warn names itself when exceeded, and changes nothing."""
    for mode in (Mode.AUDIT, Mode.WARN):
        parts = ceilings(low=OnExceed.DENY, mode=mode)
        decision = decided(EVERYTHING, *parts, request__max_tokens=2000)
        listed = {Mode.AUDIT: decision.would_deny, Mode.WARN: decision.warnings}

        assert (decision.effect, decision.max_output_tokens) == (Effect.ALLOW, 8000)
        assert listed[mode] == ("low",)


def test_rules_in_audit_and_warn_do_not_block() -> None:
    """What they would have done is listed; a warning keeps its words."""
    audit = Rule("a", says(value=True), mode=Mode.AUDIT)
    warn = Rule("w", says(value=True), mode=Mode.WARN, message=says("take care"))

    decision = decided(EVERYTHING, audit, warn)

    assert (decision.effect, decision.by) == (Effect.ALLOW, ("allow.all",))
    assert (decision.would_deny, decision.warnings) == (("a",), ("w",))
    assert decision.messages == (("w", "take care"),)
    assert decision.message == ""


WRONG_VALUES = {
    "error": BROKEN,
    "truthy error value": says("NOT_FOUND: no such key"),
    "null": says(None),
    "number": says(1),
    "text": says("true"),
}


@pytest.mark.parametrize("wrong", sorted(WRONG_VALUES))
@pytest.mark.parametrize("where", ["deny_if", "unless", "allow", "ceiling"])
def test_what_is_neither_true_nor_false_denies(wrong: str, where: str) -> None:
    """Everywhere an expression stands, anything but a boolean is a denial."""
    bad = WRONG_VALUES[wrong]
    parts: dict[str, AllowTable | CeilingRule | Rule] = {
        "deny_if": Rule("r", bad),
        "unless": Rule("r", says(value=True), unless=bad),
        "allow": AllowTable("r", {"*": frozenset({"*"})}, when=bad),
        "ceiling": CeilingRule("r", 1000, OnExceed.CLAMP, when=bad),
    }

    decision = decided(EVERYTHING, parts[where])

    assert (decision.effect, decision.by) == (Effect.DENY, ("policy_error",))
    assert decision.errors[0].startswith("r: ")
    assert decision.message == "the policy could not be evaluated for this request"


@pytest.mark.parametrize("wrong", sorted(WRONG_VALUES))
@pytest.mark.parametrize("mode", [Mode.AUDIT, Mode.WARN])
def test_a_failure_in_shadow_does_not_block(wrong: str, mode: Mode) -> None:
    """A rule that would not block does not when it fails; the failure is kept."""
    decision = decided(EVERYTHING, Rule("r", WRONG_VALUES[wrong], mode=mode))
    listed = {Mode.AUDIT: decision.would_deny, Mode.WARN: decision.warnings}

    assert decision.effect is Effect.ALLOW
    assert listed[mode] == ("r",)
    assert decision.errors[0].startswith("r: ")


def test_a_failing_message_does_not_undo_a_denial() -> None:
    """Only the words are missing, and that is kept as an error."""
    decision = decided(EVERYTHING, Rule("r", says(value=True), message=BROKEN))

    assert decision.by == ("r",)
    assert decision.message == "denied by the rule r"
    assert decision.errors == ("r: message: ValueError: production",)


WRONG: dict[Kind, list[object]] = {
    Kind.TEXT: [1, None, True, ["a"], "\ud800"],
    Kind.WHOLE: ["5000", None, True, 1.5, 2**63, -(2**63), [1]],
    Kind.FLAG: [1, "true", None],
    Kind.TEXTS: ["a", None, [1], [None], {"a": 1}, ["\ud800"]],
    Kind.TIME: [0, None, "yesterday", "2026-01-01", "2026-01-01T00:00:00"],
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_facts_that_are_missing_or_of_another_type_deny(field: object) -> None:
    """No rule is asked: missing, null, text for a number, true for 1, too large."""
    chosen = next(one for one in FIELDS if one is field)
    policy = Policy.of([PolicySet("p", "ada", allow=(EVERYTHING,))])
    broken = [facts_with({chosen.name: value}) for value in WRONG[chosen.kind]]
    broken += [facts_with(without=(chosen.name,)), {}]
    broken += [facts_with() | {chosen.name.partition(".")[0]: None}]

    for facts in broken:
        decision = decide(policy, facts)
        assert (decision.effect, decision.by) == (Effect.DENY, ("policy_error",))
        assert any(chosen.name in error for error in decision.errors)


def test_a_value_outside_the_choices_of_a_field_denies() -> None:
    """There are four kinds of services; a fifth is broken, not unknown to rules."""
    decision = decided(EVERYTHING, principal__kind="external_customer")

    assert decision.by == ("policy_error",)
    assert "internal, external, automation, agent" in decision.errors[0]


def test_facts_are_flattened_with_times_as_times() -> None:
    """Expressions see every field under its path, and nothing that is not one."""
    flat, wrong = flatten(facts_with() | {"more": 1})

    assert wrong == ()
    assert set(flat) == {field.name for field in FIELDS}
    assert str(flat["ctx.time"]) == "2026-01-01 00:00:00+00:00"


RULES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([True, False, None]))
)


@given(RULES, st.sampled_from(Mode))
def test_one_failure_or_match_suffices(
    rules: list[tuple[str, bool | None]], mode: Mode
) -> None:
    """Allowed means: every enforced rule was evaluated, and was false."""
    parts = [
        Rule(f"{id_}{place}", BROKEN if value is None else says(value), mode=mode)
        for place, (id_, value) in enumerate(rules)
    ]
    selector = Selector((("principal.kind", frozenset({"internal"})),))
    parts = [
        Rule(one.id, one.deny_if, mode=one.mode, selector=selector)
        if place % 2
        else one
        for place, one in enumerate(parts)
    ]

    decision = decided(EVERYTHING, *parts)

    is_quiet = mode is not Mode.ENFORCE or all(value is False for _, value in rules)
    assert (decision.effect is Effect.ALLOW) is is_quiet
    matched = {f"{id_}{n}" for n, (id_, value) in enumerate(rules) if value}
    reported = {
        Mode.ENFORCE: set(decision.by) - {"policy_error", "allow.all"},
        Mode.AUDIT: set(decision.would_deny),
        Mode.WARN: set(decision.warnings),
    }[mode]
    failed = {f"{id_}{n}" for n, (id_, value) in enumerate(rules) if value is None}
    assert reported == matched | (failed if mode is not Mode.ENFORCE else set())


def test_a_selector_covers_what_it_is_no_stricter_than() -> None:
    """Fewer facts and more values select more."""
    wide = Selector((("a", frozenset("xy")),))
    narrow = Selector((("a", frozenset("x")), ("b", frozenset("z"))))

    assert Selector().covers(wide)
    assert wide.covers(narrow)
    assert not narrow.covers(wide)
    assert not wide.covers(Selector())
