"""Turns: which of several deployments comes next, by their weights.

Smooth weighted round robin, as nginx does it: over any run of requests each gets
its share, and a heavy one is not asked many times in a row. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Turns:
    """The turns of the deployments of one model.

    Args:
        weights: the share of each against the others, from 1.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._total = sum(weights)
        self._credit = [0] * len(self._weights)

    def order(self) -> list[int]:
        """The places in the order in which to try them; whoever is first has the turn.

        Equal ones stand as declared. Asking changes nothing.
        """
        due = [was + weight for was, weight in self._due()]
        return sorted(range(len(due)), key=lambda place: -due[place])

    def take(self) -> None:
        """Ends the turn of the first, whether or not it was the one that served."""
        first = self.order()[0]
        self._credit = [was + weight for was, weight in self._due()]
        self._credit[first] -= self._total

    def _due(self) -> Iterator[tuple[int, int]]:
        return zip(self._credit, self._weights, strict=True)
