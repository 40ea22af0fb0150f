from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "policy"
TEXT = (EXAMPLES / "acme.policy.yaml").read_text()
CASES = (EXAMPLES / "acme.policy_test.yaml").read_text()


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comptroller", "policy", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )


def document(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401  JSON
    return json.loads(done.stdout)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the example to change."""
    (tmp_path / "acme.policy.yaml").write_text(TEXT)
    (tmp_path / "acme.policy_test.yaml").write_text(CASES)
    return tmp_path


def change(bundle: Path, before: str, after: str) -> None:
    assert before in TEXT
    (bundle / "acme.policy.yaml").write_text(TEXT.replace(before, after))


def test_check_says_what_a_valid_bundle_holds() -> None:
    """One line with the counts, one with the revision."""
    done = run("check", "examples/policy")

    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("examples/policy/acme.policy.yaml: valid (1 policy set, ")
    assert (
        second == f"revision {document(run('check', '--json', EXAMPLES))['revision']}"
    )


def test_check_points_at_a_misspelt_fact(bundle: Path) -> None:
    """File, line, column, a caret, and what was probably meant; exit status 1."""
    change(bundle, "request.choices > 4", "request.choicez > 4")
    done = run("check", bundle)
    line = TEXT[: TEXT.index("request.choices > 4")].count("\n") + 1

    assert done.returncode == 1
    assert done.stdout == (
        f"{bundle}/acme.policy.yaml:{line}:14: "
        'rule "request.many-choices": deny_if: there is no "request.choicez"\n'
        "  | request.choicez > 4\n"
        "  | ^\n"
        '  hint: did you mean "request.choices"?\n'
        "1 problem.\n"
    )
    found = document(run("check", "--json", bundle))
    assert (found["valid"], found["problems"][0]["line"]) == (False, line)
    assert found["problems"][0]["excerpt"] == "request.choicez > 4"


def test_test_runs_the_cases_and_counts() -> None:
    """Everything passes, and every part is hit."""
    done = run("test", "--cover", "examples/policy")

    assert (done.returncode, done.stderr) == (0, "")
    assert " passed, 0 failed; 25 of 25 parts hit" in done.stdout


def test_a_failing_case_is_named_with_its_place(bundle: Path) -> None:
    """What is, what was expected, where the case stands; exit status 1."""
    change(bundle, "max_output_tokens: 1024", "max_output_tokens: 1000")
    done = run("test", bundle)
    found = document(run("test", "--json", bundle))

    assert done.returncode == 1
    assert ": failed: external customers are clamped\n" in done.stdout
    assert "  max_output_tokens is 1000, expected 1024\n" in done.stdout
    assert found["failed"] == 2
    assert [one["name"] for one in found["tests"] if not one["passed"]] == [
        "external customers are clamped",
        "a request without a maximum gets the ceiling",
    ]


def test_no_tests_and_parts_that_none_hits_fail(bundle: Path) -> None:
    """A bundle without tests does not pass; with --cover every part needs one."""
    cases = bundle / "acme.policy_test.yaml"
    cases.write_text("tests: [{name: n, expect: {decision: deny}}]\n")
    assert run("test", bundle).returncode == 0
    covered = run("test", "--cover", bundle)
    cases.unlink()
    done = run("test", bundle)

    assert covered.returncode == 1
    assert "never hit: allow.catalog, " in covered.stdout
    assert done.returncode == 1
    assert "There are no tests" in done.stdout


@pytest.mark.parametrize("words", [("test",), ("diff", EXAMPLES)])
def test_a_bundle_with_problems_is_neither_tested_nor_compared(
    bundle: Path, words: tuple[str | Path, ...]
) -> None:
    """The problems are printed instead, as text or as JSON; exit status 1."""
    change(bundle, "rules:", "rulez:")
    done = run(*words, bundle)
    told = run(*words, bundle, "--json")

    assert (done.returncode, done.stdout) == (1, "")
    assert 'unknown key "rulez"' in done.stderr
    assert (told.returncode, told.stdout) == (1, "")
    assert json.loads(told.stderr)["error"]["code"] == "policy_invalid"


def test_diff_lists_the_decisions_that_change(bundle: Path) -> None:
    """Enforcing a shadow rule changes one case of the tests."""
    change(bundle, "mode: audit                            #", "mode: enforce #")
    done = run("diff", EXAMPLES, bundle)

    assert done.returncode == 0
    assert "newly denied: shadow rule does not block (acme)\n" in done.stdout
    assert "  after:  deny by prompt.approved-system-prompt; at most" in done.stdout
    assert "acme: 1 newly denied\n1 of 51 decisions change.\n" in done.stdout
    assert run("diff", "--exit-code", EXAMPLES, bundle).returncode == 1
    assert run("diff", "--exit-code", EXAMPLES, EXAMPLES).returncode == 0


def test_diff_decides_recorded_facts(bundle: Path, tmp_path: Path) -> None:
    """Facts of the past, one JSON document a line, named by their ids."""
    change(bundle, "max_output_tokens: 1024", "max_output_tokens: 1000")
    facts = tmp_path / "facts.jsonl"
    told = {"id": "r1", "facts": {"principal": {"tenant": "acme"}}}
    facts.write_text(f"{json.dumps(told)}\n\n{json.dumps(told['facts'])}\n")

    found = document(run("diff", "--json", "--facts", facts, EXAMPLES, bundle))
    assert (found["decided"], found["changes"]) == (2, [])
    facts.write_text("[]\n")
    done = run("diff", "--facts", facts, EXAMPLES, bundle)
    assert done.returncode == 1
    assert done.stderr == f"error: {facts}:1: not an object\n"


def test_the_default_is_the_folder_named_policy() -> None:
    """Without a path, policies are looked for where a repository keeps them."""
    done = run("check")

    assert done.returncode == 1
    assert "policy: there is no such file" in done.stdout
