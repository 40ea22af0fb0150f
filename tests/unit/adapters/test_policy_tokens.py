from __future__ import annotations

import pytest

from comptroller.adapters.policy.tokens import (
    call_of,
    comparisons,
    inline,
    normal_form,
    tokens,
)


def test_a_path_is_one_word_where_it_begins_a_name() -> None:
    """Dots join names, also around blanks; after a call they do not."""
    words = [(one.kind, one.text) for one in tokens("ctx . env.size() && a().b.c")]

    assert words[0] == ("path", "ctx.env.size")
    assert words[-4:] == [("sign", "."), ("path", "b"), ("sign", "."), ("path", "c")]


@pytest.mark.parametrize(
    "text",
    ["'a b'", '"a // b"', r"'it\'s'", "r'\\d+'", "'''a\n'b' '''", 'b"x"', '"""x"y"""'],
)
def test_a_literal_text_is_one_word(text: str) -> None:
    """Blanks, quotes, comments and names inside texts are text."""
    assert [one.text for one in tokens(f"x == {text} // x")] == ["x", "==", text]


def test_blanks_and_comments_do_not_tell_expressions_apart() -> None:
    """What means the same has the same normal form; other texts have not."""
    assert normal_form("a==  'x y' // why") == normal_form("a == 'x y'")
    assert normal_form("a == 'x y'") != normal_form("a == 'x  y'")


def test_lists_are_written_in_where_they_are_named() -> None:
    """Only the path itself is replaced: no text, no longer name, no member."""
    lists = {"lists.eu": ("a", 'b"\\', "é\n")}
    said = "x in lists.eu && 'lists.eu' != y.lists.eu && lists.eu.size() > lists.eu_x"

    assert inline(said, lists) == (
        'x in ["a", "b\\"\\\\", "é\\n"] && \'lists.eu\' != y.lists.eu && '
        '["a", "b\\"\\\\", "é\\n"].size() > lists.eu_x'
    )


def test_comparisons_with_literals_are_found() -> None:
    """By == and != on either side, and by `in` with a list of literals."""
    said = "a.b == 'x' || 'y' != a.c || a.d in ['p', q, \"r\"] || s == 'a\\'b'"

    assert [(one.path, one.text) for one in comparisons(said)] == [
        ("a.b", "x"),
        ("a.c", "y"),
        ("a.d", "p"),
        ("a.d", "r"),
    ]


def test_a_call_is_found_by_its_name() -> None:
    """A member of that name is another function."""
    assert call_of("x && has(y.z)", "has") == 5
    assert call_of("x.has(y) && 'has(' == z && has", "has") is None
