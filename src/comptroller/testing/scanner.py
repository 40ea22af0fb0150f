"""Fake of the scanner: it knows a few words, and no forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comptroller.core.errors import ScanLimitError
from comptroller.core.policy.prompt import Match, PromptText

THIRDS = ("first", "middle", "last")


class WordScanner:
    """The PromptScanner port: a rule matches where its word is.

    Satisfies `engine.scanning.PromptScanner`.

    Args:
        words: by rule.
        scan_bytes_max: more text than that is refused.
    """

    def __init__(
        self, words: Mapping[str, str], *, scan_bytes_max: int = 1024 * 1024
    ) -> None:
        self._words = dict(words)
        self._bytes_max = scan_bytes_max

    @property
    def rules(self) -> tuple[str, ...]:
        """Those that have a word, sorted."""
        return tuple(sorted(self._words))

    def scan(self, texts: Iterable[PromptText]) -> list[Match]:
        """Finds the words."""
        found: dict[Match, None] = {}
        taken = 0
        for place, text in texts:
            taken += len(text.encode(errors="replace"))
            if taken > self._bytes_max:
                raise ScanLimitError("there is too much text")
            for rule, word in self._words.items():
                start = text.find(word)
                while start >= 0:
                    third = THIRDS[start * 3 // len(text)]
                    found[Match(rule, f"{place.value}/{third}")] = None
                    start = text.find(word, start + len(word))
        return list(found)
