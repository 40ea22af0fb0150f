"""What every store says of journals that were deleted, SQLite and memory alike."""

from __future__ import annotations

import msgspec
import pytest

from comptroller.core.errors import RecordError
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.records import UNAUTHENTICATED
from comptroller.testing.projected import CONTROL, W0, Projected
from comptroller.testing.system import START_NS


def delete(books: Projected, source: str, size: int) -> None:
    """Records in the control journal that a journal was deleted."""
    data = JournalDeleted(
        source=source, bytes=size, records=7, size=900, witnesses=["w.example/1"]
    )
    script = books.script(CONTROL)
    script.append(JOURNAL_DELETED, f"journal{source}", msgspec.to_builtins(data))
    books.clock.advance(1)


def worked(books: Projected) -> int:
    """A worker's journal with something in it; how long it is."""
    books.script(W0).append(UNAUTHENTICATED, "credential", {})
    books.project(W0)
    return books.store.position(W0)


def test_a_new_store_knows_of_no_deletion(books: Projected) -> None:
    """Every journal has to be there."""
    assert books.store.deleted_journals() == []


def test_a_deleted_journal_is_known(books: Projected) -> None:
    """Once its records are projected; a repeat of the record is refused."""
    size = worked(books)
    delete(books, W0, size)
    books.project(CONTROL)
    row = DeletedJournal(W0, size, 7, 900, ["w.example/1"], START_NS)
    assert books.store.deleted_journals() == [row]
    delete(books, W0, size)
    with pytest.raises(RecordError):
        books.project(CONTROL)
    assert books.store.deleted_journals() == [row]


def test_a_deletion_waits_for_the_records_of_its_journal(books: Projected) -> None:
    """A store that lacks them does not pass over it: it would not have the books."""
    size = worked(books)
    delete(books, W0, size + 1)
    with pytest.raises(RecordError, match="deleted"):
        books.project(CONTROL)
    assert books.store.deleted_journals() == []
