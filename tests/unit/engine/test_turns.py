"""Turns of deployments: by weight, spread evenly, and only counted when taken."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from comptroller.engine.turns import Turns


def served(turns: Turns, count: int) -> list[int]:
    """Which place had each of so many turns."""
    places = []
    for _ in range(count):
        places.append(turns.order()[0])
        turns.take()
    return places


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_each_place_gets_its_share_of_every_round(weights: list[int]) -> None:
    """Over as many turns as the weights add up to, exactly its weight."""
    turns = Turns(weights)

    for _ in range(3):
        counted = Counter(served(turns, sum(weights)))
        assert [counted[place] for place in range(len(weights))] == weights


def test_a_heavy_place_is_not_asked_all_its_times_in_a_row() -> None:
    """Three to one: the light one comes in between."""
    assert served(Turns([3, 1]), 8) == [0, 0, 1, 0, 0, 0, 1, 0]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 30))
def test_asking_for_the_order_takes_no_turn(weights: list[int], before: int) -> None:
    """A request that is asked twice about has one turn; all places are in the order."""
    turns = Turns(weights)
    served(turns, before)

    order = turns.order()

    assert turns.order() == order
    assert sorted(order) == list(range(len(weights)))
