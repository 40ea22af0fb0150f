from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.adapters.policy.reading import Content
from comptroller.bootstrap.policies import policy_reader, read_bundle
from comptroller.core.policy.bundle import Bundle
from comptroller.engine.policy_testing import corpus_of, diff, is_fit, run_cases

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"
TEXT = (EXAMPLES / "acme.policy.yaml").read_text()
CASES = (EXAMPLES / "acme.policy_test.yaml").read_text()
WORKED = {
    "happy path",
    "unknown tenant gets only the shared model",
    "sandbox cannot use gpt-4o",
    "two reasons are both reported",
    "external customers are clamped",
    "batch premium by day",
    "batch premium at 20h Berlin is 19h UTC in winter",
    "... and 18h UTC in summer",
    "approved exception",
    "agent without sponsor",
    "shadow rule does not block",
    "a broken input is denied not ignored",
}


def bundle_of(text: str, cases: str = CASES) -> Bundle:
    named = {"acme.policy.yaml": text, "acme.policy_test.yaml": cases}
    return policy_reader().read_contents(
        [Content(name, name, one.encode()) for name, one in named.items()]
    )


def test_the_example_passes_and_every_part_of_it_is_tested() -> None:
    """The bundle that ships is fit, and no rule of it is without a test."""
    bundle = read_bundle([EXAMPLES])
    report = run_cases(bundle)

    assert bundle.problems == ()
    assert [(one.case.name, one.missed) for one in report.failed] == []
    assert report.passed_count == len(bundle.cases) > 30
    assert report.never_hit == ()
    assert {case.name for case in bundle.cases} >= WORKED
    assert is_fit(bundle)


@pytest.mark.parametrize(
    ("before", "after", "failing"),
    [
        (
            "max_output_tokens: 1024",
            "max_output_tokens: 1025",
            "external customers are",
        ),
        ("== 'restricted' &&", "== 'secret' &&", "two reasons are both reported"),
        ("principal.tenant in lists.eu_tenants", "'x' in lists.eu_tenants", "stays in"),
        ("mode: audit                            #", "mode: enforce #", "shadow rule"),
        (">= 20", ">= 21", "batch premium at 20h"),
        (
            "unless: ctx.exceptions.exists(",
            "#",
            "approved ex",
        ),
    ],
)
def test_a_changed_rule_fails_its_test(before: str, after: str, failing: str) -> None:
    """The cases notice each change that matters, so such a bundle is not fit."""
    changed = bundle_of(TEXT.replace(before, after))
    report = run_cases(changed)

    assert before in TEXT
    assert any(failing in one.case.name for one in report.failed)
    assert not is_fit(changed)


def test_what_was_missed_is_said_in_words() -> None:
    """Each expectation that does not hold is one line: what is, what was expected."""
    cases = """tests:
      - name: n
        expect: {decision: allow, by: [b, a], would_deny: [x], warnings: [y],
          max_output_tokens: 5, clamped: true, ceiling: c, message_contains: zz,
          error_contains: e}
    """
    verdict = run_cases(bundle_of(TEXT, cases)).failed[0]

    assert verdict.missed == (
        "decision is deny, expected allow",
        (
            "by is [default-deny, env.model-approved, env.table,"
            " prompts.models-inside], expected [a, b]"
        ),
        "would_deny is [], expected [x]",
        "warnings is [], expected [y]",
        "max_output_tokens is 8192, expected 5",
        "clamped is false, expected true",
        "ceiling is ceil.default, expected c",
        (
            'message is "nothing allows  to acme;  is not approved for production;'
            "  is not approved for production; denied by the prompt restriction"
            ' prompts.models-inside: models", expected "zz" in it'
        ),
        'errors is "", expected "e" in it',
    )


def test_parts_that_no_test_reaches_are_named() -> None:
    """Coverage is by id: tables, ceilings and rules."""
    report = run_cases(bundle_of(TEXT, "tests: []\n"))

    assert report.never_hit == report.ids
    assert "ceil.agent" in report.never_hit


def test_cases_may_be_about_some_files_of_a_bundle(tmp_path: Path) -> None:
    """A file's own tests do not see what another file denies."""
    other = """apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: other, owner: alan}
rules: [{id: nobody, deny_if: principal.tenant != ''}]
"""
    (tmp_path / "acme.policy.yaml").write_text(TEXT)
    (tmp_path / "other.policy.yaml").write_text(other)
    (tmp_path / "acme.policy_test.yaml").write_text(CASES)
    alone = read_bundle([tmp_path])
    (tmp_path / "acme.policy_test.yaml").write_text(
        CASES.replace("policy: acme.policy.yaml\n", "")
    )
    together = read_bundle([tmp_path])

    assert alone.problems == ()
    assert run_cases(alone).failed == ()
    assert run_cases(alone).never_hit == ("nobody",)
    assert len(run_cases(together).failed) > 20


def test_a_bundle_with_problems_is_not_fit() -> None:
    """It has no policy, so nothing can be decided by it, not even a test."""
    broken = bundle_of(TEXT.replace("rules:", "rulez:"))

    assert not is_fit(broken)
    with pytest.raises(ValueError, match="decides nothing"):
        run_cases(broken)


def test_a_difference_lists_the_requests_that_change() -> None:
    """Enforcing the shadow rule changes exactly what it would have denied."""
    before = bundle_of(TEXT)
    shadow = TEXT.index("id: prompt.approved-system-prompt")
    after = bundle_of(
        TEXT[:shadow] + TEXT[shadow:].replace("mode: audit", "mode: enforce", 1)
    )
    assert before.policy is not None
    assert after.policy is not None

    report = diff(before.policy, after.policy, corpus_of(before.cases))

    assert [one.name for one in report.changes] == ["shadow rule does not block"]
    assert report.changes[0].after.by == ("prompt.approved-system-prompt",)
    assert report.changes[0].tenant == "acme"
    assert (report.added, report.removed) == ((), ())
    assert report.asked_count == len({repr(one.facts) for one in before.cases})


def test_a_difference_names_parts_that_come_and_go() -> None:
    """Also those that change no decision."""
    before = bundle_of(TEXT)
    after = bundle_of(TEXT.replace("ceil.agent", "ceil.agents"))
    assert before.policy is not None
    assert after.policy is not None

    report = diff(before.policy, after.policy, [])

    assert (report.added, report.removed) == (("ceil.agents",), ("ceil.agent",))
    assert report.asked_count == 0
