from __future__ import annotations

import subprocess
import sys

import pytest

from comptroller.adapters.policy.reading import Content
from comptroller.adapters.scanner import RE2Scanner
from comptroller.bootstrap.policies import policy_reader
from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.decide import decide
from comptroller.core.policy.rules import Mode, PromptRestriction, Selector

DIGEST = "2f0e1d5c7a9b4836251f0e9d8c7b6a5948372615f4e3d2c1b0a9f8e7d6c5b4a3"
HEAD = f"""apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {{name: p, owner: ada}}
lists: {{approved: [sha256:{DIGEST}], none: [], tools: [shell, run_*], one: [shell]}}
allow: [{{id: a, models: ["*"]}}]
prompts:
"""


def bundle_of(*entries: str, cases: str | None = None) -> Bundle:
    text = HEAD + "".join(f"  - {{{one}}}\n" for one in entries)
    contents = [Content("p.policy.yaml", "p.policy.yaml", text.encode())]
    if cases is not None:
        name = "p.policy_test.yaml"
        contents.append(Content(name, name, cases.encode()))
    return policy_reader().read_contents(contents)


def said(bundle: Bundle) -> str:
    return "\n".join(str(one) for one in bundle.problems)


def test_a_restriction_is_read_as_it_is_written() -> None:
    """Every key, with a list of the file in the place of its name."""
    bundle = bundle_of(
        f"id: r, for: {{kind: agent}}, mode: warn, max_bytes: 10,"
        f" required_system_digests: [lists.approved],"
        f" forbidden_system_digests: ['sha256:{'0' * 64}'],"
        " forbidden_tools: [lists.tools, x, shell],"
        " forbidden_builtin_tools: mcp, patterns: [secret, personal.iban],"
        " models: [m], allowed_elsewhere: [file], message: never"
    )

    assert said(bundle) == ""
    assert bundle.policy is not None
    assert bundle.policy.prompts == (
        PromptRestriction(
            "r",
            max_bytes=10,
            required_system_digests=(DIGEST,),
            forbidden_system_digests=("0" * 64,),
            forbidden_tools=("shell", "run_*", "x"),
            forbidden_builtin_tools=("mcp",),
            patterns=("secret", "personal.iban"),
            models=("m",),
            allowed_elsewhere=("file",),
            message="never",
            selector=Selector((("principal.kind", frozenset({"agent"})),)),
            mode=Mode.WARN,
        ),
    )


def test_every_rule_of_the_scanner_can_be_asked_for() -> None:
    """And each of its groups."""
    rules = RE2Scanner().rules

    assert said(bundle_of(f"id: r, patterns: [{', '.join(rules)}]")) == ""
    assert said(bundle_of("id: r, patterns: [secret, personal]")) == ""


SLIPS = {
    "unknown key": (
        "id: r, max_bytes: 1, patern: [secret]",
        (
            'prompt restriction "r": unknown key "patern"\n'
            '  hint: did you mean "patterns"?'
        ),
    ),
    "unknown mode": ("id: r, max_bytes: 1, mode: deny", 'mode cannot be "deny"'),
    "nothing": ("id: r", '7:5: prompt restriction "r": it restricts nothing\n  hint'),
    "only excuses": ("id: r, allowed_elsewhere: [file]", "it restricts nothing"),
    "nobody": ("id: r, max_bytes: 1, for: {kind: batch}", 'never "batch"'),
    "no id": ("max_bytes: 1", "7:5: prompt restriction: it has no id"),
    "taken id": ("id: a, max_bytes: 1", 'the id "a" is there twice'),
    "no size": ("id: r, max_bytes: 0", "must be a whole number of at least 1"),
    "unknown rule": (
        "id: r, patterns: [secret.github-patt]",
        (
            '7:24: prompt restriction "r": there is no pattern "secret.github-patt"\n'
            '  hint: did you mean "secret.github-pat"?'
        ),
    ),
    "unknown group": (
        "id: r, patterns: [secrets]",
        'there is no pattern "secrets"\n  hint: did you mean "secret"?',
    ),
    "a list as patterns": ("id: r, patterns: [lists.one]", 'pattern "shell"'),
    "rule and group": (
        "id: r, patterns: [secret, secret.jwt]",
        '7:32: prompt restriction "r": "secret.jwt" is in "secret"',
    ),
    "no patterns": ("id: r, patterns: []", "patterns is empty"),
    "no models": ("id: r, models: []", "models is empty"),
    "bare digest": (
        f"id: r, required_system_digests: ['{DIGEST}']",
        'is not a digest\n  hint: write "sha256:"',
    ),
    "great letters": (
        f"id: r, forbidden_system_digests: [sha256:{DIGEST.upper()}]",
        "is not a digest",
    ),
    "unknown list": (
        "id: r, required_system_digests: [lists.aproved]",
        'there is no "lists.aproved"\n  hint: did you mean "lists.approved"?',
    ),
    "empty list": ("id: r, models: [lists.none]", 'the list "none" is empty'),
    "star within": ("id: r, forbidden_tools: ['*_shell']", "that is not at its end"),
    "unknown field": (
        "id: r, max_bytes: 1, allowed_elsewhere: [files]",
        '"files" brings in nothing\n  hint: did you mean "file"?',
    ),
    "required and forbidden": (
        (
            "id: r, required_system_digests: [lists.approved],"
            " forbidden_system_digests: [lists.approved]"
        ),
        'prompt restriction "r" denies every prompt',
    ),
}


@pytest.mark.parametrize("slip", sorted(SLIPS))
def test_each_slip_in_a_restriction_is_a_problem(slip: str) -> None:
    """One message with its place; a bundle with a slip decides nothing."""
    entry, wanted = SLIPS[slip]
    bundle = bundle_of(entry)

    assert bundle.policy is None
    assert wanted in said(bundle)
    assert len(bundle.problems) == 1, said(bundle)


@pytest.mark.parametrize(
    ("needless", "other"),
    [
        ("max_bytes: 10", "max_bytes: 10"),
        ("max_bytes: 11", "max_bytes: 10"),
        ("max_bytes: 10, for: {kind: agent}", "max_bytes: 10, patterns: [secret]"),
        ("patterns: [secret.jwt]", "patterns: [secret]"),
        ("patterns: [secret], mode: audit", "patterns: [secret]"),
        ("forbidden_tools: [run_x, run_y*]", "forbidden_tools: [run_*]"),
        ("models: [m, n]", "models: [m]"),
        ("models: [m], allowed_elsewhere: [file]", "models: [m]"),
    ],
)
def test_a_restriction_that_another_makes_needless_is_a_problem(
    needless: str, other: str
) -> None:
    """Wherever it would deny the other does; in both orders of the file."""
    for entries in (
        (f"id: s, {other}", f"id: r, {needless}"),
        (f"id: r, {needless}", f"id: s, {other}"),
    ):
        found = said(bundle_of(*entries))
        assert "denies nothing that" in found
        assert found.count("keep one") == 1
        assert needless == other or 'restriction "r" denies nothing' in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("max_bytes: 10", "max_bytes: 11, mode: audit, patterns: [secret]"),
        ("max_bytes: 10, mode: warn", "max_bytes: 10, for: {kind: agent}"),
        ("patterns: [secret]", "patterns: [personal]"),
        ("patterns: [secret], mode: audit", "patterns: [secret.jwt]"),
        ("forbidden_tools: [run_]", "forbidden_tools: [run_*, x], for: {kind: agent}"),
        ("models: [m]", "models: [n]"),
        ("max_bytes: 9", "max_bytes: 5, allowed_elsewhere: [file]"),
    ],
)
def test_restrictions_that_each_deny_something_are_none(one: str, other: str) -> None:
    """A stricter one in shadow, for fewer, or of something else is no duplicate."""
    assert said(bundle_of(f"id: r, {one}", f"id: s, {other}")) == ""


def test_test_files_set_facts_of_the_prompt() -> None:
    """By path and in defaults; null and wrong types may be written, slips may not."""
    case = "tests: [{name: n, with: {%s}, expect: {decision: deny, by: [%s]}}]\n"
    for change, by in (
        ("prompt.bytes: 11", "r"),
        ("prompt.bytes: x", "policy_error"),
        ("prompt.matches: [[secret.jwt, user/last]]", "s"),
        ("prompt.matches: null", "policy_error"),
    ):
        entries = ("id: r, max_bytes: 10", "id: s, patterns: [secret]")
        bundle = bundle_of(*entries, cases=case % (change, by))
        assert said(bundle) == ""
        (read,) = bundle.cases
        assert read.expect.missed(decide(bundle.policy_for(read), read.facts)) == ()

    slip = bundle_of("id: r, max_bytes: 10", cases=case % ("prompt.byte: 1", "r"))
    assert 'there is no fact "prompt.byte"\n  hint: did you mean "prompt.by' in said(
        slip
    )


def test_checking_restrictions_does_not_load_the_scanner() -> None:
    """Their names are known without RE2 and its expressions."""
    program = (
        "import sys; from comptroller.bootstrap.policies import policy_reader\n"
        "from comptroller.adapters.policy.reading import Content\n"
        "name, text = 'p.policy.yaml', sys.stdin.buffer.read()\n"
        "read = policy_reader().read_contents([Content(name, name, text)])\n"
        "print(len(read.policy.prompts), 're2' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=HEAD + "  - {id: r, patterns: [secret]}\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "1 False\n"
