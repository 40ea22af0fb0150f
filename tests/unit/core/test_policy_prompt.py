from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.core.policy.prompt import (
    FIELDS,
    Finding,
    Match,
    PromptFacts,
    UnreadableError,
    judge,
    neutral_section,
    read_section,
    said,
    section_of,
)
from comptroller.core.policy.rules import PromptRestriction

FACTS = PromptFacts(
    prompt_bytes=1000,
    system_digest="d1",
    tools=("read_file", "run_shell"),
    builtin_tools=("web_search_20250305",),
    other_models=(),
    elsewhere=(),
)
MATCHES = (
    Match("secret.github-pat", "user/last"),
    Match("personal.email", "tool/first"),
)


def broken(
    restriction: PromptRestriction,
    facts: PromptFacts = FACTS,
    matches: tuple[Match, ...] = MATCHES,
) -> list[tuple[str, str]]:
    return [(f.check, f.where) for f in judge(restriction, "m", facts, matches)]


def test_a_restriction_that_asks_for_nothing_is_never_broken() -> None:
    """Not even by a prompt with matches, and with parts elsewhere."""
    facts = FACTS._replace(elsewhere=("prompt",))

    assert broken(PromptRestriction("r"), facts) == []


@pytest.mark.parametrize(("limit", "is_broken"), [(999, True), (1000, False)])
def test_a_prompt_may_be_as_large_as_the_limit(limit: int, is_broken: bool) -> None:
    """The limit itself is allowed, a byte more is not."""
    expected = [("max_bytes", "")] if is_broken else []

    assert broken(PromptRestriction("r", max_bytes=limit)) == expected


def test_a_required_system_prompt_must_be_one_of_those() -> None:
    """Another one breaks it, and so does none."""
    required = PromptRestriction("r", required_system_digests=("d0", "d1"))
    missing = [("required_system_digests", "")]

    assert broken(required) == []
    assert broken(required, FACTS._replace(system_digest="d2")) == missing
    assert broken(required, FACTS._replace(system_digest=None)) == missing


def test_a_forbidden_system_prompt_is_named_by_its_digest() -> None:
    """And one that is not there cannot be forbidden."""
    forbidden = PromptRestriction("r", forbidden_system_digests=("d1",))

    assert broken(forbidden) == [("forbidden_system_digests", "d1")]
    assert broken(forbidden, FACTS._replace(system_digest=None)) == []


def test_tools_are_forbidden_by_name_or_by_their_beginning() -> None:
    """A finding has the word of the restriction, not the client's."""
    by_name = PromptRestriction("r", forbidden_tools=("run_shell", "read"))
    by_beginning = PromptRestriction("r", forbidden_builtin_tools=("web_search*",))

    assert broken(by_name) == [("forbidden_tools", "run_shell")]
    assert broken(by_beginning) == [("forbidden_builtin_tools", "web_search*")]


def test_names_and_types_are_two_lists() -> None:
    """A client's tool of the name is not the provider's tool of the type."""
    facts = FACTS._replace(tools=("web_search",), builtin_tools=())

    assert broken(PromptRestriction("r", forbidden_builtin_tools=("*",)), facts) == []


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("secret",), [("secret.github-pat", "user/last")]),
        (("personal.email",), [("personal.email", "tool/first")]),
        (("personal.iban", "secret.jwt"), []),
        (("sec",), []),
    ],
)
def test_patterns_are_asked_for_by_group_or_by_rule(
    patterns: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    """A finding says which rule and roughly where."""
    assert broken(PromptRestriction("r", patterns=patterns)) == found


@pytest.mark.parametrize(
    "restriction",
    [
        PromptRestriction("r", max_bytes=9999),
        PromptRestriction("r", required_system_digests=("d1",)),
        PromptRestriction("r", forbidden_system_digests=("d9",)),
        PromptRestriction("r", forbidden_tools=("x",)),
        PromptRestriction("r", forbidden_builtin_tools=("x",)),
        PromptRestriction("r", patterns=("secret.jwt",)),
        PromptRestriction("r", models=("m",)),
    ],
)
def test_what_cannot_be_seen_breaks_every_restriction(
    restriction: PromptRestriction,
) -> None:
    """Unless the restriction allows just that field."""
    facts = FACTS._replace(elsewhere=("prompt", "file"))
    lenient = replace(restriction, allowed_elsewhere=("prompt",))

    assert broken(restriction, facts) == [
        ("elsewhere", "prompt"),
        ("elsewhere", "file"),
    ]
    assert broken(lenient, facts) == [("elsewhere", "file")]


@pytest.mark.parametrize(
    ("models", "inside", "is_broken"),
    [
        (("m",), (), False),
        (("m", "advisor"), ("advisor",), False),
        (("m",), ("advisor",), True),
        (("advisor",), ("advisor",), True),
    ],
)
def test_every_model_that_may_run_has_to_be_allowed(
    models: tuple[str, ...], inside: tuple[str, ...], is_broken: bool
) -> None:
    """The one asked for, and each that the body names; no name is repeated."""
    facts = FACTS._replace(other_models=inside)
    expected = [("models", "")] if is_broken else []

    assert broken(PromptRestriction("r", models=models), facts) == expected


def test_a_condition_and_place_are_found_once() -> None:
    """However often a pattern matched in one third of a place."""
    restriction = PromptRestriction("r", patterns=("secret",))

    assert judge(restriction, "m", FACTS, (MATCHES[0], MATCHES[0])) == (
        Finding("secret.github-pat", "user/last"),
    )


def test_words_name_the_rule_the_check_and_the_place() -> None:
    """With the restriction's own message before them, and never endless."""
    plain = PromptRestriction("r", patterns=("secret",))
    loud = replace(plain, message="no secrets")
    findings = [Finding(f"secret.{n}", "user/last") for n in range(7)]

    assert said(plain, findings[:1]) == (
        "denied by the prompt restriction r: secret.0 (user/last)"
    )
    assert said(loud, [Finding("max_bytes", "")]) == "no secrets: max_bytes"
    assert said(plain, findings).endswith("secret.4 (user/last), 2 more")


def test_a_section_is_read_as_it_was_written() -> None:
    """Facts and matches come back from their JSON; not scanned stays not scanned."""
    facts = FACTS._replace(system_digest="d" * 64)

    assert read_section({"prompt": section_of(facts, MATCHES)}) == (facts, MATCHES)
    assert read_section({"prompt": section_of(facts, None)}) == (facts, None)
    names = {field.name.partition(".")[2] for field in FIELDS}
    assert set(neutral_section()) == names


WRONG: dict[str, list[object]] = {
    "bytes": [None, -1, True, "1", 1.5],
    "system_digest": ["", "sha256:" + "d" * 64, "D" * 64, 5],
    "tools": [None, "x", [1], {"x": 1}],
    "builtin_tools": [None, "x", [None]],
    "other_models": [None, "x", [["x"]]],
    "elsewhere": [None, "x", [True]],
    "matches": ["", "secret", [["a"]], [["a", 1]], [["a", "b", "c"]], ["ab"], {}],
}


@pytest.mark.parametrize("key", sorted(WRONG))
def test_a_section_that_is_not_well_typed_is_an_error(key: str) -> None:
    """A fact that is missing or of another type is named, and nothing is guessed."""
    section = neutral_section()
    broken_ones = [{**section, key: value} for value in WRONG[key]]
    broken_ones.append({name: section[name] for name in section if name != key})

    for one in broken_ones:
        with pytest.raises(UnreadableError, match=key):
            read_section({"prompt": one})
