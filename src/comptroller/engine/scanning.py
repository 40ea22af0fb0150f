"""The port to what looks for patterns in prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from comptroller.core.policy.prompt import Match, PromptText


class PromptScanner(Protocol):
    """Patterns for secrets and personal data, looked for in linear time."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule there is, sorted: `secret.NAME` and `personal.NAME`."""

    def scan(self, texts: Iterable[PromptText]) -> list[Match]:
        """Finds which rules match, and in which third of whose text.

        Args:
            texts: of one prompt, each place once. Nothing of them is kept.

        Returns:
            Each rule and offset class once, in no particular order; never any text.

        Raises:
            ScanLimitError: there is too much of it, or it takes too long; nothing is
                known of the prompt then.
        """
