"""Seeds in which processes die, at any step, and stand still for as long."""

from __future__ import annotations

import pytest

from comptroller.testing.simulation.seeds import BLOCKS, broken_in


@pytest.mark.parametrize("block", BLOCKS)
def test_every_invariant_holds_while_processes_die(block: int) -> None:
    """Workers and the centre, killed between any two steps, or paused."""
    assert broken_in("crashes", block) is None
