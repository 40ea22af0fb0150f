"""Seeds in which the power goes, and disks are lost with what was on them."""

from __future__ import annotations

import pytest

from comptroller.testing.simulation.seeds import BLOCKS, broken_in


@pytest.mark.parametrize("block", BLOCKS)
def test_every_invariant_holds_while_machines_are_lost(block: int) -> None:
    """Power losses, failed disks, and journals that are gone with their node."""
    assert broken_in("ruin", block) is None
