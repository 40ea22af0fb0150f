"""Problems of files that people write: where, what is wrong, what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

_CHARS_MAX: Final = 400
"""A message repeats what was written, and that may be of any length."""


class Place(NamedTuple):
    """A place in a file; line and column count from 1, 0: the file as a whole."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(NamedTuple):
    """One thing that is wrong, for a person to put right."""

    place: Place
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        first = f"{self.place}: {self.what}"
        return f"{first}\n  hint: {self.hint}" if self.hint else first

    def printable(self) -> Problem:
        """The same, safe to print: without control characters, and not endless."""
        hint = _printable(self.hint) if self.hint is not None else None
        return Problem(self.place, _printable(self.what), hint)

    def as_dict(self) -> dict[str, str | int | None]:
        """Its parts, as `--json` prints them."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "what": self.what,
            "hint": self.hint,
        }


def _printable(text: str) -> str:
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
        for one in text[:_CHARS_MAX]
    )
    return shown + "…" if len(text) > _CHARS_MAX else shown


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, or None when none is near."""
    folded = {one.casefold(): one for one in candidates}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(word: str, candidates: Iterable[str], what: str) -> str:
    """A hint that names the nearest candidate, or else what there is.

    Args:
        word: what was written.
        candidates: what could have been written.
        what: the candidates in the plural, such as `people`.
    """
    known = sorted(candidates)
    near = nearest(word, known)
    if near is not None:
        return f'did you mean "{near}"?'
    if not known:
        return f"no {what} are declared"
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return f"{what}: {listed}"
