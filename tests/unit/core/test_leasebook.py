from __future__ import annotations

from comptroller.core.leasebook import Balance, LeaseBook

MONTH = "service:checkout/month@2026-11"
YEAR = "organization:acme/total@all"
PERMITS = "service:checkout/parallel@now"


def state(balance: Balance) -> tuple[int, int, int]:
    return balance.available, balance.held, balance.taken


def book_of(**amounts: int) -> tuple[LeaseBook, dict[str, Balance]]:
    book = LeaseBook()
    names = {"month": MONTH, "total": YEAR, "permits": PERMITS}
    for name, amount in amounts.items():
        book.grant(names[name], amount)
    return book, {name: book.balance(names[name]) for name in amounts}


def test_hold_takes_all() -> None:
    """A hold that fits moves every amount from available to held."""
    book, of = book_of(month=100, total=70)
    assert book.hold([(of["month"], 60), (of["total"], 70)]) is None
    assert state(of["month"]) == (40, 60, 60)
    assert state(of["total"]) == (0, 70, 70)


def test_hold_takes_nothing_when_one_lacks() -> None:
    """The first balance that lacks is named, and every balance is as before."""
    book, of = book_of(month=100, total=70, permits=0)
    lacking = book.hold([(of["month"], 60), (of["total"], 71), (of["permits"], 1)])
    assert lacking is of["total"]
    assert [state(each) for each in of.values()] == [
        (100, 0, 0),
        (70, 0, 0),
        (0, 0, 0),
    ]


def test_hold_of_one_balance_twice_counts_twice() -> None:
    """Two amounts on one balance never take more than there is."""
    book, of = book_of(month=100)
    month = of["month"]
    assert book.hold([(month, 60), (month, 50)]) is month
    assert state(month) == (100, 0, 0)
    assert book.hold([(month, 60), (month, 40)]) is None
    assert state(month) == (0, 100, 100)


def test_settle_spends_the_cost_and_keeps_the_permit() -> None:
    """After a request the rest of its money and all of its permit are available."""
    book, of = book_of(month=100, permits=1)
    held = [(of["month"], 60), (of["permits"], 1)]
    assert book.hold(held) is None
    book.settle(held, 25)
    assert state(of["month"])[:2] == (75, 0)
    assert state(of["permits"])[:2] == (1, 0)


def test_settle_of_more_than_was_held_spends_what_was_held() -> None:
    """A request that cost too much takes nothing from the holds of others."""
    book, of = book_of(month=100)
    first, second = [(of["month"], 60)], [(of["month"], 40)]
    assert book.hold(first) is None
    assert book.hold(second) is None
    book.settle(first, 1_000)
    assert state(of["month"])[:2] == (0, 40)


def test_release_undoes_a_hold() -> None:
    """What was never sent costs nothing."""
    book, of = book_of(month=100, permits=2)
    held = [(of["month"], 60), (of["permits"], 1)]
    assert book.hold(held) is None
    book.release(held)
    assert [state(each)[:2] for each in of.values()] == [(100, 0), (2, 0)]


def test_extend_is_all_or_nothing() -> None:
    """A hold grows by every slice or by none."""
    book, of = book_of(month=100, total=70)
    held = [(of["month"], 60), (of["total"], 60)]
    assert book.hold(held) is None
    more = [(of["month"], 20), (of["total"], 20)]
    assert book.extend(more) is of["total"]
    assert state(of["month"])[:2] == (40, 60)
    book.grant(YEAR, 10)
    assert book.extend(more) is None
    assert state(of["total"])[:2] == (0, 80)


def test_give_back_leaves_what_is_held_or_kept() -> None:
    """Only what is available beyond what is kept is returned."""
    book, of = book_of(month=100)
    assert book.hold([(of["month"], 60)]) is None
    assert book.give_back(MONTH, 30) == 10
    assert book.give_back(MONTH, 30) == 0
    assert state(of["month"])[:2] == (30, 60)
    assert book.give_back(MONTH, 0) == 30
    assert book.give_back("service:unknown/month@2026-11", 0) == 0


def test_idle_lists_what_could_be_returned() -> None:
    """A balance is idle when some of it is available."""
    book, of = book_of(month=100, total=70)
    assert book.hold([(of["month"], 100), (of["total"], 1)]) is None
    assert book.idle() == [of["total"]]


def test_an_account_in_use_is_not_forgotten() -> None:
    """A balance stays while anything is available or held."""
    book, of = book_of(month=100)
    assert not book.forget(MONTH)
    assert book.hold([(of["month"], 100)]) is None
    assert not book.forget(MONTH)
    book.settle([(of["month"], 100)], 100)
    assert book.forget(MONTH)
    assert book.forget(MONTH)
    assert book.balance(MONTH) is not of["month"]
