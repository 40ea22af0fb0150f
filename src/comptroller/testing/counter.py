"""Fake of the tokenizers: every word and every other character is a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_TOKEN: Final = re.compile(r"\w+|\W")


class WordCounter:
    """The TokenCounter port: loaded when it is asked for the second time.

    Satisfies `engine.ports.TokenCounter`.

    Args:
        encodings: those that there are.
    """

    def __init__(self, *encodings: str) -> None:
        self._encodings = encodings
        self._asked: set[str] = set()

    def counter(self, encoding: str) -> Callable[[str], int] | None:
        """Counts a text's words; None: not loaded yet, or there is no such one."""
        if encoding not in self._encodings:
            return None
        if encoding not in self._asked:
            self._asked.add(encoding)
            return None
        return lambda text: len(_TOKEN.findall(text))
