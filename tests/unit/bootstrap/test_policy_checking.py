from __future__ import annotations

from pathlib import Path

from comptroller.bootstrap.policies import gather_files, read_bundle
from comptroller.bootstrap.policy_checking import check, check_apart
from comptroller.bootstrap.policy_language import policy_of
from comptroller.core.policy.plain import plain_set
from comptroller.engine.policy_ports import (
    BundleFile,
    CheckedBundle,
    decode_sets,
    encode_sets,
)

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"
SET = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {{name: {name}, owner: ada}}
allow:
  - {{id: allow.{name}, models: {{acme: [{name}]}}, when: "request.stream"}}
"""
CASE = "tests: [{name: n, expect: {decision: deny}}]\n"


def file(name: str, folder: str = "p", text: str | None = None) -> BundleFile:
    content = SET.format(name=name) if text is None else text
    return BundleFile(
        f"{folder}/{name}.policy.yaml", f"{name}.policy.yaml", content.encode()
    )


def test_the_example_is_checked_apart_as_it_is_in_this_process() -> None:
    """Another process finds what this one finds, and workers can read its sets."""
    files, problems = gather_files([EXAMPLES])
    assert not problems
    apart = check_apart(files)
    assert apart == check(files)
    bundle = read_bundle([EXAMPLES])
    assert bundle.policy is not None
    assert (apart.revision, apart.problems, apart.failed) == (bundle.revision, [], [])
    assert apart.passed == len(bundle.cases)
    assert tuple(apart.parts()) == bundle.policy.ids()
    policy = policy_of(decode_sets(encode_sets(apart.sets)))
    assert [plain_set(one) for one in policy.sets] == apart.sets
    (owned,) = apart.owners
    line = (
        (EXAMPLES / "acme.policy.yaml").read_text().splitlines()[owned.place.line - 1]
    )
    assert line[owned.place.column - 1 :].startswith(owned.owner)


def test_where_files_stood_and_their_order_make_no_other_sets() -> None:
    """The same revision is the same content for workers, byte for byte."""
    one = check([file("a"), file("b")])
    other = check([file("b", "elsewhere"), file("a", "q")])
    assert one.revision == other.revision
    assert encode_sets(one.sets) == encode_sets(other.sets)
    assert b"elsewhere" not in encode_sets(other.sets)


def test_problems_and_failing_cases_are_placed_where_the_author_looks() -> None:
    """By the path that was named, not by the name in the bundle."""
    spoilt = check([file("a", "my/folder", SET.format(name="a") + "rulez: []\n")])
    assert str(spoilt.problems[0].place) == "my/folder/a.policy.yaml:6:1"
    assert spoilt.sets == []
    cases = BundleFile("t/a.policy_test.yaml", "a.policy_test.yaml", CASE.encode())
    allowed = SET.format(name="a").replace(', when: "request.stream"', "")
    wide = allowed.replace("acme: [a]", '"*": ["*"]')
    failed = check([file("a", text=wide), cases])
    assert failed.problems == []
    assert str(failed.failed[0].place).startswith("t/a.policy_test.yaml:1:")
    assert failed.failed[0].missed == ["decision is allow, expected deny"]


def test_a_check_that_takes_too_long_refuses_the_bundle() -> None:
    """Whatever a bundle does to its check, the answer is a problem of the bundle."""
    found: CheckedBundle = check_apart([file("a")], timeout_s=0.01)
    assert "could not be checked within 0.01 s" in found.problems[0].what
    assert found.revision == check([file("a")]).revision
    assert found.sets == []


def test_nonsense_is_a_problem_and_not_an_error() -> None:
    """Bytes that are no text, and no files at all, are refused like any mistake."""
    broken = BundleFile("x.policy.yaml", "x.policy.yaml", b"\xff\xfe\x00")
    for files in ([broken], []):
        found = check_apart(files)
        assert found.problems
        assert found.sets == []
