from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from comptroller.adapters.configfile.reading import read_contents
from comptroller.core.problem import Place, Problem, did_you_mean

PRINTED = (Path(__file__).parent / "printed.yaml").read_text()


class Case(NamedTuple):
    """One slip: what is written instead, and the one problem that comes of it."""

    name: str
    old: str
    new: str
    at: str
    """The problem is where this begins."""
    what: str
    hint: str | None


CASES = [
    Case(**slip)
    for slip in yaml.safe_load((Path(__file__).parent / "slips.yaml").read_text())
]


def place(text: str, marker: str) -> tuple[int, int]:
    """Line and column of a marker's first character that is not blank space."""
    start = text.index(marker)
    start += len(marker) - len(marker.lstrip("\n")) if "\t" not in marker else 0
    before = text[:start]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_slip_gives_one_problem_with_its_place_and_hint(case: Case) -> None:
    """A slip gives exactly one problem: where, what, and what was meant."""
    assert PRINTED.count(case.old) >= 1
    text = PRINTED.replace(case.old, case.new, 1)
    hint = case.hint
    if hint is not None and "{line:" in hint:
        marker = hint.partition("{line:")[2].partition("}")[0]
        hint = hint.replace(f"{{line:{marker}}}", str(place(text, marker)[0]))

    found = read_contents([("c.yaml", text.encode())])

    expected = Problem(Place("c.yaml", *place(text, case.at)), case.what, hint)
    assert list(found.problems) == [expected]
    assert found.registry is None
    assert "s3cr3t" not in "".join(str(one) for one in found.problems)


TOGETHER = {
    "unknown-key-of-a-person",
    "no-unit-owner",
    "owner-who-is-not-declared",
    "escalation-to-a-stranger",
    "model-that-does-not-exist",
    "provider-that-does-not-exist",
    "the-same-address-twice",
    "amount-in-another-currency",
    "percentage-without-a-sign",
    "rate-abbreviated",
    "rate-of-nothing",
    "limit-of-less-than-nothing",
    "timezone-without-a-region",
    "url-with-a-path",
    "secret-with-a-known-shape",
    "kind-that-does-not-exist",
    "price-dearer-than-anything",
    "size-in-other-units",
    "id-with-capitals",
    "number-as-text",
}


def test_all_problems_are_reported_at_once() -> None:
    """Twenty slips in one file give their twenty problems, in the file's order."""
    slips = [case for case in CASES if case.name in TOGETHER]
    text = PRINTED
    for case in slips:
        assert text.count(case.old) >= 1, case.name
        text = text.replace(case.old, case.new, 1)

    problems = read_contents([("c.yaml", text.encode())]).problems

    assert len(slips) == 20
    assert {one.what for one in problems} == {case.what for case in slips}
    places = [one.place for one in problems]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("models", "threshold"),
    [("small, house-model", "house-model"), ("gpt-5-mini, house-model", "small")],
)
def test_a_reference_to_a_model_is_by_its_id(models: str, threshold: str) -> None:
    """Only callers use aliases: in the file one name stands for a model."""
    text = (
        PRINTED.replace("{provider: openai}", "{provider: openai, aliases: [small]}")
        .replace("[gpt-5-mini, house-model]", f"[{models}]")
        .replace("alert_at: [50%, 80%, 95%]", f"on_threshold: {{80%: use {threshold}}}")
    )

    (problem,) = read_contents([("c.yaml", text.encode())]).problems

    assert problem.what == (
        'service "checkout-assistant": "small" is an alias of "gpt-5-mini"'
    )
    assert problem.hint == 'write "gpt-5-mini": callers may use either name'


def test_a_problem_reads_as_place_what_and_hint() -> None:
    """It is printed as `file:line:column: what` with the hint on the next line."""
    problem = Problem(Place("c.yaml", 3, 7), "this is wrong", 'did you mean "x"?')

    assert str(problem) == 'c.yaml:3:7: this is wrong\n  hint: did you mean "x"?'


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A message shows an escape sequence as text, and a long value is cut."""
    text = PRINTED.replace("Europe/Amsterdam", '"\\e[31m' + "x" * 1000 + '"')

    (problem,) = read_contents([("c.yaml", text.encode())]).problems

    assert problem.what.startswith('timezone: "\\x1b[31mxxx')
    assert problem.what.endswith("…")
    assert str(problem).isprintable() or "\n" in str(problem)


def test_a_hint_names_the_nearest_or_what_there_is() -> None:
    """What is near is suggested; else a few that exist, or that there are none."""
    many = [f"model-{number}" for number in range(20)]

    assert did_you_mean("Gpt", ["gpt", "llama"], "models") == 'did you mean "gpt"?'
    assert did_you_mean("xyz", ["gpt", "llama"], "models") == "models: gpt, llama"
    assert did_you_mean("xyz", many, "models").endswith(", model-15, …")
    assert did_you_mean("xyz", [], "models") == "no models are declared"
