"""What every store promises of the books of limits, SQLite and memory alike."""

from __future__ import annotations

import pytest

from comptroller.core.books import AccountState, LeaseState
from comptroller.core.errors import RecordError
from comptroller.engine.ledger_rows import (
    ExcessRow,
    HolderRow,
    IncidentRow,
)
from comptroller.testing.ledger_script import ENDS_NS, STARTS_NS
from comptroller.testing.projected import (
    CONTROL,
    MONTH,
    PERMITS,
    RUN,
    W0,
    W1,
    WHOLE,
    Projected,
)
from comptroller.testing.system import START_NS

MINUTE_NS = 60 * 10**9


def test_a_store_without_limits_has_no_books(books: Projected) -> None:
    """Nothing is known of limits before anything was projected, and it adds up."""
    store = books.store
    assert books.of_limits() == (
        [], [], [], dict.fromkeys([MONTH, WHOLE, RUN, PERMITS], 0),
        [], [], [], [], [], [], [],
    )  # fmt: skip
    assert store.accounts([MONTH]) == {}
    assert store.holder(W0) is None
    assert store.alerted(MONTH) == frozenset()
    assert store.books_check() == []


def test_a_grant_opens_its_account(books: Projected) -> None:
    """Account, lease and holder say what was granted, and what to repeat."""
    books.leased({MONTH: 100})
    store = books.store
    state = AccountState(MONTH, STARTS_NS, ENDS_NS, 1000, 1000, 0, 100, 0, 0)
    assert store.accounts([MONTH, WHOLE]) == {MONTH: state}
    assert store.accounts_of(None) == [state]
    assert store.accounts_of(ENDS_NS - 1) == store.accounts_of(STARTS_NS) == [state]
    assert store.accounts_of(ENDS_NS) == store.accounts_of(STARTS_NS - 1) == []
    lease = LeaseState(W0, MONTH, 100, 0, 0, 0, 0)
    assert store.leases() == store.leases(holder=W0, account=MONTH) == [lease]
    assert store.leases(holder=W1) == store.leases(account=WHOLE) == []
    holder = HolderRow(W0, 1, "boot-1", "disk", "live", ((MONTH, 100),))
    assert store.holder(W0) == holder
    assert store.live_holders() == [holder]
    assert store.books_check() == []


@pytest.mark.parametrize("together", [True, False])
def test_a_request_from_hold_to_settlement(books: Projected, together: bool) -> None:
    """The hold counts while it is open; then its cost is spent of the lease."""
    store = books.store
    books.leased({MONTH: 100, WHOLE: 100, PERMITS: 2})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH, WHOLE], {"comptroller.hold.permits": [PERMITS]})
    if not together:
        books.project(W0)
        assert store.held_on([MONTH, PERMITS, RUN]) == {MONTH: 60, PERMITS: 1, RUN: 0}
        assert books.sums(MONTH) == (0, 100, 0, 0)
        assert store.books_check() == []
    worker.settled("R1", 45, {"input": 7})
    books.project(W0)
    for account in (MONTH, WHOLE):
        assert books.sums(account) == (45, 55, 0, 0)
        (lease,) = store.leases(account=account)
        assert (lease.consumed, lease.left) == (45, 55)
    assert books.sums(PERMITS) == (0, 2, 0, 0)
    assert store.held_on([MONTH, PERMITS]) == {MONTH: 0, PERMITS: 0}
    assert store.books_check() == []


def test_what_exceeds_its_hold_is_booked_truthfully(books: Projected) -> None:
    """It is spent, beside the lease, and told until its incident is recorded."""
    books.leased({MONTH: 100})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    worker.settled("R1", 85, {"input": 7})
    books.project(W0)
    store = books.store
    assert books.sums(MONTH) == (85, 40, 0, 25)
    row = ExcessRow("R1", "checkout-assistant", "gpt-5-mini", 60, 85)
    assert store.excesses() == [row]
    books.clock.advance(1)
    control = books.script(CONTROL)
    control.exceeded("R1", 60, 85)
    control.exceeded("R1", 0, 0)
    books.project(CONTROL)
    assert store.excesses() == []
    time_ns = START_NS + 10**9
    incident = IncidentRow("R1", time_ns, "checkout-assistant", "gpt-5-mini", 60, 85)
    assert store.incidents(time_ns) == [incident]
    assert store.incidents(time_ns + 1) == []
    assert store.books_check() == []


def test_what_was_not_sent_costs_nothing(books: Projected) -> None:
    """Released and refused requests leave the lease as it was."""
    books.leased({MONTH: 100})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    worker.released("R1")
    worker.held("R2", 60, [MONTH], {"result": "deny", "reason": "no"})
    worker.settled("R2", 60, {"input": 1})
    books.project(W0)
    assert books.sums(MONTH) == (0, 100, 0, 0)
    assert books.store.held_on([MONTH]) == {MONTH: 0}


@pytest.mark.parametrize("together", [True, False])
def test_a_second_end_books_nothing(books: Projected, together: bool) -> None:
    """Whether it follows in the same run, a later one, or another journal."""
    books.leased({MONTH: 100})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH])
    worker.settled("R1", 45, {"input": 7})
    if not together:
        books.project(W0)
    worker.settled("R1", 60, {"input": 7})
    books.project(W0)
    books.script(CONTROL).abandoned("R1", W0)
    books.project(CONTROL)
    assert books.sums(MONTH) == (45, 55, 0, 0)
    assert books.store.books_check() == []


def test_an_abandoned_request_is_spent_of_the_dead_workers_lease(
    books: Projected,
) -> None:
    """The control process records its end; the lease is that of who decided it."""
    books.leased({MONTH: 1000})
    books.script(W0).held("R1", 1000, [MONTH])
    books.project(W0)
    books.script(CONTROL).abandoned("R1", W0)
    books.project(CONTROL)
    assert books.sums(MONTH) == (1000, 0, 0, 0)
    assert [lease.holder for lease in books.store.leases()] == [W0]


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (4,), (1, 2, 3, 4)])
def test_a_progressive_hold_is_its_last_slice(
    books: Projected, cuts: tuple[int, ...]
) -> None:
    """Wherever the run of records is cut, the last extension counts."""
    store = books.store
    books.leased({MONTH: 100, WHOLE: 100})
    worker = books.script(W0)
    slices = {
        "comptroller.hold.progressive": [MONTH],
        "comptroller.hold.slice_nano_usd": 20,
    }
    for number, held in enumerate([20, 40, 60, 0, 0]):
        if number == 0:
            worker.held("R1", 90, [WHOLE], slices)
        elif number == 3:
            worker.settled("R1", 85, {"output": 9})
        else:
            worker.extended("R1", 90 if number == 4 else held)
        if number + 1 in cuts:
            books.project(W0)
            assert store.held_on([MONTH]) == {MONTH: held}
    books.project(W0)
    assert books.sums(MONTH) == (85, 40, 0, 25)
    assert books.sums(WHOLE) == (85, 15, 0, 0)
    assert store.books_check() == []


def test_an_extension_of_an_unknown_request_is_an_error(books: Projected) -> None:
    """Its decision would stand before it in the same journal."""
    books.script(W0).extended("R9", 40)
    with pytest.raises(RecordError, match="R9"):
        books.project(W0)
    assert books.store.position(W0) == 0


@pytest.mark.parametrize("after", [True, False])
def test_an_account_knows_what_was_spent_before_it(
    books: Projected, after: bool
) -> None:
    """Its scope's requests of its window count, read before the grant or after it."""
    worker = books.script(W0)
    worker.decided("R1")
    worker.settled("R1", 30, {"input": 1})
    worker.decided("R2", {"service.name": "other"})
    worker.settled("R2", 500, {"input": 1})
    worker.decided("R3")
    if not after:
        books.project(W0)
    worker.settled("R3", 12, {"input": 1})
    books.leased({MONTH: 10, WHOLE: 10, RUN: 10})
    books.project(W0)
    store = books.store
    assert books.sums(MONTH) == (42, 10, 0, 42)
    assert books.sums(WHOLE) == (542, 10, 0, 542)
    assert books.sums(RUN) == (0, 10, 0, 0)
    assert store.books_check() == []


@pytest.mark.parametrize(
    "members",
    [
        {"comptroller.hold.accounts": "service:a/month@2025-11"},
        {"comptroller.hold.permits": [1]},
        {"comptroller.hold.progressive": None},
        {"comptroller.hold.slice_nano_usd": "1"},
        {"comptroller.run": 7},
    ],
)
def test_what_is_held_on_no_accounts_says_where(
    books: Projected, members: dict[str, object]
) -> None:
    """A decision that cannot be read stops its journal at its place."""
    worker = books.script(W0)
    worker.decided("R1")
    place = books.journal(W0).offset
    worker.decided("R2", members)
    with pytest.raises(RecordError, match=f"journal {W0}, byte {place}: Expected"):
        books.project(W0)
    assert books.store.position(W0) == 0


def test_accounts_count_from_when_they_are_opened(books: Projected) -> None:
    """Each grant opens one more of the path; what follows counts on all of them."""
    control, worker = books.script(CONTROL), books.script(W0)
    control.joined(W0)
    accounts = [
        "credential:cred-1/total@all",
        MONTH,
        "unit:acme/retail/total@all",
        "tenant:acme/total@all",
        WHOLE,
    ]
    for number, account in enumerate(accounts, start=1):
        worker.decided(f"R{number}")
        worker.settled(f"R{number}", 10**number, {"input": 1})
        books.project(W0)
        control.granted(W0, number, {account: 1}, 10**9)
        books.project(CONTROL)
    worker.decided("last")
    worker.settled("last", 1, {"input": 1})
    books.project(W0)
    for account in accounts:
        assert books.sums(account) == (111111, 1, 0, 111111)
    assert books.store.books_check() == []


def test_a_run_has_an_account_of_its_own(books: Projected) -> None:
    """Requests of the service that name the run count, others do not."""
    worker = books.script(W0)
    for number, run in enumerate(["r1", "r2", None, "r1"]):
        worker.decided(f"R{number}", {"comptroller.run": run})
        worker.settled(f"R{number}", 10**number, {"input": 1})
    books.project(W0)
    books.leased({RUN: 5}, limit=9999)
    assert books.sums(RUN) == (1001, 5, 0, 1001)
    assert books.store.spent_in("run", "checkout-assistant/r2", 0, None) == 10
    assert books.store.books_check() == []


SCOPES = [
    ("organization", "any", 7),
    ("tenant", "acme", 7),
    ("tenant", "other", 0),
    ("unit", "acme/retail", 7),
    ("unit", "acme/other", 0),
    ("service", "s0", 1),
    ("credential", "c1", 2),
    ("run", "s2/r2", 4),
    ("model", "gpt-5-mini", 0),
]
"""Scope, key, and what its requests cost in a minute."""
SPANS = [(0, None), (0, 60), (7, 8), (10, 30), (15, 135), (13, 61), (5, 5)]
"""In minutes; 20 is a whole hour of the clock."""


def test_spend_in_any_span_is_exact(books: Projected) -> None:
    """Whole hours come from the roll-up, the rest from requests; the sum is exact.

    Three services ask once a minute each; costs are 1, 2 and 4.
    """
    worker = books.script(W0)
    for minute in range(140):
        for number in range(3):
            name = f"R{minute:03d}-{number}"
            members = {
                "service.name": f"s{number}",
                "comptroller.credential.id": f"c{number}",
                "comptroller.run": f"r{number}" if number else None,
            }
            worker.decided(name, members)
            worker.settled(name, 2**number, {"input": 1})
        books.clock.advance(60)
    worker.decided("open")
    books.project(W0)
    for scope, key, costs in SCOPES:
        for first, last in SPANS:
            starts_ns = START_NS + first * MINUTE_NS
            ends_ns = None if last is None else START_NS + last * MINUTE_NS
            spent = books.store.spent_in(scope, key, starts_ns, ends_ns)
            minutes = (140 if last is None else last) - first
            assert spent == costs * minutes, (scope, key, first, last)
