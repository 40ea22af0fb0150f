"""Seeds in which messages are late, lost or repeated, and the store is away."""

from __future__ import annotations

import pytest

from comptroller.testing.simulation.seeds import BLOCKS, broken_in


@pytest.mark.parametrize("block", BLOCKS)
def test_every_invariant_holds_while_messages_are_lost(block: int) -> None:
    """Late, lost and repeated messages, and a store that is not there."""
    assert broken_in("network", block) is None
