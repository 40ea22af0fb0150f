"""Which act was in force at a time: boundaries, and a clock that was set back."""

from __future__ import annotations

import pytest

from comptroller.engine.control_history import BEFORE_ALL, doubled, in_force


@pytest.mark.parametrize(
    ("times", "at", "expected"),
    [
        ([], 5, (BEFORE_ALL,)),
        ([10], 9, (BEFORE_ALL,)),
        ([10], 10, (0,)),
        ([10, 20], 19, (0,)),
        ([10, 20], 20, (1,)),
        ([10, 10, 20], 10, (1,)),
        ([10, 20], 10**18, (1,)),
    ],
)
def test_an_act_is_in_force_from_its_time_until_the_next(
    times: list[int], at: int, expected: tuple[int, ...]
) -> None:
    """The moment of an act is the first of its own; of two at once the later one's."""
    assert in_force(times, at) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (50, (0,)),
        (89, (0,)),
        (90, (0, 1, 2)),
        (95, (0, 1, 2)),
        (99, (0, 1, 2)),
        (100, (2,)),
        (150, (2,)),
        (200, (3,)),
    ],
)
def test_a_time_that_a_clock_showed_twice_names_no_one_act(
    at: int, expected: tuple[int, ...]
) -> None:
    """Between 90 and 100 three acts may have been in force; elsewhere it is clear."""
    assert in_force([10, 100, 90, 200], at) == expected


def test_set_back_before_the_first_act() -> None:
    """Then nothing may have been in force, too."""
    assert in_force([100, 50], 70) == (BEFORE_ALL, 0, 1)
    assert in_force([100, 50], 30) == (BEFORE_ALL,)
    assert in_force([100, 50], 120) == (1,)


def test_the_spans_that_were_doubled() -> None:
    """Each from where the clock was set to, until where it was."""
    assert doubled([10, 100, 90, 200, 150]) == [(90, 100), (150, 200)]
    assert doubled([1, 1, 2]) == []
