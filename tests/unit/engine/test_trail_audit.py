"""Tests of the audit: log, journals and store, each against the others."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec
import pytest

from comptroller.engine import records
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.engine.trail_audit import Findings, Kept, StoredDecision, audit
from comptroller.engine.trail_records import TRAIL_PRUNED
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
        stored = [StoredDecision(name, "/n/w9/9", 0) for name in self.store]
        return audit(self.trail.records, self.journals, stored)


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


def test_what_waits_for_ever_is_wrong(books: Books) -> None:
    """Of a journal that the writer says it is done with, nothing may wait."""
    journal = books.journals.open("/n/w2/1")
    journal.append(line("/n/w2/1", 0, records.DECIDED, "NEW"))
    ended = Kept(ended=frozenset({"/n/w2/1", *SOURCES}))
    found = audit(books.trail.records, books.journals, [], ended)
    (said,) = [one for one in found.first_wrong if "nobody will take" in one]
    assert said.startswith("the journal /n/w2/1 is not all in the trail")


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


def test_an_id_that_comes_again_much_later_is_found(books: Books) -> None:
    """The sequencer knows the last ids only; the audit knows all of them."""
    again = line(SOURCES[0], 6, records.SETTLED, "R00").replace(b"R00-6", b"R00-0")
    books.journals._journals[SOURCES[0]].append(again)
    books.trail.records.append(again)
    found = books.audit()
    assert found.wrong == 1
    assert "record 13 of the trail: /n/w0/1 has its id a second time: R00-0" in (
        found.first_wrong
    )


# -- seals -------------------------------------------------------------------------


def sealed(books: Books, edited: int | None = None) -> list[bytes]:
    """Adds a journal of three lines and a seal, of which one was edited."""
    source = "/n/w5/1"
    lines = [line(source, place, "t", "X") for place in range(3)]
    covered = b"".join(one + b"\n" for one in lines)
    seal = {"from": 0, "sha256": sha256(covered).hexdigest()}
    last = line(source, 3, records.JOURNAL_SEALED, "X")
    lines.append(last.replace(b"{}", msgspec.json.encode(seal)))
    if edited is not None:
        lines[edited] = lines[edited].replace(b"2026", b"2025")
    journal = books.journals.open(source)
    for one in lines:
        journal.append(one)
    return lines


def test_a_journal_edited_before_it_was_sequenced_is_found() -> None:
    """Journal and log agree; the seal contradicts both."""
    books = Books()
    sealed(books, 1)
    books.sequence()
    found = books.audit()
    assert found.wrong == 1
    assert (
        "the seal of /n/w5/1 is not that of its records 0 to 2"
        in (found.first_wrong[0])
    )


def test_a_journal_edited_while_it_waits_is_found(books: Books) -> None:
    """Before the sequencer has seen it, too."""
    sealed(books, 2)
    found = books.audit()
    assert (found.waiting, found.wrong) == (4, 1)
    assert (
        "a record that waits for the trail: the seal of /n/w5/1"
        in (found.first_wrong[0])
    )


@pytest.mark.parametrize("digits", [19, 4301])
def test_a_sequence_longer_than_any_number_is_no_traceback(
    books: Books, digits: int
) -> None:
    """Somebody may write one into a journal that waits, or sign one."""
    odd = line("/n/w2/1", 0, records.SETTLED, "NEW")
    odd = odd.replace(b'"sequence":"0"', b'"sequence":"%b"' % (b"9" * digits))
    books.journals.open("/n/w2/1").append(odd)
    assert books.audit().waiting == 1
    books.trail.records.append(odd)
    assert books.audit().waiting == 0


def test_a_journal_that_is_half_in_the_log_is_sealed_all_the_same() -> None:
    """Its seal covers lines of which some are entries and some wait."""
    for edited in (None, 0, 2):
        books = Books()
        books.sequence()
        lines = sealed(books, edited)
        books.trail.records += lines[:2]
        found = books.audit()
        assert (found.waiting, found.wrong) == (2, int(edited is not None))


# -- pruned logs -------------------------------------------------------------------

CONTROL = "/n/control/1"


class LongBooks(Books):
    """600 records of two journals, and an act that prunes the first 256."""

    def __init__(self, below: int = 256, *, tells: bool = True) -> None:
        super().__init__()
        for number in range(3, 150):
            for worker, source in enumerate(SOURCES):
                journal, name = self.journals._journals[source], f"R{worker}{number}"
                journal.append(line(source, 2 * number, records.DECIDED, name))
                journal.append(line(source, 2 * number + 1, records.SETTLED, name))
                self.store.append(name)
        self.sequence()
        if tells:
            said = line(CONTROL, 0, TRAIL_PRUNED, "X")
            act = b'{"below":%d}' % below
            self.journals.open(CONTROL).append(said.replace(b"{}", act))
        self.sequence()

    def audit(self, begin: int = 256) -> Findings:
        """What the audit of what is left finds."""
        offsets: dict[str, tuple[str, int]] = {}
        taken = {}
        for source, journal in self.journals._journals.items():
            for record in journal.records:
                head = msgspec.json.decode(record.line)
                name = head["subject"].rpartition("/")[2]
                if head["type"] == records.DECIDED:
                    offsets[name] = (source, record.offset)
            taken[source] = (
                journal.records[-1].offset + len(journal.records[-1].line) + 1
            )
        stored = [
            StoredDecision(name, *offsets.get(name, ("/n/w9/9", 0)))
            for name in self.store
        ]
        left = self.trail.records[begin:]
        return audit(left, self.journals, stored, Kept(begin, taken))


def test_a_pruned_log_agrees_with_what_is_left() -> None:
    """It says how much is gone, by which record, and what of the store is with it."""
    books = LongBooks()
    found = books.audit()
    assert found.first_wrong == []
    assert (found.pruned, found.entries, found.waiting) == (256, 347, 0)
    assert found.pruned_by == next(
        place
        for place, one in enumerate(books.trail.records)
        if TRAIL_PRUNED.encode() in one
    )
    assert found.pruned_decisions == 300 - found.decisions > 100


def test_entries_that_no_record_prunes_are_missing() -> None:
    """Nor where a record prunes less."""
    assert LongBooks(below=512).audit(512).first_wrong == []
    found = LongBooks(tells=False).audit()
    assert (found.wrong, found.pruned_by) == (1, None)
    assert "before 256 are missing, and no record prunes them" in found.first_wrong[0]
    found = LongBooks(below=256).audit(512)
    assert (found.wrong, found.pruned_by) == (1, None)
    assert "the entries before 512 are missing" in found.first_wrong[0]


def test_what_is_left_is_compared_as_ever() -> None:
    """A changed line, an invented and a forgotten decision: each is found."""
    books = LongBooks()
    journal = books.journals._journals[SOURCES[1]].records
    journal[-1] = journal[-1]._replace(line=journal[-1].line.replace(b"2026", b"2025"))
    books.store.append("R99x")
    books.store.remove("R1149")
    found = books.audit()
    assert found.wrong == 3
    assert any("the store has the decision R99x" in one for one in found.first_wrong)
    assert any("the trail has the decision R1149" in one for one in found.first_wrong)
    assert any("another record in its place" in one for one in found.first_wrong)


def test_the_first_line_that_is_left_is_looked_for() -> None:
    """Where it was changed, the journal has it nowhere."""
    books = LongBooks()
    first = books.trail.records[256]
    for journal in books.journals._journals.values():
        for place, one in enumerate(journal.records):
            if one.line == first:
                changed = one.line.replace(b"2026", b"2025")
                journal.records[place] = one._replace(line=changed)
    found = books.audit()
    assert found.wrong == 1
    assert "ends before it" in found.first_wrong[0]


def test_a_journal_of_which_nothing_is_left_does_not_wait() -> None:
    """Its lines are in the log by their hashes; the writer says how far."""
    books = LongBooks(below=512)
    left = b"".join(books.trail.records[512:])
    gone = [source for source in SOURCES if source.encode() not in left]
    assert gone, "the log has one journal after the other"
    found = books.audit(512)
    assert (found.waiting, found.wrong) == (0, 0)
