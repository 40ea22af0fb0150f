from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.policy_language import policy_of
from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.testing.policy_requests import RandomRequests

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"


def plain() -> str:
    """The example as JSON."""
    policy = read_bundle([EXAMPLES]).policy
    assert policy is not None
    return json.dumps([plain_set(one) for one in policy.sets])


def test_a_policy_decides_the_same_after_it_was_handed_on() -> None:
    """Through JSON and back, decisions are equal to the last word."""
    before = read_bundle([EXAMPLES]).policy
    assert before is not None
    after = policy_of(json.loads(plain()))
    requests = RandomRequests(42)

    for _ in range(500):
        facts = requests.next()
        assert decide(after, facts) == decide(before, facts)
    assert json.dumps([plain_set(one) for one in after.sets]) == plain()
    assert [part.place for one in after.sets for part in one.parts()] == [
        part.place for one in before.sets for part in one.parts()
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"mode": "enforce"', '"mode": "off"'),
        ('"deny_if":', '"deny_iff":'),
        ("request.choices", "request.choicez"),
        ('"lists": {', '"lists": 5, "x": {'),
        ('"prompts": [', '"prompt": ['),
        ('"patterns": ["secret"]', '"patterns": null'),
        ('"max_bytes": 400000', '"max_byte": 400000'),
    ],
)
def test_what_is_no_policy_is_an_error(before: str, after: str) -> None:
    """Nothing is filled in: who cannot read its policy must refuse."""
    assert before in plain()
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        policy_of(json.loads(plain().replace(before, after)))


def test_a_worker_reads_its_policy_without_yaml() -> None:
    """Handing on plain values spares every worker the reader of files."""
    program = (
        "import json, sys\n"
        "from comptroller.bootstrap.policy_language import policy_of\n"
        "policy = policy_of(json.load(sys.stdin))\n"
        "heavy = {'yaml', 'pydantic', 'typer', 'rich', 'cel_expr_python'}\n"
        "print(len(policy.ids()), sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=plain(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "25 ['cel_expr_python']\n"
