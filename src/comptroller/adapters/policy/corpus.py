"""Recorded facts: one JSON document a line, to decide again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from comptroller.core.errors import InvalidArgumentError

LINES_MAX: Final = 1_000_000


def read_facts(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Reads facts, each with its name.

    A line holds the facts themselves, or them under `facts` beside an `id`.

    Raises:
        InvalidArgumentError: the file cannot be read, or a line holds no facts.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from error
    if len(lines) > LINES_MAX:
        raise InvalidArgumentError(f"{path} has more than {LINES_MAX:,} lines")
    return [
        _facts(path, number, line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _facts(path: Path, number: int, line: str) -> tuple[str, dict[str, Any]]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{path}:{number}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"{path}:{number}: not an object")
    facts = found.get("facts", found)
    if not isinstance(facts, dict):
        raise InvalidArgumentError(f"{path}:{number}: its facts are not an object")
    return str(found.get("id", f"line {number}")), facts
