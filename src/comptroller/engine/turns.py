"""Turns: which of several deployments comes next, by their weights.

Smooth weighted round robin, as nginx does it: over any run of requests each gets
its share, and a heavy one is not asked many times in a row. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Sequence


class Turns:
    """The turns of the deployments of one model.

    Args:
        weights: the share of each against the others, from 1.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._total = sum(weights)
        self._credit = [0] * len(self._weights)

    def next(self) -> list[int]:
        """The places in the order in which to try them; counts as the first's turn."""
        credit = self._credit
        for place, weight in enumerate(self._weights):
            credit[place] += weight
        order = sorted(range(len(credit)), key=lambda place: -credit[place])
        credit[order[0]] -= self._total
        return order
