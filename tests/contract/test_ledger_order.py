"""What every store promises whatever the order in which journals are read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comptroller.core.errors import RecordError
from comptroller.testing.projected import (
    ALWAYS,
    CONTROL,
    MONTH,
    PERMITS,
    RUN,
    W0,
    W1,
    WHOLE,
    Projected,
)


def test_what_is_spent_before_its_grant_is_read(books: Projected) -> None:
    """Spent and returned first, granted later: the sums are the same."""
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    worker.settled("R1", 45, {"input": 7})
    worker.returned({MONTH: 15})
    books.project(W0)
    store = books.store
    assert store.accounts_of(None) == []
    assert [lease.left for lease in store.leases()] == [-60]
    books.leased({MONTH: 100})
    assert books.sums(MONTH) == (45, 40, 0, 0)
    assert [lease.left for lease in store.leases()] == [40]
    assert store.books_check() == []


def test_a_grant_waits_for_what_gave_room_to_it(books: Projected) -> None:
    """It stops its journal and changes nothing, until the other journal is read."""
    store = books.store
    books.leased({MONTH: 1000})
    books.script(W0).returned({MONTH: 600})
    control = books.script(CONTROL)
    control.joined(W1)
    control.granted(W1, 1, {WHOLE: 5, MONTH: 600})
    before, position = books.of_limits(), store.position(CONTROL)
    for _ in range(2):
        with pytest.raises(RecordError, match="another journal has to be read first"):
            books.project(CONTROL)
        assert books.of_limits() == before
        assert store.position(CONTROL) == position
        assert store.holder(W1) is None
    books.project(W0, CONTROL)
    assert books.sums(MONTH) == (0, 1000, 0, 0)
    assert books.sums(WHOLE) == (0, 5, 0, 0)
    assert store.books_check() == []


def test_an_error_takes_everything_of_its_run_back(books: Projected) -> None:
    """Requests, ends, leases, holders and events before it are as if unread."""
    store = books.store
    books.leased({MONTH: 100})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    books.project(W0)
    before = books.of_limits()
    worker.settled("R1", 85, {"input": 7})
    worker.held("R2", 30, [MONTH, WHOLE], {"comptroller.run": "r1"})
    worker.returned({MONTH: 15})
    worker.joined(W1)
    worker.granted(W1, 1, {RUN: 5}, span=ALWAYS)
    worker.crossed(MONTH, 80, 85)
    worker.exceeded("R1", 60, 85)
    worker.limit_changed(MONTH, 500, 500)
    worker.suspended(W1, {RUN: 5})
    worker.suspense_settled(W1, RUN, 5)
    worker.returned({MONTH: -1})
    with pytest.raises(RecordError, match=f"{W0}, byte .*-1"):
        books.project(W0)
    assert books.of_limits() == before
    books.project(W0, records=10)
    assert books.sums(MONTH) == (85, 25, 0, 25)
    assert books.sums(RUN) == (5, 0, 0, 0)
    held = {MONTH: 30, WHOLE: 30, RUN: 0, PERMITS: 0}
    assert store.held_on([MONTH, WHOLE, RUN, PERMITS]) == held


def story(books: Projected) -> None:
    """Two workers, three budgets, and everything that happens to them."""
    control, one, two = (books.script(each) for each in (CONTROL, W0, W1))
    control.joined(W0)
    control.joined(W1)
    control.granted(W0, 1, {MONTH: 500, WHOLE: 500, PERMITS: 3})
    control.granted(W1, 1, {MONTH: 500, WHOLE: 400})
    for number in range(4):
        one.held(f"A{number}", 100, [WHOLE, MONTH], {"comptroller.run": "r1"})
        two.held(f"B{number}", 100, [MONTH, WHOLE])
        books.clock.advance(600)
    one.settled("A0", 90, {"input": 1})
    one.settled("A1", 130, {"input": 1})
    one.released("A2")
    two.settled("B0", 10, {"input": 1})
    two.returned({MONTH: 180})
    control.limit_changed(MONTH, 900, 900)
    control.granted(W0, 2, {MONTH: 80, RUN: 50}, span=ALWAYS)
    control.abandoned("B1", W1)
    control.abandoned("B2", W1)
    control.abandoned("B3", W1)
    control.closed(W1, books.journal(W1).offset, {WHOLE: 90, MONTH: 10})
    control.suspended(W0, {MONTH: 390, WHOLE: 310, RUN: 50})
    control.suspense_settled(W0, MONTH, 100)


def read(books: Projected, order: Sequence[str], records: int) -> None:
    """Reads all journals in turn, so many records of each, until nothing is left."""
    left = set(books.journals)
    while left:
        before = [books.store.position(each) for each in order]
        for source in order:
            try:
                books.project(source, records=records)
            except RecordError:
                continue
            if books.store.position(source) == books.journals[source].offset:
                left.discard(source)
        assert not left or before != [books.store.position(each) for each in order]


@pytest.mark.parametrize("records", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "order", [(CONTROL, W0, W1), (W1, W0, CONTROL), (W0, CONTROL, W1)]
)
def test_the_order_of_journals_does_not_matter(
    books: Projected, order: tuple[str, ...], records: int
) -> None:
    """A store that is built anew in any order of journals has the same books."""
    story(books)
    read(books, order, records)
    store = books.store
    assert books.sums(WHOLE) == (3230, 0, 310, 2730)
    assert books.sums(MONTH) == (3330, 0, 0, 2730)
    assert books.sums(RUN) == (220, 0, 50, 220)
    assert store.books_check() == []
    before = books.of_limits()
    for source in order:
        books.project(source)
    assert books.of_limits() == before
