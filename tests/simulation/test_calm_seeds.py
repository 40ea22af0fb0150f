"""Seeds in which nothing fails: here most is asked, honest refusals above all."""

from __future__ import annotations

import pytest

from comptroller.testing.simulation.seeds import BLOCKS, broken_in


@pytest.mark.parametrize("block", BLOCKS)
def test_every_invariant_holds_while_nothing_fails(block: int) -> None:
    """Whoever asks, and whatever is declared meanwhile."""
    assert broken_in("calm", block) is None
