"""Seals: what a journal's process says of its lines, compared with the lines.

A seal holds the SHA-256 of every line from the seal before it (or the journal's
begin) up to itself, each with its line break, and so they chain. The process works
it out from what it wrote: whoever edits the file does not change what it will say.

`comptroller.verify` does the same for whoever has only the log, and stands alone.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from comptroller.engine.records import JOURNAL_CLOSED, JOURNAL_SEALED

if TYPE_CHECKING:
    from hashlib import _Hash

SEALS: Final = frozenset({JOURNAL_SEALED, JOURNAL_CLOSED})


class _Seal(msgspec.Struct, frozen=True):
    begin: int | None = msgspec.field(name="from", default=None)
    sha256: str | None = None


class _Record(msgspec.Struct, frozen=True):
    data: _Seal


_read: Final = msgspec.json.Decoder(_Record).decode


class _Journal:
    """A journal: what comes next, and the lines since its last seal."""

    def __init__(self, sequence: int) -> None:
        self.next = sequence
        self.begin = 0 if sequence == 0 else None
        """Sequence of the first line that the next seal covers; None: not all of
        them were seen."""
        self.lines: _Hash = sha256()


class SealCheck:
    """Compares the seals of journals, whose lines may come mixed, each in order."""

    def __init__(self) -> None:
        self._journals: dict[str, _Journal] = {}

    def take(self, source: str, sequence: int, kind: str, line: bytes) -> str:
        """Takes the next line of a journal.

        Args:
            source: the journal.
            sequence: of the record; lines before the first that is taken, or between
                two, may be missing: then the next seal cannot be checked.
            kind: the record's type.
            line: its exact bytes.

        Returns:
            What is wrong, in words; "": nothing, as far as can be told.
        """
        journal = self._journals.get(source)
        if journal is None:
            journal = self._journals[source] = _Journal(sequence)
        problem = ""
        if sequence != journal.next:
            journal.begin = None
        if kind in SEALS:
            if journal.begin is not None and not _is_right(journal, line):
                problem = (
                    f"the seal of {source} is not that of its records {journal.begin}"
                    f" to {sequence - 1}: the journal was edited before it was"
                    " sequenced"
                )
            journal.begin, journal.lines = sequence, sha256()
        journal.lines.update(line + b"\n")
        journal.next = sequence + 1
        return problem

    def forget(self, source: str) -> None:
        """Takes note that lines of a journal do not come: its next seal is passed."""
        journal = self._journals.get(source)
        if journal is not None:
            journal.begin = None


def _is_right(journal: _Journal, line: bytes) -> bool:
    try:
        said = _read(line).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if journal.begin == 0 and said == _Seal():
        return True  # from before there were seals
    return said == _Seal(journal.begin, journal.lines.hexdigest())
