"""Tests of the audit: log, journals and store, each against the others."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from comptroller.engine import records
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.engine.trail_audit import Findings, audit
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock
from comptroller.testing.trail import InMemoryPlaces, InMemoryTrail

SOURCES = ("/n/w0/1", "/n/w1/1")


def line(source: str, sequence: int, kind: str, request_id: str) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{request_id}-{sequence}",
            "source": source,
            "type": kind,
            "time": "2026-11-21T19:00:00Z",
            "subject": f"request/{request_id}",
            "sequence": str(sequence),
            "data": {},
        }
    )


class Books:
    """Two journals with three decisions each, all of them in log and store."""

    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.trail = InMemoryTrail()
        self.store: list[str] = []
        for worker, source in enumerate(SOURCES):
            journal = self.journals.open(source)
            for number in range(3):
                name = f"R{worker}{number}"
                journal.append(line(source, 2 * number, records.DECIDED, name))
                journal.append(line(source, 2 * number + 1, records.SETTLED, name))
                self.store.append(name)

    def sequence(self) -> None:
        """Brings all of it into the log."""
        clock, places = FakeClock(), InMemoryPlaces()
        sequence_all(Sequencer(self.journals, self.trail, places, clock), self.trail)

    def audit(self) -> Findings:
        """What the audit finds."""
        return audit(self.trail.records, self.journals, self.store)


@pytest.fixture
def books() -> Books:
    made = Books()
    made.sequence()
    return made


def test_books_that_agree_have_nothing_against_them(books: Books) -> None:
    """All is counted, on each side."""
    found = books.audit()
    assert found == Findings(entries=13, decisions=6, in_store=6)


def test_what_is_not_sequenced_yet_waits_and_is_not_wrong(books: Books) -> None:
    """Its decision may be in the store already: that is no contradiction."""
    journal = books.journals.open("/n/w2/1")
    for number, name in enumerate(("NEW", "NEWER")):
        journal.append(line("/n/w2/1", number, records.DECIDED, name))
    books.store.append("NEW")
    found = books.audit()
    assert (found.waiting, found.waiting_decisions, found.wrong) == (2, 2, 0)


def change_entry(books: Books) -> None:
    at = books.trail.records.index(line(SOURCES[0], 3, records.SETTLED, "R01"))
    changed = books.trail.records[at].replace(b"2026", b"2025")
    books.trail.records[at] = changed


def drop_entry(books: Books) -> None:
    books.trail.records.remove(line(SOURCES[0], 3, records.SETTLED, "R01"))


def repeat_entry(books: Books) -> None:
    books.trail.records.append(books.trail.records[-1])


def invent_entry(books: Books) -> None:
    books.trail.records.append(line("/n/w7/1", 0, records.SETTLED, "R99"))


def change_journal(books: Books) -> None:
    found = books.journals._journals[SOURCES[1]].records
    found[2] = found[2]._replace(line=found[2].line.replace(b"2026", b"2025"))


def cut_journal(books: Books) -> None:
    del books.journals._journals[SOURCES[1]].records[4:]


def forget_in_store(books: Books) -> None:
    books.store.remove("R10")


def invent_in_store(books: Books) -> None:
    books.store.append("R99")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (change_entry, "another record in its place"),
        (drop_entry, "another record in its place"),
        (repeat_entry, "ends before it"),
        (invent_entry, "cannot be read"),
        (change_journal, "another record in its place"),
        (cut_journal, "ends before it"),
        (forget_in_store, "the trail has the decision R10, the store has not"),
        (invent_in_store, "the store has the decision R99, the trail has not"),
    ],
)
def test_each_contradiction_is_found(
    books: Books, harm: Callable[[Books], None], said: str
) -> None:
    """Whichever of the three was changed, two of them differ."""
    harm(books)
    found = books.audit()
    assert found.wrong == 1
    assert said in found.first_wrong[0]


def test_many_contradictions_are_counted_and_few_are_shown(books: Books) -> None:
    """An audit of a ruin ends, and tells how bad it is."""
    books.store += [f"X{number}" for number in range(100)]
    found = books.audit()
    assert found.wrong == 100
    assert len(found.first_wrong) == 20


@pytest.mark.parametrize("broken", [b"", b"{", line("/n/w9/9", 1, "t", "X")])
def test_a_broken_line_agrees_with_its_entry(broken: bytes) -> None:
    """The gap says whose line the next entry is; it alone is what is wrong."""
    books = Books()
    source = "/n/w5/1"
    journal = books.journals.open(source)
    journal.append(line(source, 0, records.DECIDED, "R50"))
    journal.append(broken)
    journal.append(line(source, 1, records.SETTLED, "R50"))
    books.store.append("R50")
    books.sequence()
    found = books.audit()
    assert found.wrong == 1
    assert "of the trail: broken: the journal /n/w5/1 had " in found.first_wrong[0]
    assert (found.gaps, found.decisions) == (1, 7)
