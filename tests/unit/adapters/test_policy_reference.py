from __future__ import annotations

import re
from pathlib import Path

import pytest

from comptroller.adapters.policy import cases, sets
from comptroller.adapters.policy.prompts import KEYS as PROMPT_KEYS
from comptroller.adapters.policy.reading import Content
from comptroller.bootstrap.policies import policy_reader
from comptroller.core.policy.prompt import ELSEWHERE
from comptroller.core.policy.prompt import FIELDS as PROMPT_FIELDS
from comptroller.core.policy.rules import RESERVED_IDS, Mode, OnExceed
from comptroller.core.policy.schema import FIELDS, SELECTABLE
from comptroller.engine.policy_testing import run_cases

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference" / "policy.md").read_text()
HOW_TO = (DOCS / "how-to" / "write-a-policy.md").read_text()
KEYWORDS = {
    *sets._TOP,
    *sets._ALLOW,
    *sets._CEILING,
    *sets._ENVIRONMENT,
    *sets._RULE,
    *PROMPT_KEYS,
    *cases._TOP,
    *cases._CASE,
    *cases._EXPECT,
    *(mode.value for mode in Mode),
    *(one.value for one in OnExceed),
    *RESERVED_IDS,
    *SELECTABLE,
    *SELECTABLE.values(),
    *(field.name for field in FIELDS),
    *(value for field in FIELDS for value in field.values),
    sets.API_VERSION,
    sets.KIND,
}


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_the_reference_has_every_keyword(word: str) -> None:
    """Each key, fact, mode and built-in id is in docs/reference/policy.md."""
    assert f"`{word}`" in REFERENCE


def test_the_reference_says_what_each_fact_is() -> None:
    """The table of facts is the schema's, word for word."""
    for field in (*FIELDS, *PROMPT_FIELDS):
        assert f"| `{field.name}` | {field.kind} | {field.about} |" in REFERENCE


def test_the_reference_has_every_field_that_brings_something_in() -> None:
    """What `allowed_elsewhere` may name is the first column of its table."""
    text = (DOCS / "reference" / "prompt-restrictions.md").read_text()
    _, _, table = text.partition("## What the body does not hold")
    rows = re.findall(r"^\| (`.*?) \|", table.partition("\n## ")[0], re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert tuple(named) == ELSEWHERE


def test_the_policy_of_the_how_to_works_as_it_says() -> None:
    """Its files are read, its tests pass, and its slip is found as it is shown."""
    tables, rules, prompts, tests = re.findall(r"```yaml\n(.*?)```", HOW_TO, re.DOTALL)
    text = f"{tables}\n{rules}\n{prompts}"

    def read(text: str) -> object:
        named = {"policy/acme.policy.yaml": text, "acme.policy_test.yaml": tests}
        bundle = policy_reader().read_contents(
            [
                Content(name, Path(name).name, one.encode())
                for name, one in named.items()
            ]
        )
        if bundle.policy is None:
            return [str(one) for one in bundle.problems]
        report = run_cases(bundle)
        return report.passed_count, len(report.failed), report.never_hit

    assert read(text) == (4, 0, ("ceil.external",))
    found = read(text.replace("classification !=", "clasification !="))
    assert isinstance(found, list)
    assert found[0] in HOW_TO
