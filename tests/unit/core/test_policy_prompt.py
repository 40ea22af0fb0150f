from __future__ import annotations

import pytest

from comptroller.core.policy.prompt import (
    Action,
    Finding,
    Match,
    PromptFacts,
    PromptRestriction,
    judge,
    needs_scan,
)

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
    return [(f.check, f.where) for f in judge([restriction], facts, matches)]


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
    ],
)
def test_what_cannot_be_seen_breaks_every_restriction(
    restriction: PromptRestriction,
) -> None:
    """Unless the restriction allows just that field."""
    facts = FACTS._replace(elsewhere=("prompt", "file"))
    lenient = restriction._replace(allowed_elsewhere=("prompt",))

    assert broken(restriction, facts) == [
        ("elsewhere", "prompt"),
        ("elsewhere", "file"),
    ]
    assert broken(lenient, facts) == [("elsewhere", "file")]


def test_every_broken_restriction_is_found_with_its_action() -> None:
    """In their order, each condition and place once."""
    restrictions = [
        PromptRestriction("small", Action.AUDIT, max_bytes=10),
        PromptRestriction("clean", Action.WARN, patterns=("secret",)),
    ]

    assert judge(restrictions, FACTS, (MATCHES[0], MATCHES[0])) == (
        Finding("small", Action.AUDIT, "max_bytes", ""),
        Finding("clean", Action.WARN, "secret.github-pat", "user/last"),
    )
    assert needs_scan(restrictions)
    assert not needs_scan(restrictions[:1])
