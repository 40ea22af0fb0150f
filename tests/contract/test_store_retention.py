"""What every store says of retention, SQLite and memory alike."""

from __future__ import annotations

import msgspec
import pytest

from comptroller.core.errors import RecordError
from comptroller.engine.ports import JournalPosition
from comptroller.engine.records import Actor
from comptroller.engine.retention_ports import LegalHoldRow, PruningRow
from comptroller.engine.retention_records import (
    LEGAL_HOLD_LIFTED,
    LEGAL_HOLD_PLACED,
    LegalHoldLifted,
    LegalHoldPlaced,
    TrailPruned,
)
from comptroller.engine.trail_records import TRAIL_PRUNED
from comptroller.testing.projected import CONTROL, Projected
from comptroller.testing.system import START_NS

ADA = Actor(person="ada", account="ada@host")
BOB = Actor(person=None, account="bob@host")
S = 10**9


def place(books: Projected, name: str, trace: str | None = None) -> None:
    placed = LegalHoldPlaced(
        legal_hold_id=name, reason=f"Case {name}", end_user_trace=trace, actor=ADA
    )
    append(books, LEGAL_HOLD_PLACED, placed)


def lift(books: Projected, name: str) -> None:
    lifted = LegalHoldLifted(legal_hold_id=name, reason="Closed", actor=BOB)
    append(books, LEGAL_HOLD_LIFTED, lifted)


def prune(books: Projected, below: int, before: int) -> None:
    pruned = TrailPruned(
        below=below, before=before, reason="Old", actor=ADA, approved_by="grace"
    )
    append(books, TRAIL_PRUNED, pruned)


def append(books: Projected, kind: str, data: msgspec.Struct) -> None:
    books.script(CONTROL).append(kind, "retention", msgspec.to_builtins(data))
    books.clock.advance(1)


def of_retention(books: Projected) -> tuple[object, ...]:
    return books.store.legal_holds(), books.store.prunings()


def test_a_new_store_keeps_everything_without_being_told(books: Projected) -> None:
    """No legal hold, no pruning."""
    assert of_retention(books) == ([], [])


def test_the_life_of_legal_holds(books: Projected) -> None:
    """Placed one after another, one of them lifted: each has its row, for ever."""
    place(books, "2")
    place(books, "1", "c29tZWJvZHk")
    lift(books, "2")
    books.project(CONTROL)
    assert books.store.legal_holds() == [
        LegalHoldRow(
            *("2", "Case 2", None, START_NS, "ada", "ada@host"),
            *(START_NS + 2 * S, "Closed", None, "bob@host"),
        ),
        LegalHoldRow(
            *("1", "Case 1", "c29tZWJvZHk", START_NS + S, "ada", "ada@host"),
            *(None, None, None, None),
        ),
    ]


def test_the_last_pruning_has_the_minimum_index(books: Projected) -> None:
    """Each is kept, with what was the minimum before it."""
    prune(books, 512, 0)
    prune(books, 1280, 512)
    books.project(CONTROL)
    assert books.store.prunings() == [
        PruningRow(512, 0, "Old", "ada", "grace", "ada@host", START_NS),
        PruningRow(1280, 512, "Old", "ada", "grace", "ada@host", START_NS + S),
    ]


@pytest.mark.parametrize(
    ("acts", "message"),
    [
        ("lift 1", "legal hold 1 was not in force"),
        ("place 1, lift 1, lift 1", "legal hold 1 was not in force"),
        ("place 1, place 1", "1|legal_holds"),
        ("prune 512, prune 256", "was below 512 before"),
        ("prune 512, prune 512", "was below 512 before"),
    ],
)
def test_acts_of_retention_follow_one_another(
    books: Projected, acts: str, message: str
) -> None:
    """What does not follow is an error, and nothing of its run is projected."""
    script = books.script(CONTROL)
    script.issued("cred-1")
    for act in acts.split(", "):
        word, value = act.split()
        if word == "prune":
            prune(books, int(value), 0)
        else:
            {"place": place, "lift": lift}[word](books, value)
    with pytest.raises(RecordError, match=message):
        books.project(CONTROL)
    assert of_retention(books) == ([], [])
    assert books.store.credentials() == []
    assert books.store.position(CONTROL) == 0


def test_projecting_retention_again_changes_nothing(books: Projected) -> None:
    """Records before the position are ignored."""
    place(books, "1")
    prune(books, 256, 0)
    books.project(CONTROL)
    before = of_retention(books)
    journal = books.journal(CONTROL)
    books.store.project(journal.records, JournalPosition(CONTROL, journal.offset))
    assert of_retention(books) == before
