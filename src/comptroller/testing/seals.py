"""Seals worked out anew from the lines of a journal, by nothing of the writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

SEALS: Final = (
    b'"type":"comptroller.journal.sealed.v1"',
    b'"type":"comptroller.journal.closed.v1"',
)


class Checked(NamedTuple):
    """What the seals of one journal say."""

    good: list[int]
    """Sequences of the seals that are those of their lines."""
    broken: list[int]
    """Sequences of those that are not."""
    unsealed: int
    """Lines after the last seal."""


def check_seals(lines: Sequence[bytes]) -> Checked:
    """Compares every seal with the lines that it covers.

    Args:
        lines: all of one journal, without newlines; the n-th has sequence n.

    Raises:
        ValueError: a seal does not begin where the one before it stands, or has a
            sequence that is not its place.
    """
    good: list[int] = []
    broken: list[int] = []
    begin = 0
    for number, line in enumerate(lines):
        if not any(kind in line[:200] for kind in SEALS):
            continue
        seal = json.loads(line)
        if seal["sequence"] != str(number) or seal["data"]["from"] != begin:
            raise ValueError(f"line {number} does not follow {begin}: {line!r}")
        is_good = seal["data"]["sha256"] == digest(lines[begin:number])
        (good if is_good else broken).append(number)
        begin = number
    return Checked(good, broken, len(lines) - 1 - max([*good, *broken], default=-1))


def digest(lines: Iterable[bytes]) -> str:
    """SHA-256 of lines, each with its newline, in hex."""
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
