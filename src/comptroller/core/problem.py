"""Problems of files that people write: where, what is wrong, what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final, NamedTuple

_CHARS_MAX: Final = 400
"""A message repeats what was written, and that may be of any length."""
_EXCERPT_CHARS_MAX: Final = 100


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
    excerpt: tuple[str, int] | None = None
    """A line of what was written, and the column, from 1, that a caret points at."""

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.what}"]
        if self.excerpt is not None:
            text, column = self.excerpt
            lines += [f"  | {text}", f"  | {' ' * (column - 1)}^"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def printable(self) -> Problem:
        """The same, safe to print: without control characters, and not endless."""
        hint = _printable(self.hint) if self.hint is not None else None
        return Problem(self.place, _printable(self.what), hint, self._narrow())

    def _narrow(self) -> tuple[str, int] | None:
        """The excerpt on one line of a terminal, around what its caret points at."""
        if self.excerpt is None:
            return None
        text, column = self.excerpt
        begin = max(0, column - 1 - _EXCERPT_CHARS_MAX // 2)
        part = text[begin : begin + _EXCERPT_CHARS_MAX]
        shown = "".join(one if one.isprintable() else " " for one in part)
        return shown, column - begin

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
