"""Every PromptScanner: finds by rule and third, and refuses what is too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.errors import ScanLimitError
from comptroller.core.policy.prompt import Match, Place, PromptText
from comptroller.engine.scanning import PromptScanner
from comptroller.testing.scanner import WordScanner

WORD = "ana.silva@acme-bank.de"
RULE = "personal.email"
SCANNERS: dict[str, PromptScanner] = {
    "real": RE2Scanner(scan_bytes_max=10_000),
    "fake": WordScanner({RULE: WORD}, scan_bytes_max=10_000),
}


@pytest.fixture(params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> PromptScanner:
    return SCANNERS[request.param]


def text(said: str, place: Place = Place.USER) -> PromptText:
    return PromptText(place, said)


def test_its_rules_have_a_group_and_a_name(scanner: PromptScanner) -> None:
    """Sorted, so that they can be shown."""
    assert RULE in scanner.rules
    assert list(scanner.rules) == sorted(scanner.rules)
    assert all(rule.count(".") >= 1 for rule in scanner.rules)


@pytest.mark.parametrize(
    ("before", "after", "third"),
    [(0, 900, "first"), (450, 450, "middle"), (900, 0, "last")],
)
def test_a_match_has_the_third_in_which_it_begins(
    scanner: PromptScanner, before: int, after: int, third: str
) -> None:
    """Of the place's own text, whatever else there is."""
    said = " " * before + WORD + " " * after
    found = scanner.scan([text("quiet", Place.SYSTEM), text(said)])

    assert found == [Match(RULE, f"user/{third}")]


def test_a_match_is_told_once_for_each_third(scanner: PromptScanner) -> None:
    """However often it is there."""
    found = scanner.scan([text(f"{WORD} " * 30), text(WORD, Place.TOOL)])

    assert len(found) == len(set(found)) == 4
    assert {match.offset_class.partition("/")[0] for match in found} == {"user", "tool"}


def test_nothing_has_no_match(scanner: PromptScanner) -> None:
    """No texts, and empty ones."""
    assert scanner.scan([]) == []
    assert scanner.scan([text(""), text("", Place.OTHER)]) == []


def test_too_much_is_refused_and_not_scanned_in_part(scanner: PromptScanner) -> None:
    """All the places count together, and in bytes."""
    with pytest.raises(ScanLimitError):
        scanner.scan([text("ä" * 4000), text(WORD + " " * 4000, Place.TOOL)])

    assert scanner.scan([text("a" * 4000), text("b" * 4000, Place.TOOL)]) == []


@pytest.mark.parametrize("kind", SCANNERS)
@given(said=st.text(max_size=300))
def test_any_text_can_be_scanned_and_none_comes_back(kind: str, said: str) -> None:
    """A match holds a rule's name and an offset class, nothing else."""
    found = SCANNERS[kind].scan([text(said)])
    classes = {f"user/{third}" for third in ("first", "middle", "last")}

    assert {match.rule for match in found} <= set(SCANNERS[kind].rules)
    assert {match.offset_class for match in found} <= classes
