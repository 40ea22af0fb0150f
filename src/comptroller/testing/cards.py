"""Fake of the rate card archive."""

from __future__ import annotations

from comptroller.core.rates import RateCard


class InMemoryCards:
    """The RateCards port in memory.

    Satisfies `engine.ports.RateCards`.
    """

    def __init__(self) -> None:
        self._cards: dict[str, RateCard] = {}

    def keep(self, card: RateCard) -> None:
        """Keeps a card; keeping it again changes nothing."""
        self._cards.setdefault(card.version, card)

    def card(self, version: str) -> RateCard | None:
        """The card of a version; None: it is not kept here."""
        return self._cards.get(version)
