"""The ledger on SQLite: what it checks of itself, keeps in memory, and reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptroller.adapters.store.ledger import SqliteLedger
from comptroller.adapters.store.shelf import SqliteShelf
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.core.errors import RecordError, StoreUnavailableError
from comptroller.testing.ledger_script import STARTS_NS
from comptroller.testing.projected import (
    CONTROL,
    MONTH,
    PERMITS,
    RUN,
    W0,
    WHOLE,
    Projected,
)
from comptroller.testing.system import START_NS, FakeClock

HOUR_NS = 3600 * 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


@pytest.fixture
def books(path: Path) -> Iterator[Projected]:
    store = SqliteStore(path)
    yield Projected(store)
    store.close()


def spent(books: Projected) -> None:
    """A lease, of which a request took a part; another is under way."""
    books.leased({MONTH: 400, WHOLE: 400})
    worker = books.script(W0)
    worker.held("R1", 60, [MONTH, WHOLE])
    worker.settled("R1", 45, {"input": 7})
    worker.held("R2", 60, [MONTH, WHOLE])
    books.project(W0)
    control = books.script(CONTROL)
    control.joined("/node/w9/gone")
    control.granted("/node/w9/gone", 1, {MONTH: 100})
    control.suspended("/node/w9/gone", {MONTH: 100})
    control.suspense_settled("/node/w9/gone", MONTH, 10)
    books.project(CONTROL)
    assert books.store.books_check() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budget_accounts SET settled = settled - 1", "settled 54, worked out anew 55"),
        ("budget_accounts SET unheld = unheld + 1", "unheld 1, worked out anew 0"),
        ("budget_accounts SET leased = leased - 1", "leased 354, worked out anew 355"),
        ("budget_accounts SET suspense = 7", "suspense 7, worked out anew 0"),
        (
            "budget_leases SET consumed = 46 WHERE consumed > 0",
            "but its requests took 45",
        ),
        ("budget_leases SET adjusted = 0", "0 adjusted, but persons settled 10"),
        ("budget_leases SET returned = 400", "overdrawn by 45"),
        ("budget_leases SET returned = 300", "under way hold 60, but 55 is left"),
        ("budget_leases SET account = 'x' || account", "of an account there is not"),
        ("budget_leases SET holder = holder || account", "without a lease"),
        ("requests SET cost_nano_usd = 44 WHERE request_id = 'R1'", "spend in hour"),
        ("spend SET requests = 9", "off by 8 requests and 0"),
        ("spend SET hour = hour - 1", "off by -1 requests and -45"),
        ("requests SET tenant = 'other' WHERE request_id = 'R1'", "spend in hour"),
    ],
)
def test_the_check_of_the_books_finds_what_does_not_add_up(
    books: Projected, path: Path, change: str, said: str
) -> None:
    """Whichever row was changed by hand, a contradiction names it."""
    spent(books)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {change}")
    assert said in "\n".join(books.store.books_check())


def test_the_database_refuses_what_exceeds_a_limit(
    books: Projected, path: Path
) -> None:
    """Whoever writes: settled + leased + suspense - unheld is within what holds."""
    spent(books)
    with sqlite3.connect(path) as connection:
        for change in (
            "leased = leased + 601",
            "settled = settled + 601",
            "suspense = 601",
            "unheld = -601",
            "effective = 399",
            "settled = -1, unheld = 0",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                connection.execute(f"UPDATE budget_accounts SET {change}")  # noqa: S608  ours


def test_the_check_of_the_database_is_an_error_of_the_record(
    books: Projected, path: Path
) -> None:
    """It stops the journal, not the process, and nothing of its run is kept."""
    spent(books)
    before = books.of_limits()
    with sqlite3.connect(path) as connection:
        # What is in memory does not know of it, so that only the database finds it.
        connection.execute("CREATE TRIGGER t BEFORE UPDATE ON budget_accounts BEGIN"
                           " SELECT RAISE(ABORT, 'planted'); END")  # fmt: skip
    worker = books.script(W0)
    worker.settled("R2", 45, {"input": 7})
    with pytest.raises(RecordError, match=f"{W0}, before byte .*planted"):
        books.project(W0)
    assert books.of_limits() == before
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER t")
    books.project(W0)
    assert books.sums(WHOLE) == (90, 310, 0, 0)
    assert books.store.books_check() == []


def test_rows_are_read_once(books: Projected) -> None:
    """While nothing is new, a run reads no account and no lease again."""
    spent(books)
    store = books.store
    assert isinstance(store, SqliteStore)
    said: list[str] = []
    with store._engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(said.append)
    for number in range(3):
        worker = books.script(W0)
        worker.held(f"S{number}", 6, [MONTH, WHOLE])
        worker.settled(f"S{number}", 5, {"input": 7})
        books.project(W0)
    driver.set_trace_callback(None)
    asked = [one for one in said if one.startswith("SELECT") and "budget_" in one]
    assert len(asked) <= 5  # the scopes of the path, at the first
    written = [one for one in said if one.startswith("INSERT INTO budget_accounts")]
    assert len(written) == 3 * 2
    assert books.sums(MONTH) == (45 + 10 + 15, 340, 0, 0)


def test_memory_is_bounded(books: Projected) -> None:
    """What was let go of is read again, and the sums are the same."""
    assert isinstance(books.store, SqliteStore)
    books.store._shelf = SqliteShelf(rows_max=0)
    spent(books)
    for number in range(5):
        worker = books.script(W0)
        worker.held(f"S{number}", 6, [MONTH, WHOLE])
        worker.settled(f"S{number}", 5, {"input": 7})
        books.project(W0)
    assert books.sums(MONTH) == (45 + 10 + 25, 330, 0, 0)
    assert books.store.books_check() == []


def test_each_request_is_booked_in_its_own_hour(books: Projected) -> None:
    """Old and new requests in turn find the windows that held when they were decided.

    Windows of hours change often; those of days that passed are not kept in mind.
    """
    books.clock = FakeClock(STARTS_NS)
    control = books.script(CONTROL)
    control.joined(W0)
    hours = [0, 1, 2, 23, 24, 90, 91, 200]
    for sequence, hour in enumerate(hours, start=1):
        starts_ns = STARTS_NS + hour * HOUR_NS
        account = f"service:checkout-assistant/hour@{hour}"
        control.granted(
            W0, sequence, {account: 5}, span=(starts_ns, starts_ns + HOUR_NS)
        )
    books.project(CONTROL)
    for hour in [200, 0, 1, 91, 2, 90, 23, 24, 0, 3, 2, 3, 23, 199, 200]:
        books.clock = FakeClock(STARTS_NS + hour * HOUR_NS + 17)
        worker = books.script(W0)
        name = f"R{books.journal(W0).offset}"
        worker.decided(name)
        worker.settled(name, hour + 1, {"input": 1})
        books.project(W0)
    found = {
        hour: books.sums(f"service:checkout-assistant/hour@{hour}") for hour in hours
    }
    spent_in = {hour: hour + 1 for hour in hours} | {0: 2, 2: 6, 23: 48, 200: 402}
    assert found == {hour: (spent_in[hour], 5, 0, spent_in[hour]) for hour in hours}
    assert books.store.books_check() == []


def test_reads_by_any_process(books: Projected, path: Path) -> None:
    """A reader that is not the writer sees the same books, and cannot change them."""
    spent(books)
    ledger = SqliteLedger.open(path)
    store = books.store
    assert ledger.accounts_of(START_NS) == store.accounts_of(START_NS) != []
    assert ledger.leases(holder=W0) == store.leases(holder=W0) != []
    assert ledger.settlements() == store.settlements() != []
    assert ledger.books_check() == []
    ledger.close()
    with pytest.raises(StoreUnavailableError, match="there is no store"):
        SqliteLedger.open(path.parent / "none")


def test_paths_are_kept_once(books: Projected, path: Path) -> None:
    """Requests of one path share its text; those that hold nothing have none."""
    spent(books)
    worker = books.script(W0)
    worker.decided("R3")
    worker.held("R4", 1, [RUN], {"comptroller.hold.permits": [PERMITS]})
    books.project(W0)
    rows = sqlite3.connect(path).execute(
        "SELECT request_id, path FROM requests"
        " LEFT JOIN hold_paths ON id = hold_path ORDER BY request_id"
    )
    both = f'[["{MONTH}","{WHOLE}"],[],[]]'
    assert rows.fetchall() == [
        ("R1", both),
        ("R2", both),
        ("R3", None),
        ("R4", f'[["{RUN}"],["{PERMITS}"],[]]'),
    ]


def test_what_is_polled_is_found_by_its_index(books: Projected) -> None:
    """The centre asks for it again and again: it never reads through all rows."""
    store = books.store
    assert isinstance(store, SqliteStore)
    said: list[str] = []
    with store._engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(said.append)
    store.excesses()
    store.held_on([MONTH])
    store.live_holders()
    store.suspense()
    store.admissions(5)
    store.leases(account=MONTH)
    store.spent_in("run", "checkout-assistant/r1", 5, None)
    driver.set_trace_callback(None)
    asked = [one for one in said if one.startswith("SELECT")]
    assert len(asked) == 7
    for one, index in zip(
        asked,
        [
            "requests_exceeded",
            "requests_open",
            "holders_live",
            "budget_leases_suspended",
            "requests_by_time",
            "budget_leases_by_account",
            "requests_by_run",
        ],
        strict=True,
    ):
        plan = driver.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()
        assert index in " | ".join(row[3] for row in plan), one
