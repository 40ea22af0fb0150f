from __future__ import annotations

from collections.abc import Sequence

import pytest

from comptroller.core.account import Where
from comptroller.core.books import AccountState, Books, Ending, Grant
from comptroller.core.errors import RecordError
from comptroller.testing.shelf import Ended, InMemoryShelf

MONTH = "service:a/month@2026-11"
DAY = "service:a/day@2026-11-21"
ACME = "organization:acme/total@all"
PERMITS = "service:a/parallel@now"
WHERE = Where("acme", "shop", "web", "a", "c1", None)


def granted(account: str, amount: int, limit: int = 100) -> Grant:
    return Grant(account, amount, limit, 0, None)


def end(
    shelf: InMemoryShelf, cost: int, *held: tuple[str, int], where: Where = WHERE
) -> None:
    shelf.keep_ended(Ended(where, 5, cost))
    Books(shelf).end(Ending("w1", where, 5, cost, held))


def amounts(shelf: InMemoryShelf, account: str) -> Sequence[int]:
    """Settled, leased, suspense, unheld."""
    state = shelf.account(account)
    assert state is not None
    return state.settled, state.leased, state.suspense, state.unheld


def test_a_grant_opens_its_account() -> None:
    """The first grant says the limit and the window; what is not leased is free."""
    shelf = InMemoryShelf()
    Books(shelf).grant("w1", [Grant(MONTH, 30, 100, 10, 20)])
    state = shelf.account(MONTH)
    assert state == AccountState(MONTH, 10, 20, 100, 100, 0, 30, 0, 0)
    assert (state.committed, state.free) == (30, 70)
    assert shelf.lease("w1", MONTH).left == 30


def test_a_grant_that_does_not_fit_is_refused() -> None:
    """No record can lease more than is in force, whoever wrote it."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    books.grant("w1", [granted(MONTH, 60)])
    with pytest.raises(RecordError, match="101 would be committed, more than the 100"):
        books.grant("w2", [granted(MONTH, 41)])


def test_what_ended_is_spent_and_the_rest_stays_leased() -> None:
    """A hold's rest goes back to the lease it came from, not to the limit."""
    shelf = InMemoryShelf()
    Books(shelf).grant("w1", [granted(MONTH, 60), granted(ACME, 40)])
    end(shelf, 10, (MONTH, 25), (ACME, 25))
    assert amounts(shelf, MONTH) == (10, 50, 0, 0)
    assert amounts(shelf, ACME) == (10, 30, 0, 0)


def test_more_than_the_hold_is_booked_truthfully() -> None:
    """The whole cost is spent; what no lease covered is counted apart, not hidden."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    books.grant("w1", [granted(MONTH, 100)])
    end(shelf, 40, (MONTH, 25))
    assert amounts(shelf, MONTH) == (40, 75, 0, 15)
    books.give_back("w1", [(MONTH, 75)])
    state = shelf.account(MONTH)
    assert state is not None
    assert state.free == 60


def test_a_permit_is_not_spent() -> None:
    """A request that ended gives its permit back to its worker's lease."""
    shelf = InMemoryShelf()
    Books(shelf).grant("w1", [granted(MONTH, 60), granted(PERMITS, 2, 4)])
    end(shelf, 10, (MONTH, 25), (PERMITS, 1))
    assert amounts(shelf, PERMITS) == (0, 2, 0, 0)


def test_an_account_opened_late_knows_what_was_spent() -> None:
    """A budget declared in mid-month begins with the month's spending."""
    shelf = InMemoryShelf()
    end(shelf, 30)
    Books(shelf).grant("w1", [granted(MONTH, 50)])
    assert amounts(shelf, MONTH) == (30, 50, 0, 30)
    end(shelf, 7)
    assert amounts(shelf, MONTH) == (37, 50, 0, 37)


def test_a_hold_on_one_window_is_not_taken_from_the_next() -> None:
    """A request decided in one window settles there, however late."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    tomorrow = "service:a/day@2026-11-22"
    books.grant("w1", [Grant(DAY, 50, 100, 0, 10), Grant(tomorrow, 50, 100, 10, 20)])
    end(shelf, 8, (DAY, 25))
    assert amounts(shelf, DAY) == (8, 42, 0, 0)
    assert amounts(shelf, tomorrow) == (0, 50, 0, 0)


def test_only_the_accounts_of_its_scopes_are_booked() -> None:
    """What one run cost is no other run's, and no other service's."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    runs = [f"run:a/{run}/total@all" for run in ("r1", "r2")]
    other = "service:b/total@all"
    books.grant("w1", [granted(each, 10) for each in (*runs, other)])
    end(shelf, 6, where=WHERE._replace(run="r1"))
    assert [amounts(shelf, each)[0] for each in (*runs, other)] == [6, 0, 0]


def test_spending_read_before_its_grant_ends_in_the_same_rows() -> None:
    """The order in which journals are read makes no difference."""
    first, second = InMemoryShelf(), InMemoryShelf()
    Books(first).grant("w1", [granted(MONTH, 60)])
    end(first, 30, (MONTH, 25))
    Books(first).give_back("w1", [(MONTH, 20)])
    end(second, 30, (MONTH, 25))
    Books(second).give_back("w1", [(MONTH, 20)])
    assert second.lease("w1", MONTH).left == -45
    Books(second).grant("w1", [granted(MONTH, 60)])
    assert amounts(first, MONTH) == (30, 15, 0, 5)
    assert second.accounts() == first.accounts()
    assert second.leases() == first.leases()


def test_windows_of_two_calendars_count_alike_in_any_order() -> None:
    """After a change of the time zone windows overlap: both count, ended or not."""
    tomorrow = Grant("service:a/day@2026-11-22", 10, 100, 4, 20)
    first, second = InMemoryShelf(), InMemoryShelf()
    for shelf in (first, second):
        Books(shelf).grant("w1", [Grant(DAY, 50, 100, 0, 10)])
    Books(first).grant("w1", [tomorrow])
    end(first, 8, (DAY, 25))
    end(second, 8, (DAY, 25))
    Books(second).grant("w1", [tomorrow])
    assert amounts(first, tomorrow.account) == (8, 10, 0, 8)
    assert second.accounts() == first.accounts()


def test_what_is_free_can_be_granted_in_a_window_that_moved() -> None:
    """Holds from outside the window it opens with count: nothing is free twice."""
    shelf = InMemoryShelf()
    end(shelf, 60, (DAY, 60))
    books = Books(shelf)
    books.grant("w1", [Grant(DAY, 70, 100, 6, 10)])
    state = shelf.account(DAY)
    assert state is not None
    assert amounts(shelf, DAY) == (60, 10, 0, 0)
    books.grant("w2", [Grant(DAY, state.free, 100, 6, 10)])
    assert state.committed == 100


def test_a_lease_that_goes_to_and_fro_stays_within_64_bits() -> None:
    """Its sums forget what came back, and what is left does not change."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    for _ in range(30):
        books.grant("w1", [granted(MONTH, 10**18, limit=2 * 10**18)])
        books.give_back("w1", [(MONTH, 10**18 - 10**15)])
        end(shelf, 10**15, (MONTH, 10**15))
    lease = shelf.lease("w1", MONTH)
    assert lease.left == 0
    assert lease.consumed == 30 * 10**15
    assert max(lease.granted, lease.returned) < 2**63


def test_a_suspension_read_before_its_grant_ends_in_the_same_rows() -> None:
    """An account that opens after a lease of it was lost counts the suspense."""
    first, second = InMemoryShelf(), InMemoryShelf()
    Books(first).grant("w1", [granted(MONTH, 60)])
    Books(first).suspend("w1", [(MONTH, 60)])
    Books(second).suspend("w1", [(MONTH, 60)])
    Books(second).grant("w1", [granted(MONTH, 60)])
    assert amounts(first, MONTH) == (0, 0, 60, 0)
    assert second.accounts() == first.accounts()


def test_suspense_counts_until_a_person_settles_it() -> None:
    """A lost worker's lease is not free until somebody says what it spent."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    books.grant("w1", [granted(MONTH, 60)])
    books.suspend("w1", [(MONTH, 60)])
    with pytest.raises(RecordError):
        Books(shelf.copy()).grant("w2", [granted(MONTH, 41)])
    books.settle_suspense("w1", MONTH, 20)
    state = shelf.account(MONTH)
    assert state is not None
    assert (state.settled, state.suspense) == (20, 0)
    assert shelf.lease("w1", MONTH).adjusted == 20


@pytest.mark.parametrize("spent", [-1, 61])
def test_suspense_cannot_be_settled_with_another_amount(spent: int) -> None:
    """Neither more than was lost nor less than nothing can have been spent."""
    shelf = InMemoryShelf()
    Books(shelf).grant("w1", [granted(MONTH, 60)])
    Books(shelf).suspend("w1", [(MONTH, 60)])
    with pytest.raises(RecordError, match="w1 has 60 in suspense"):
        Books(shelf).settle_suspense("w1", MONTH, spent)


def test_suspense_is_settled_once() -> None:
    """A second settlement finds nothing."""
    shelf = InMemoryShelf()
    Books(shelf).grant("w1", [granted(MONTH, 60)])
    Books(shelf).suspend("w1", [(MONTH, 60)])
    Books(shelf).settle_suspense("w1", MONTH, 60)
    with pytest.raises(RecordError):
        Books(shelf).settle_suspense("w1", MONTH, 0)
    with pytest.raises(RecordError):
        Books(shelf).settle_suspense("w2", DAY, 0)


def test_a_lowered_limit_waits_for_what_is_committed() -> None:
    """What is committed stays in force; the new limit only when it fits."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    books.grant("w1", [granted(MONTH, 60)])
    with pytest.raises(RecordError):
        books.change_limit(MONTH, 50, 50)
    books.change_limit(MONTH, 50, 60)
    state = shelf.account(MONTH)
    assert state is not None
    assert (state.limit, state.effective, state.free) == (50, 60, 0)
    books.give_back("w1", [(MONTH, 20)])
    books.change_limit(MONTH, 50, 50)
    assert (state.effective, state.free) == (50, 10)


def test_a_limit_change_does_not_touch_what_was_spent() -> None:
    """Raising or lowering a limit moves no money."""
    shelf = InMemoryShelf()
    books = Books(shelf)
    books.grant("w1", [granted(MONTH, 60)])
    end(shelf, 25, (MONTH, 25))
    for limit in (500, 60, 80):
        books.change_limit(MONTH, limit, limit)
        assert amounts(shelf, MONTH) == (25, 35, 0, 0)
    books.change_limit(DAY, 10, 10)
    assert shelf.account(DAY) is None
