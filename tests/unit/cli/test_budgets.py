from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.cli import budgets
from comptroller.core.errors import InvalidArgumentError
from comptroller.engine.budgeting import Budgeting
from comptroller.engine.ports import JournalPosition
from comptroller.testing.budgeted import (
    SERVICE,
    USD,
    BudgetedDay,
    budgeted,
)
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock, SequentialIds

CONTROL, WORKER = "/node/control/01C", "/node/w0/01A"
MONTH, DAY = f"service:{SERVICE}/month", f"service:{SERVICE}/day"
PARALLEL = f"service:{SERVICE}/parallel"


class Desk:
    """A day's records and the commands over them."""

    def __init__(self, store: SqliteStore) -> None:
        self.clock = FakeClock()
        self.journals = InMemoryJournals()
        control, worker = (self.journals.open(one) for one in (CONTROL, WORKER))
        self.day = BudgetedDay(control, worker, self.clock, SequentialIds())
        self._store = store

    @contextmanager
    def opened(self, data: Path) -> Iterator[Budgeting]:
        """What the commands open: everything that is recorded, projected."""
        assert data == Path("somewhere")
        for source in (CONTROL, WORKER):
            position = self._store.position(source)
            run = self.journals.read(source, position, 2**20)
            end = JournalPosition(source, self.journals.size(source))
            self._store.project(run, end)
        yield Budgeting(self._store, self._store, self.clock)

    def run(self, *words: str, status: int = 0) -> str:
        """What a command prints on standard output."""
        app = typer.Typer()
        budgets.register(app, self.opened)
        done = CliRunner().invoke(app, [*words, "--data", "somewhere"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        self.err = done.stderr
        return done.stdout


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = SqliteStore(tmp_path / "store.sqlite3")
    desk = Desk(store)
    desk.day.apply(budgeted())
    desk.day.joined()
    yield desk
    store.close()


def test_a_list_is_a_line_for_each_budget(desk: Desk) -> None:
    """Limit, spent, held and left in USD, with what is to come."""
    desk.day.granted(DAY, 30 * USD, 100 * USD)
    desk.day.held("A", 7 * USD)
    desk.day.settled("A", 6 * USD)
    desk.clock.advance(3600)
    desk.day.held("B", USD // 2, DAY)

    lines = desk.run("budget", "list").splitlines()

    assert lines[0].split() == [
        "BUDGET", "LIMIT", "SPENT", "HELD", "LEFT", "USED", "FORECAST",
        "EMPTY", "(UTC)",
    ]  # fmt: skip
    day = next(line for line in lines if line.startswith(DAY))
    # 6 USD in the last 90 minutes, and six hours are left of the day.
    assert day.split() == [DAY, "100.00", "6.00", "0.50", "93.50", "6%", "30.00", "-"]
    month = next(line for line in lines if line.startswith(MONTH))
    assert month.split()[-2:] == ["unknown", "-"]
    assert lines[-1].startswith("Amounts are in USD")


def test_the_json_of_a_list_has_every_promised_member(desk: Desk) -> None:
    """The members of design.md §8, whole numbers of nano-USD."""
    listed = json.loads(desk.run("budget", "list", "--json"))

    promised = {
        "budget_id", "scope", "window", "limit_nano_usd", "spent_nano_usd",
        "held_nano_usd", "suspense_nano_usd", "left_nano_usd",
    }  # fmt: skip
    assert len(listed) == 5
    for row in listed:
        assert promised <= set(row)
        spoken_for = (
            row["spent_nano_usd"] + row["held_nano_usd"] + row["suspense_nano_usd"]
        )
        assert spoken_for + row["left_nano_usd"] == row["limit_nano_usd"]


def test_a_list_that_is_cut_says_so(desk: Desk) -> None:
    """On standard error, so that JSON stays JSON."""
    listed = json.loads(desk.run("budget", "list", "--json", "--limit", "2"))

    assert len(listed) == 2
    assert desk.err == "Only 2 are shown; --limit N shows more.\n"
    desk.run("budget", "list", "--limit", "5")
    assert desk.err == ""


def test_limits_on_parallel_requests_are_listed_on_request(desk: Desk) -> None:
    """Requests are counted, not paid."""
    desk.day.granted(PARALLEL, 4, 50)
    desk.day.held("A", USD, PARALLEL)

    lines = desk.run("budget", "list", "--parallel").splitlines()

    line = next(line for line in lines if line.startswith(PARALLEL))
    assert line.split() == [PARALLEL, "50", "0", "1", "49", "0%", "-", "-"]


def test_what_is_over_or_lowered_is_noted(desk: Desk) -> None:
    """A line below the table for what no column says."""
    account = desk.day.granted(DAY, 90 * USD, 100 * USD)
    desk.day.limit_changed(account, 100 * USD, 150 * USD)
    desk.day.held("A", 90 * USD, DAY)
    desk.day.settled("A", 103 * USD)

    lines = desk.run("budget", "list").splitlines()

    assert f"{DAY}: over by 3.00: nothing more is let through." in lines
    assert (
        f"{DAY}: lowered to 100.00, in force as soon as it fits; 150.00 until then."
        in lines
    )
    assert next(one for one in lines if one.startswith(f"{DAY} ")).endswith("now")


def test_a_budgets_page_shows_owner_leases_and_alerts(desk: Desk) -> None:
    """Everything that a person needs to decide what to do."""
    account = desk.day.granted(DAY, 60 * USD, 100 * USD)
    desk.day.held("A", 55 * USD, DAY)
    desk.day.settled("A", 55 * USD)
    desk.day.crossed(account, 50, 55 * USD, 100 * USD)

    page = desk.run("budget", "show", DAY)

    for expected in (
        account,
        "owner             Grace Hopper <grace@acme.example>  (grace)",
        "window            day 2025-11-24: 2025-11-23 23:00Z to 2025-11-24 23:00Z",
        "spent             55.00 USD  (55%)",
        "left              45.00 USD",
        "leased            5.00 USD, holds included",
        "forecast          unknown: its history is too short",
        "alerts at         50%, 80%",
        "near the limit    clamp; full hold",
        "at 50%            uses gpt-5-nano, as it does now",
        "at 90%            uses tiny\n",
        "50% crossed       2025-11-24 16:00Z",
        f"{WORKER}  live ",
    ):
        assert expected in page, page


def test_a_page_says_when_a_total_will_be_empty(desk: Desk) -> None:
    """A total has no end to forecast, and a day on which nothing is left."""
    run = f"run:{SERVICE}/nightly-7/total"
    desk.day.granted(run, 2 * USD, 2 * USD)
    desk.day.held("A", USD, run)
    desk.day.settled("A", USD)
    desk.clock.advance(7 * 24 * 3600)

    page = desk.run("budget", "show", run)

    assert "window            in all" in page
    expected = "empty 2025-12-08 16:00Z, at the pace of the last 7 days"
    assert f"forecast          {expected}" in page


def test_suspense_is_listed(desk: Desk) -> None:
    """Whose it is, and on which account; nothing is said in words."""
    assert desk.run("budget", "suspense", "list") == "Nothing is in suspense.\n"
    account = desk.day.granted(MONTH, 30 * USD, 1200 * USD)
    desk.day.suspended(account, 30 * USD)

    lines = desk.run("budget", "suspense", "list").splitlines()
    (row,) = json.loads(desk.run("budget", "suspense", "list", "--json"))

    assert lines[1].split() == [WORKER, account, "30.00"]
    assert row["suspense_nano_usd"] == 30 * USD
    assert "SUSPENSE" in desk.run("budget", "list").splitlines()[0]


def test_books_that_balance_are_no_failure(desk: Desk) -> None:
    """The status is 0, for a monitor, and JSON says the same."""
    assert desk.run("audit", "books") == "The books balance.\n"
    as_json = json.loads(desk.run("audit", "books", "--json"))
    assert as_json == {"balanced": True, "contradictions": []}


def test_an_amount_that_is_none_is_refused_before_anything_is_opened(
    tmp_path: Path,
) -> None:
    """A slip in what was spent changes nothing."""
    with pytest.raises(InvalidArgumentError, match=r"--spent: .*names no currency|not"):
        budgets.settle("h", "a", "much", "ada", "why", tmp_path / "data")
    assert not (tmp_path / "data").exists()
