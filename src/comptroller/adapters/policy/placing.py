"""Where a character of an expression stands in the file that it was read from."""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.adapters.policy.language import Fault
from comptroller.core.problem import Place, Problem


def problem_of(
    fault: Fault, source: str, place: Place, lines: Sequence[str], subject: str
) -> Problem:
    """A fault of an expression as a problem of its file.

    Args:
        fault: what is wrong with the expression, by its own lines and columns.
        source: the expression, as YAML gave it.
        place: where the value stands in the file.
        lines: the lines of the file.
        subject: what the expression is of, such as `rule "a": deny_if`.
    """
    written = source.split("\n")
    line = written[fault.line - 1] if fault.line <= len(written) else ""
    return Problem(
        place_in_file(fault, source, place, lines),
        f"{subject}: {fault.what}",
        fault.hint,
        (line, min(fault.column, len(line) + 1)),
    )


def place_in_file(
    fault: Fault, source: str, place: Place, lines: Sequence[str]
) -> Place:
    """The place of a fault; that of the whole value where YAML has rewritten it."""
    if not 0 < place.line <= len(lines):
        return place
    first = lines[place.line - 1][place.column - 1 :]
    for quote in ("", '"', "'"):
        if "\n" not in source and first.startswith(f"{quote}{source}{quote}"):
            return _moved(place, 0, place.column + len(quote) + fault.column - 1)
    if first[:1] == "|":
        return _in_lines(fault, source, place, lines)
    if first[:1] == ">":
        return _in_folded(fault, source, place, lines)
    return place


def _in_lines(fault: Fault, source: str, place: Place, lines: Sequence[str]) -> Place:
    """Finds the same line of a block that is kept as it was written."""
    number = place.line + fault.line - 1
    text = source.split("\n")[fault.line - 1]
    if number >= len(lines) or not lines[number].endswith(text):
        return place
    return _moved(place, fault.line, len(lines[number]) - len(text) + fault.column)


def _in_folded(fault: Fault, source: str, place: Place, lines: Sequence[str]) -> Place:
    """Follows a block line by line, as far as its lines are joined by a blank."""
    wanted = _offset(source, fault)
    offset = 0
    for number, line in enumerate(lines[place.line :], 1):
        text = line.strip()
        if not source.startswith(text, offset):
            return place
        if wanted <= offset + len(text):
            indent = len(line) - len(line.lstrip())
            return _moved(place, number, indent + wanted - offset + 1)
        offset += len(text) + 1
    return place


def _offset(source: str, fault: Fault) -> int:
    before = source.split("\n")[: fault.line - 1]
    return sum(len(one) + 1 for one in before) + fault.column - 1


def _moved(place: Place, lines: int, column: int) -> Place:
    return Place(place.file, place.line + lines, column)
