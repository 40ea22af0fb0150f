"""Journals that stay are compared with the hashes of entries that do not."""

from __future__ import annotations

import msgspec
import pytest

from comptroller.core.errors import TrailPrunedError
from comptroller.core.merkle import leaf_hash
from comptroller.engine.pruned_audit import HashedJournals
from comptroller.testing.journal import InMemoryJournals

CONTROL = "/n/control/1"


def line(sequence: int, said: str = "x") -> bytes:
    head = {"source": CONTROL, "sequence": str(sequence), "data": said}
    return msgspec.json.encode(head)


class Hashes:
    """The hashes of a journal's lines, in their order; the lines are pruned."""

    def __init__(self, lines: list[bytes]) -> None:
        self._hashes = [leaf_hash(one) for one in lines]

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where such a line was."""
        is_it = self._hashes[sequence : sequence + 1] == [leaf_hash(line)]
        return sequence if is_it and source == CONTROL else None

    def index_at(self, source: str, sequence: int) -> int | None:
        """None: there is none yet."""
        if source == CONTROL and sequence < len(self._hashes):
            raise TrailPrunedError("it was pruned")
        return None


LINES = [line(0), line(1), b"no record", line(3)]


def compared(lines: list[bytes], hashed: list[bytes], more: int = 0) -> HashedJournals:
    """What is said of a journal of some lines, up to some bytes beyond its end."""
    journals = InMemoryJournals()
    journal = journals.open(CONTROL)
    for one in lines:
        journal.append(one)
    found = HashedJournals(journals, Hashes(hashed))
    end = sum(map(len, lines)) + len(lines) + more
    right = list(found.lines({CONTROL: end}))
    assert right == lines[: len(right)]
    assert bool(found.wrong) or right == lines or len(hashed) < len(lines)
    return found


def test_a_journal_that_is_as_it_was() -> None:
    """Broken lines, too, which stand for the record that was due."""
    found = compared(LINES, LINES)
    assert (found.wrong, found.gone) == ([], [])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line(0), line(1, "y"), *LINES[2:]], "its record 1 is not the one of which"),
        ([line(0), b"other", *LINES[2:]], "its record 1 is not the one of which"),
        ([*LINES[:2], b"no  record", line(3)], "its record 2 is not the one of which"),
        ([line(0), *LINES[2:]], "its record 1 is not the one of which"),
        ([line(1), *LINES[2:]], "its record 0 is not there"),
    ],
)
def test_an_edit_is_named(lines: list[bytes], said: str) -> None:
    """Changed, made no record of, or left out: by the first record that differs."""
    (wrong,) = compared(lines, LINES).wrong
    assert wrong.startswith(f"the journal {CONTROL}, whose entries were pruned: {said}")


def test_a_journal_that_was_cut_is_named() -> None:
    """It was longer when it came into the trail."""
    (wrong,) = compared(LINES[:2], LINES, more=1).wrong
    assert "it ends before its record 2" in wrong


def test_what_is_in_no_checkpoint_yet_is_not_wrong() -> None:
    """It was taken in a moment ago."""
    assert compared(LINES, LINES[:2]).wrong == []


def test_a_journal_that_is_not_there_is_told() -> None:
    """Who asks knows whether a record says that it was deleted."""
    found = HashedJournals(InMemoryJournals(), Hashes([]))
    assert list(found.lines({CONTROL: 9})) == []
    assert (found.gone, found.wrong) == ([CONTROL], [])
