from __future__ import annotations

import pytest

from comptroller.core.match import Clause, matches, with_dashed_date


@pytest.mark.parametrize(
    ("clause", "yes", "no"),
    [
        (Clause("equals", "O3"), "o3", "o3-mini"),
        (Clause("starts_with", "o3-"), "o3-mini", "o3"),
        (Clause("ends_with", "-Mini"), "o3-mini", "o3-mini-high"),
        (Clause("contains", "claude"), "eu.claude-5", "gpt-5"),
        (Clause("regex", r"^(?!.*-tts$).*pro"), "gemini-pro", "gemini-pro-tts"),
    ],
)
def test_a_clause_matches_what_it_says(clause: Clause, yes: str, no: str) -> None:
    """Each kind of clause tells a name that meets it from one that does not."""
    assert matches(clause, yes)
    assert not matches(clause, no)


def test_clauses_combine() -> None:
    """`any` needs one part, `all` every part."""
    parts = (Clause("starts_with", "a"), Clause("ends_with", "z"))

    assert matches(Clause("any", parts=parts), "abc")
    assert not matches(Clause("all", parts=parts), "abc")
    assert matches(Clause("all", parts=parts), "abz")


def test_an_unknown_kind_of_clause_is_an_error() -> None:
    """A rule that is not understood never counts as not met."""
    with pytest.raises(ValueError, match="sounds_like"):
        matches(Clause("sounds_like", "x"), "x")


def test_a_compact_date_is_dashed() -> None:
    """Only a real date at the end of a part of the name is rewritten."""
    assert with_dashed_date("gpt-5.2-20251211") == "gpt-5.2-2025-12-11"
    assert with_dashed_date("gpt-5.2-20251399") == "gpt-5.2-20251399"
    assert with_dashed_date("gpt-5.2-2025121") == "gpt-5.2-2025121"
