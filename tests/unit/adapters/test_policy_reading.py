from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from comptroller.adapters.policy.reading import Content
from comptroller.bootstrap.policies import policy_reader, read_bundle
from comptroller.core.policy.bundle import Bundle

EXAMPLES = Path(__file__).parents[3] / "examples" / "policy"
HEAD = """apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: p, owner: ada}
"""
ALLOW = """allow:
  - {id: a, models: ["*"]}
"""
WHOLE = HEAD + ALLOW


def bundle_of(text: str, cases: str | None = None) -> Bundle:
    contents = [Content("p.policy.yaml", "p.policy.yaml", text.encode())]
    if cases is not None:
        name = "p.policy_test.yaml"
        contents.append(Content(name, name, cases.encode()))
    return policy_reader().read_contents(contents)


def said(bundle: Bundle) -> str:
    return "\n".join(str(one) for one in bundle.problems)


SLIPS = {
    "no head": ("allow: []\n", '1:1: it has no apiVersion\n  hint: add "apiVersion: '),
    "other version": (
        WHOLE.replace("comptroller.policy/v1", "gateway.policy/v1"),
        '1:13: apiVersion must be "comptroller.policy/v1"',
    ),
    "unknown key": (
        f"{WHOLE}rulez: []\n",
        '6:1: unknown key "rulez"\n  hint: did you mean "rules"?',
    ),
    "unknown key of a rule": (
        f"{WHOLE}rules:\n  - id: r\n    deny_iff: ctx.env == 'x'\n",
        '8:5: rule "r": unknown key "deny_iff"\n  hint: did you mean "deny_if"?',
    ),
    "no condition": (
        f"{WHOLE}rules: [{{id: r}}]\n",
        '6:9: rule "r": it has no deny_if',
    ),
    "no id": (
        f"{WHOLE}rules: [{{deny_if: request.stream}}]\n",
        "6:9: rule: it has no id",
    ),
    "bad id": (
        f"{WHOLE}ceilings: [{{id: a b, max_output_tokens: 1}}]\n",
        '"a b" is not an id',
    ),
    "unknown mode": (
        f"{WHOLE}rules: [{{id: r, deny_if: request.stream, mode: shadow}}]\n",
        '6:48: rule "r": mode cannot be "shadow"\n  hint: it is one of: audit, enf',
    ),
    "unknown fact, plain": (
        f"{WHOLE}rules:\n  - id: r\n    deny_if: 1 > 2 || request.max_tokenz > 4\n",
        (
            '8:23: rule "r": deny_if: there is no "request.max_tokenz"\n'
            "  | 1 > 2 || request.max_tokenz > 4\n"
            "  |          ^\n"
            '  hint: did you mean "request.max_tokens"?'
        ),
    ),
    "unknown fact, quoted": (
        f"{WHOLE}rules:\n  - id: r\n    deny_if: \"!(ctx.envv == 'x')\"\n",
        '8:17: rule "r": deny_if: there is no "ctx.envv"',
    ),
    "unknown fact, folded": (
        (
            f"{WHOLE}rules:\n  - id: r\n    deny_if: >-\n      request.stream &&\n"
            "      ctx.envv == 'x'\n"
        ),
        '10:7: rule "r": deny_if: there is no "ctx.envv"',
    ),
    "unknown fact, in lines": (
        (
            f"{WHOLE}rules:\n  - id: r\n    deny_if: |\n      request.stream &&\n"
            "        ctx.envv == 'x'\n"
        ),
        '10:9: rule "r": deny_if: there is no "ctx.envv"',
    ),
    "wrong type": (
        f"{WHOLE}rules: [{{id: r, deny_if: request.max_tokens > '5'}}]\n",
        "6:45: rule \"r\": deny_if: found no matching overload for '_>_'",
    ),
    "not a condition": (
        f"{WHOLE}rules: [{{id: r, deny_if: request.max_tokens}}]\n",
        "its value is of type int, and must be true or false",
    ),
    "not a text": (
        f"{WHOLE}rules: [{{id: r, deny_if: request.stream, message: ctx.time}}]\n",
        "message: its value is of type timestamp, and must be a text",
    ),
    "unknown list": (
        f"{WHOLE}lists: {{eu: [a]}}\nrules: [{{id: r, deny_if: ctx.env in lists.u}}]\n",
        'there is no "lists.u"\n  | ctx.env in lists.u\n',
    ),
    "never": (
        f"{WHOLE}rules: [{{id: r, deny_if: 1 > 2}}]\n",
        "it is false for every request: the rule can never match",
    ),
    "always excused": (
        f"{WHOLE}rules: [{{id: r, deny_if: request.stream, unless: 1 < 2}}]\n",
        "it is true for every request: the rule can never deny",
    ),
    "always fails": (
        f"{WHOLE}rules: [{{id: r, deny_if: 1 / 0 > 1}}]\n",
        "deny_if: it fails for every request: divide by zero",
    ),
    "impossible kind": (
        f"{WHOLE}rules: [{{id: r, deny_if: principal.kind == 'agnet'}}]\n",
        'principal.kind is never "agnet"',
    ),
    "impossible selector": (
        f"{WHOLE}ceilings: [{{id: c, for: {{kind: batch}}, max_output_tokens: 1}}]\n",
        '6:32: ceiling "c": for: principal.kind is never "batch"',
    ),
    "unknown selector": (
        f"{WHOLE}ceilings: [{{id: c, for: {{tenants: x}}, max_output_tokens: 1}}]\n",
        'unknown key "tenants"\n  hint: did you mean "tenant"?',
    ),
    "empty selector": (
        f"{WHOLE}ceilings: [{{id: c, for: {{tenant: []}}, max_output_tokens: 1}}]\n",
        "tenant is empty, so this selects nothing",
    ),
    "no ceiling": (
        f"{WHOLE}ceilings: [{{id: c, max_output_tokens: 0}}]\n",
        "max_output_tokens must be a whole number of at least 1",
    ),
    "impossible key of a table": (
        f"{HEAD}allow: [{{id: a, by: kind, models: {{batch: [m]}}}}]\n",
        '4:36: allow "a": principal.kind is never "batch"',
    ),
    "by without keys": (
        f"{HEAD}allow: [{{id: a, by: kind, models: [m]}}]\n",
        'with a plain list of models "by" means nothing',
    ),
    "blank": (f"{WHOLE}rules:\n", '"rules" has no value'),
    "octal": (
        f"{WHOLE}ceilings: [{{id: c, max_output_tokens: 0100}}]\n",
        "is an octal number to some readers",
    ),
    "twice in a list": (f"{WHOLE}lists: {{a: [x, x]}}\n", '"x" is twice in the list a'),
    "bad list name": (f"{WHOLE}lists: {{A-b: [x]}}\n", "is not the name of a list"),
    "duplicate id": (
        f"{WHOLE}ceilings: [{{id: a, max_output_tokens: 5}}]\n",
        '6:12: the id "a" is there twice\n  hint: the first is at p.policy.yaml:5;',
    ),
    "reserved id": (
        f"{WHOLE}rules: [{{id: policy_error, deny_if: request.stream}}]\n",
        "is the name of a reason that is built in",
    ),
    "duplicate rule": (
        (
            f"{WHOLE}rules:\n  - {{id: r, deny_if: ctx.env=='x'}}\n"
            "  - {id: s, deny_if: \"ctx.env  == 'x' // again\"}\n"
        ),
        '8:5: rule "s" matches what "r" matches',
    ),
    "duplicate allow": (
        f'{WHOLE}  - {{id: b, models: ["*"]}}\n',
        'allow "b" allows nothing that "a" does not',
    ),
    "allows nothing": (
        f"{HEAD}allow: [{{id: a, models: {{}}}}]\n",
        'allow "a" names no model, so it can never allow',
    ),
    "nothing allowed": (HEAD, "nothing is allowed, so every request is denied"),
    "dead ceiling": (
        (
            f"{WHOLE}ceilings:\n  - {{id: low, max_output_tokens: 5}}\n"
            "  - {id: high, for: {kind: agent}, max_output_tokens: 6}\n"
        ),
        '8:5: ceiling "high" never governs: "low" always does',
    ),
    "same ceiling": (
        (
            f"{WHOLE}ceilings:\n  - {{id: one, max_output_tokens: 5}}\n"
            "  - {id: two, max_output_tokens: 5}\n"
        ),
        'ceiling "two" never governs: "one" always does',
    ),
    "ceiling as low that denies": (
        (
            f"{WHOLE}ceilings:\n"
            "  - {id: one, max_output_tokens: 5, on_exceed: clamp}\n"
            "  - {id: two, max_output_tokens: 5}\n"
        ),
        '7:5: ceiling "one" never governs: "two" always does',
    ),
    "list by its absolute name": (
        (
            f"{WHOLE}lists: {{eu: [a]}}\n"
            "rules: [{id: r, deny_if: ctx.env in .lists.eu}]\n"
        ),
        "its lists cannot be put in",
    ),
    "list in a list": (f"{WHOLE}lists: {{eu: {{a: b}}}}\n", "must be a list of texts"),
    "number for a text": (f"{WHOLE}lists: {{eu: [5]}}\n", "put it in quotes"),
    "long list": (
        f"{WHOLE}lists: {{eu: {[f'a{one}' for one in range(1001)]}}}\n",
        "has more than 1000 items",
    ),
    "message alone is wrong in a folded block": (
        (
            f"{WHOLE}rules:\n  - id: r\n    deny_if: request.stream\n    message: >\n"
            "      'a' +\n\n      ctx.envv\n"
        ),
        'message: there is no "ctx.envv"',
    ),
    "empty environments": (
        f"{WHOLE}environments: [{{id: e, models: {{}}}}]\n",
        'environments "e" denies every request',
    ),
    "not a mapping": (f"{WHOLE}rules: [r]\n", "this must hold keys with values"),
    "not a list": (f"{WHOLE}rules: {{id: r}}\n", "rules must be a list"),
    "secret": (
        f"{WHOLE}lists: {{a: [sk-ant-api03-{'a' * 95}]}}\n",
        "secrets do not belong in the file",
    ),
}


@pytest.mark.parametrize("slip", sorted(SLIPS))
def test_each_slip_is_a_problem_with_its_place(slip: str) -> None:
    """A slip gives no policy, and one message that says where and what to do."""
    text, wanted = SLIPS[slip]
    bundle = bundle_of(text)

    assert bundle.policy is None
    assert wanted in said(bundle)
    if slip not in {"no head", "unknown key of a rule"}:  # where keys are missing, too
        assert len(bundle.problems) == 1, said(bundle)


def test_a_whole_file_is_read() -> None:
    """What is right has no problem and decides."""
    bundle = bundle_of(WHOLE)

    assert said(bundle) == ""
    assert bundle.policy is not None
    assert bundle.policy.ids() == ("a",)


CASE_SLIPS = {
    "unknown fact": ("{request.max_tokenz: 4}", 'did you mean "request.max_tokens"?'),
    "unknown key": ("{ctx.env: x}, wiht: {}", 'unknown key "wiht"'),
}


@pytest.mark.parametrize("slip", sorted(CASE_SLIPS))
def test_a_slip_in_a_test_file_is_a_problem(slip: str) -> None:
    """A test that would test something else is refused."""
    changes, wanted = CASE_SLIPS[slip]
    text = f"tests: [{{name: n, with: {changes}, expect: {{decision: allow}}}}]\n"

    assert wanted in said(bundle_of(WHOLE, text))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tests: [{name: n, expect: {}}]\n", "this expects nothing"),
        ("tests: [{name: n}]\n", "it has no expect"),
        ("tests: [{expect: {decision: deny}}]\n", "it has no name"),
        ("tests: [{name: n, expect: {decision: maybe}}]\n", 'cannot be "maybe"'),
        ("tests: [{name: n, expect: {clamped: 1}}]\n", "must be true or false"),
        ("policy: q.policy.yaml\ntests: []\n", 'there is no "q.policy.yaml" here'),
        ("defaults: {ctx: {envv: x}}\ntests: []\n", 'unknown key "envv"'),
        ("tests:\n" + "- {name: n, expect: {ceiling: c}}\n" * 2, "is there twice"),
    ],
)
def test_a_test_that_says_nothing_is_a_problem(text: str, wanted: str) -> None:
    """Every case has a name of its own and expects something that can be."""
    assert wanted in said(bundle_of(WHOLE, text))


def test_the_revision_is_of_the_content_alone(tmp_path: Path) -> None:
    """Place, order, line ends and tests do not change it; a word does."""
    first = read_bundle([EXAMPLES]).revision
    text = (EXAMPLES / "acme.policy.yaml").read_bytes()
    other = tmp_path / "acme.policy.yaml"
    other.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))

    assert read_bundle([tmp_path]).revision == first
    other.write_bytes(text.replace(b"1024", b"1025"))
    assert read_bundle([tmp_path]).revision != first
    assert first.startswith("sha256:")


def test_files_and_folders_may_be_named(tmp_path: Path) -> None:
    """A test file brings its folder's policies; what is not there is a problem."""
    (tmp_path / "p.policy.yaml").write_text(WHOLE)
    cases = tmp_path / "p.policy_test.yaml"
    cases.write_text("tests: [{name: n, expect: {decision: allow}}]\n")
    (tmp_path / "other.yaml").write_text("x: 1\n")

    assert len(read_bundle([cases]).cases) == 1
    assert len(read_bundle([tmp_path, cases]).cases) == 1
    assert said(read_bundle([tmp_path])) == ""
    assert "no such file" in said(read_bundle([tmp_path / "none"]))
    assert "neither a *.policy.yaml" in said(read_bundle([tmp_path / "other.yaml"]))
    (tmp_path / "empty").mkdir()
    assert "no *.policy.yaml" in said(read_bundle([tmp_path / "empty"]))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A mebibyte is more than people review."""
    (tmp_path / "p.policy.yaml").write_text(WHOLE + "#" * 2**20)

    assert "the file is larger than 1 MiB" in said(read_bundle([tmp_path]))


def test_what_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    """A folder of a policy file's name is no file."""
    (tmp_path / "p.policy.yaml").mkdir()

    assert "the file cannot be read" in said(read_bundle([tmp_path]))


def test_a_table_and_a_ceiling_may_have_a_condition() -> None:
    """`when` is checked as conditions of rules are."""
    text = f"{HEAD}allow: [{{id: a, models: [m], when: ctx.env == 'x'}}]\n"

    assert said(bundle_of(text)) == ""
    assert 'when: there is no "ctx.envv"' in said(
        bundle_of(text.replace("env", "envv"))
    )


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """The revision could not tell which is which."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.policy.yaml").write_text(WHOLE)

    bundle = read_bundle([tmp_path / "a", tmp_path / "b"])
    assert "another file of the bundle is named p.policy.yaml" in said(bundle)


def test_ids_are_unique_over_all_files(tmp_path: Path) -> None:
    """Two files hold together, so an id in both would be two things."""
    (tmp_path / "p.policy.yaml").write_text(WHOLE)
    (tmp_path / "q.policy.yaml").write_text(WHOLE)

    text = said(read_bundle([tmp_path]))
    assert 'the policy set "p" is there twice' in text
    assert 'the id "a" is there twice' in text


def test_tables_alone_do_not_load_the_engine() -> None:
    """A worker whose bundle has no conditions does without 50 MB."""
    program = (
        "import sys; from comptroller.bootstrap.policies import policy_reader\n"
        "from comptroller.adapters.policy.reading import Content\n"
        "text = sys.stdin.buffer.read()\n"
        "name = 'p.policy.yaml'\n"
        "read = policy_reader().read_contents([Content(name, name, text)])\n"
        "assert read.policy is not None\n"
        "print('cel_expr_python' in sys.modules)"
    )
    for text, is_loaded in (
        (WHOLE, False),
        (f"{WHOLE}rules: [{{id: r, deny_if: request.stream}}]\n", True),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == f"{is_loaded}\n"
