from __future__ import annotations

import pytest

from comptroller.core.money import usd


@pytest.mark.parametrize(
    ("amount", "places", "shown"),
    [
        (1_006_250, 6, "0.001006"),
        (6_901_800, 6, "0.006902"),
        (500, 6, "0.000001"),
        (499, 6, "0.000000"),
        (-500, 6, "-0.000001"),
        (-499, 6, "0.000000"),
        (999_999_999, 6, "1.000000"),
        (1_234_567_890_123_456_789, 9, "1,234,567,890.123456789"),
        (1, 9, "0.000000001"),
        (1_500_000_000, 0, "2"),
    ],
)
def test_amounts_are_rounded_not_cut(amount: int, places: int, shown: str) -> None:
    """A list of amounts must not always say less than was spent."""
    assert usd(amount, places) == shown
