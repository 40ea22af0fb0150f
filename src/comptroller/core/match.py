"""Matching a model's name: the price catalogue's rules as plain data.

The same meaning as genai-prices gives them, so that a name leads to the entry that
the catalogue itself would choose. Texts are compared without case; patterns are
searched in the lower-cased name.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_COMPACT_DATE: Final = re.compile(
    r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)"
)

TEXT_KINDS: Final = frozenset(
    {"equals", "starts_with", "ends_with", "contains", "regex"}
)
"""Kinds of clauses that hold a text; `any` and `all` hold parts."""


class Clause(NamedTuple):
    """One condition on a name."""

    kind: str
    """`equals`, `starts_with`, `ends_with`, `contains`, `regex`, `any` or `all`."""
    text: str = ""
    parts: tuple[Clause, ...] = ()
    """The conditions of `any` and `all`."""


def matches(clause: Clause, name: str) -> bool:
    """Tells whether a lower-cased name meets the clause.

    Raises:
        ValueError: the clause is of no known kind.
    """
    kind, text, parts = clause
    if kind == "any":
        return any(matches(part, name) for part in parts)
    if kind == "all":
        return all(matches(part, name) for part in parts)
    if kind == "regex":
        return re.search(text, name) is not None
    return _matches_text(kind, text.lower(), name)


def with_dashed_date(name: str) -> str:
    """Writes a compact date in a name with dashes: `-20251211` → `-2025-12-11`."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


def _matches_text(kind: str, text: str, name: str) -> bool:
    match kind:
        case "equals":
            return name == text
        case "starts_with":
            return name.startswith(text)
        case "ends_with":
            return name.endswith(text)
        case "contains":
            return text in name
        case _:
            raise ValueError(f"unknown kind of clause: {kind!r}")
