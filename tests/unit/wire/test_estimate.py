from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.wire.estimate import estimate_usage
from comptroller.wire.routes import Operation


@pytest.mark.parametrize(
    ("size", "tokens"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (4001, 1001)]
)
def test_estimates_round_up(size: int, tokens: int) -> None:
    """A quarter of the bytes, rounded up, and at least one."""
    usage = estimate_usage(Operation.CHAT, size, size)
    assert usage == {"input": tokens, "output": tokens}


@given(st.sampled_from(Operation), st.integers(0, 2**40), st.integers(0, 2**40))
def test_an_estimate_is_never_nothing(
    operation: Operation, asked: int, made: int
) -> None:
    """Whatever was asked cost something; embeddings generate nothing."""
    usage = estimate_usage(operation, asked, made)
    assert usage["input"] > 0
    assert ("output" in usage) is (operation is not Operation.EMBEDDINGS)
    assert usage.get("output", 1) > 0
