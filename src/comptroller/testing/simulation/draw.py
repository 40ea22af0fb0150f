"""Draws: everything that is left to chance in a simulation, from one seed."""

from __future__ import annotations

import random  # noqa: TID251  the seed is the caller's
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A repeatable source of chance."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  repeatable is the point

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self._random.random() < probability

    def whole(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + int(self._random.random() * (most - least + 1))

    def real(self, least: float, most: float) -> float:
        """A number in between."""
        return least + self._random.random() * (most - least)

    def one(self, among: Sequence[T]) -> T:
        """One of several."""
        return among[int(self._random.random() * len(among))]

    def some(self, among: Sequence[T], least: int, most: int) -> list[T]:
        """So many different ones, in their order."""
        count = min(len(among), self.whole(least, most))
        taken = set(self._random.sample(range(len(among)), count))
        return [each for place, each in enumerate(among) if place in taken]

    def about(self, mean: float) -> float:
        """A duration: most are short, a few are long."""
        return self._random.expovariate(1 / mean)
