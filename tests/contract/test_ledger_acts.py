"""What every store promises of grants, holders, limits and their events."""

from __future__ import annotations

import pytest

from comptroller.core.errors import RecordError
from comptroller.engine.ledger_rows import (
    AdmissionRow,
    AlertRow,
    SettlementRow,
)
from comptroller.testing.projected import (
    CONTROL,
    MONTH,
    PERMITS,
    W0,
    W1,
    WHOLE,
    Projected,
)
from comptroller.testing.system import START_NS


@pytest.mark.parametrize(
    ("holder", "sequence", "amounts", "message"),
    [
        (W0, 1, {MONTH: 5}, "granted before"),
        (W1, 1, {MONTH: 5}, "never joined"),
        (W0, 2, {MONTH: -5}, "cannot be -5"),
        (W0, 2, {"colour:red": 5}, "is not SCOPE:KEY/WINDOW@LABEL"),
        (W0, 2, {MONTH: 901}, "another journal"),
    ],
)
def test_a_grant_that_cannot_be(
    books: Projected,
    holder: str,
    sequence: int,
    amounts: dict[str, int],
    message: str,
) -> None:
    """It says which and where, and changes nothing."""
    books.leased({MONTH: 100})
    before = books.of_limits()
    books.script(CONTROL).granted(holder, sequence, amounts)
    with pytest.raises(RecordError, match=f"journal {CONTROL}, byte .*{message}"):
        books.project(CONTROL)
    assert books.of_limits() == before


def test_joining_again_changes_nothing(books: Projected) -> None:
    """What was granted to the holder is still known."""
    books.leased({MONTH: 100})
    before = books.of_limits()
    books.script(CONTROL).joined(W0)
    books.project(CONTROL)
    assert books.of_limits() == before


def test_a_holder_is_closed_after_its_journal_was_read(books: Projected) -> None:
    """Not before: its journal may hold what it spent of what would return."""
    store = books.store
    books.leased({MONTH: 100, PERMITS: 2})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    worker.settled("R1", 45, {"input": 7})
    position = books.journal(W0).offset
    control = books.script(CONTROL)
    control.closed(W0, position, {MONTH: 55, PERMITS: 2})
    with pytest.raises(RecordError, match="has to be read first"):
        books.project(CONTROL)
    assert [row.state for row in store.live_holders()] == ["live"]
    books.project(W0, CONTROL)
    assert books.sums(MONTH) == (45, 0, 0, 0)
    assert books.sums(PERMITS) == (0, 0, 0, 0)
    assert store.live_holders() == []
    row = store.holder(W0)
    assert row is not None
    assert row.state == "closed"
    assert store.books_check() == []
    control.granted(W0, 2, {MONTH: 5})
    with pytest.raises(RecordError, match="is closed"):
        books.project(CONTROL)


def test_suspense_from_loss_to_settlement(books: Projected) -> None:
    """What a lost holder may have spent counts until a named person settles it."""
    store = books.store
    books.leased({MONTH: 400, WHOLE: 400})
    books.script(W0).held("R1", 60, [MONTH])
    books.project(W0)
    control = books.script(CONTROL)
    control.suspended(W0, {MONTH: 400, WHOLE: 400})
    books.project(CONTROL)
    assert books.sums(MONTH) == (0, 0, 400, 0)
    assert [lease.suspense for lease in store.suspense()] == [400, 400]
    assert store.books_check() == []
    control.suspense_settled(W0, MONTH, 401)
    with pytest.raises(RecordError, match="400 in suspense"):
        books.project(CONTROL)


def test_a_settlement_frees_what_was_not_spent(books: Projected) -> None:
    """The person's word is booked with name and reason, once."""
    store = books.store
    books.leased({MONTH: 400})
    control = books.script(CONTROL)
    control.suspended(W0, {MONTH: 400})
    control.suspense_settled(W0, MONTH, 150)
    books.project(CONTROL)
    assert books.sums(MONTH) == (150, 0, 0, 0)
    assert store.suspense() == []
    assert store.settlements() == [
        SettlementRow(
            W0, MONTH, 150, START_NS, "ada", "ada@host", "the provider's bill"
        )
    ]
    assert store.books_check() == []
    control.suspense_settled(W0, MONTH, 0)
    with pytest.raises(RecordError, match="0 in suspense"):
        books.project(CONTROL)


def test_limits_change_and_spend_does_not(books: Projected) -> None:
    """Raised at once; lowered only to what fits; unknown accounts are passed over."""
    store = books.store
    books.leased({MONTH: 400})
    control = books.script(CONTROL)
    control.limit_changed(MONTH, 5000, 5000)
    control.limit_changed(MONTH, 100, 400)
    control.limit_changed(WHOLE, 1, 1)
    books.project(CONTROL)
    (state,) = store.accounts_of(None)
    assert (state.limit, state.effective, state.leased) == (100, 400, 400)
    control.limit_changed(MONTH, 100, 399)
    with pytest.raises(RecordError, match="another journal"):
        books.project(CONTROL)
    books.script(W0).returned({MONTH: 1})
    books.project(W0, CONTROL)
    (state,) = store.accounts_of(None)
    assert (state.limit, state.effective, state.leased) == (100, 399, 399)
    assert store.books_check() == []


def test_less_in_force_than_the_limit_is_an_error(books: Projected) -> None:
    """The store checks the sums once more, whoever wrote the record."""
    books.leased({MONTH: 400})
    books.script(CONTROL).limit_changed(MONTH, 900, 800)
    with pytest.raises(RecordError):
        books.project(CONTROL)
    (state,) = books.store.accounts_of(None)
    assert (state.limit, state.effective) == (1000, 1000)


def test_thresholds_are_known_once(books: Projected) -> None:
    """The first crossing of each percentage counts."""
    books.leased({MONTH: 400})
    control = books.script(CONTROL)
    control.crossed(MONTH, 90, 910)
    control.crossed(MONTH, 80, 820)
    books.clock.advance(5)
    control.crossed(MONTH, 80, 999)
    books.project(CONTROL)
    assert books.store.alerted(MONTH) == {80, 90}
    assert books.store.alerts(MONTH) == [
        AlertRow(MONTH, 80, START_NS, 820, 1000),
        AlertRow(MONTH, 90, START_NS, 910, 1000),
    ]


def test_what_moved_is_told_once(books: Projected) -> None:
    """At first any may have; then what is spent, or in suspense; not what is held."""
    store = books.store
    assert store.take_moved() is None
    assert store.take_moved() == frozenset()
    books.leased({MONTH: 400, WHOLE: 100})
    store.take_moved()
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    books.project(W0)
    assert store.take_moved() == frozenset()
    worker.settled("R1", 45, {"input": 7})
    books.project(W0)
    assert store.take_moved() == frozenset({MONTH, WHOLE})
    worker.settled("R9", 45, {"input": 7})
    with pytest.raises(RecordError):
        books.project(W0)
    books.script(CONTROL).suspended(W0, {WHOLE: 100})
    books.project(CONTROL)
    assert store.take_moved() == frozenset({WHOLE})
    assert store.take_moved() == frozenset()


def test_admissions_are_what_rates_count(books: Projected) -> None:
    """Allowed requests, with what they used, or hold as long as they are open."""
    worker = books.script(W0)
    worker.decided("R0")
    for number in range(1, 5):
        books.clock.advance(1)
        refused = {"result": "deny", "reason": "no"} if number == 4 else None
        worker.decided(f"R{number}", refused)
    worker.settled("R1", 5, {"input": 7, "cache_read": 2, "output": 3, "web_search": 9})
    worker.released("R2")
    books.project(W0)
    times = [START_NS + second * 10**9 for second in range(4)]
    assert books.store.admissions(times[1]) == [
        AdmissionRow(time_ns, "checkout-assistant", "cred-1", "gpt-5-mini", tokens)
        for time_ns, tokens in zip(times[1:], [12, 0, 150], strict=True)
    ]
    assert len(books.store.admissions(0)) == 4
