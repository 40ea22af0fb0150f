from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.wire.counts import (
    COUNT_MAX,
    block,
    count,
    first_count,
    inner,
    nano_usd,
    repaired,
    text_bytes,
    text_or_none,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (0, 0),
        ("17", 17),
        (Decimal("7.0"), 7),
        (Decimal("7.5"), 0),
        (Decimal("1e999999"), 0),
        (Decimal(-1), 0),
        (-1, 0),
        (True, 0),
        (None, 0),
        ("-7", 0),
        ("\u0667", 0),
        ("9" * 30, 0),
        (COUNT_MAX, COUNT_MAX),
        (COUNT_MAX + 1, 0),
        ([7], 0),
        ({}, 0),
    ],
)
def test_count_reads_counts_and_nothing_else(value: object, expected: int) -> None:
    """Whole numbers in any writing are counts; everything else is missing."""
    assert count(value) == expected


@given(st.binary(max_size=60))
def test_a_usage_block_is_read_or_not(raw: bytes) -> None:
    """No bytes make reading a block raise."""
    found = block(raw)
    assert found is None or all(count(value) >= 0 for value in found.values())


@pytest.mark.parametrize("raw", [b"1" * 6000, b'{"a":' + b"1" * 6000 + b"}"])
def test_absurd_numbers_do_not_raise(raw: bytes) -> None:
    """A number of thousands of digits is no count and no crash."""
    found = block(raw)
    assert found is None or count(found["a"]) == 0


def test_floats_are_read_exactly() -> None:
    """A cost of many digits keeps them all."""
    found = block(b'{"cost":0.123456789012345678}')
    assert found == {"cost": Decimal("0.123456789012345678")}
    assert nano_usd(found["cost"]) == 123_456_789


def test_the_first_real_count_wins() -> None:
    """Missing and zero fall through to the next place it may stand."""
    assert first_count(None, 0, "x", 4, 9) == 4
    assert first_count() == 0


def test_inner_finds_the_first_object() -> None:
    """Null details and other shapes count as none."""
    assert inner({"a": None, "b": {"x": 1}}, "a", "b") == {"x": 1}
    assert inner({"a": 3}, "a") == {}


@given(st.text())
def test_text_bytes_are_utf8_bytes(text: str) -> None:
    """The size of a text is that of its UTF-8."""
    assert text_bytes(text) == len(text.encode("utf-8", "replace"))


def test_what_is_no_text_is_none() -> None:
    """Only a string with something in it is a name."""
    assert text_or_none("m") == "m"
    assert text_or_none("") is None
    assert text_or_none(5) is None
    assert text_bytes(None) == 0


def test_repair_reads_what_strict_parsers_refuse() -> None:
    """Half a surrogate pair and NaN are replaced, all else is kept."""
    assert repaired(b'{"a":"x\\ud83d","b":NaN,"c":[1,2.5]}') == (
        b'{"a": "x?", "b": null, "c": [1, 2.5]}'
    )
    assert repaired(b"{") is None
    assert repaired(b"[" * 200_000) is None
    assert repaired(b" " * (5 * 1024 * 1024)) is None
