from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.core.errors import NotFoundError
from comptroller.core.registry import Budget, Registry, Window
from comptroller.engine.budgeting import Budgeting
from comptroller.engine.ports import JournalPosition
from comptroller.testing.budgeted import (
    CREDENTIAL,
    RUN,
    SERVICE,
    USD,
    BudgetedDay,
    budgeted,
)
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock, SequentialIds

CONTROL, WORKER = "/node/control/01C", "/node/w0/01A"
MONTH, DAY = f"service:{SERVICE}/month", f"service:{SERVICE}/day"
UNIT, PARALLEL = "unit:acme/retail/month", f"service:{SERVICE}/parallel"
RUN_TOTAL = f"run:{SERVICE}/{RUN}/total"
HOUR_S = 3600
ALL = 1000


class Ledger:
    """A day's records, and a real store that they are projected into."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.journals = InMemoryJournals()
        control, worker = (self.journals.open(one) for one in (CONTROL, WORKER))
        self.day = BudgetedDay(control, worker, self.clock, SequentialIds())

    def apply(self, registry: Registry) -> None:
        """Applies a registry."""
        self.day.apply(registry)
        self.project()

    def project(self) -> None:
        """Projects what was written meanwhile."""
        for source in (CONTROL, WORKER):
            position = self.store.position(source)
            run = self.journals.read(source, position, 2**20)
            end = JournalPosition(source, self.journals.size(source))
            self.store.project(run, end)

    def budgeting(self) -> Budgeting:
        """The answers, of everything written."""
        self.project()
        return Budgeting(self.store, self.store, self.clock)

    def listed(self, *, parallel: bool = False) -> dict[str, dict[str, Any]]:
        """`budget list`, by the ids of the budgets."""
        found = self.budgeting().budgets(ALL, with_parallel=parallel)
        assert not found.is_cut
        return {row["budget_id"]: row for row in found.rows}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = SqliteStore(tmp_path / "store.sqlite3")
    yield Ledger(store)
    store.close()


@pytest.fixture
def open_ledger(ledger: Ledger) -> Ledger:
    """With the organization's limits, and a worker that may be granted leases."""
    ledger.apply(budgeted())
    ledger.day.joined()
    return ledger


def test_nothing_is_listed_before_anything_is_declared(ledger: Ledger) -> None:
    """An empty directory has no budgets, and none can be shown."""
    assert ledger.listed() == {}
    with pytest.raises(NotFoundError, match="nothing called 'x' has a budget"):
        ledger.budgeting().show("x")


def test_every_declared_budget_is_listed_untouched(open_ledger: Ledger) -> None:
    """Widest scope first, with everything left; no request was needed for it."""
    listed = open_ledger.listed()

    assert list(listed) == [
        "organization:acme/month",
        UNIT,
        DAY,
        MONTH,
        f"credential:{CREDENTIAL}/hour",
    ]
    day = listed[DAY]
    assert (day["scope"], day["key"], day["window"]) == ("service", SERVICE, "day")
    assert day["account"] == f"{DAY}@2025-11-24"
    assert (day["starts"], day["ends"]) == (
        "2025-11-23T23:00:00.000000Z",
        "2025-11-24T23:00:00.000000Z",
    )
    amounts = {name: day[f"{name}_nano_usd"] for name in ("limit", "left", "spent")}
    assert amounts == {"limit": 100 * USD, "left": 100 * USD, "spent": 0}
    assert (day["on_shortfall"], day["hold"], day["alert_at"]) == (
        "clamp",
        "full",
        [50, 80],
    )
    assert day["on_threshold"] == [
        {"percent": 50, "use": "gpt-5-nano", "is_reached": False},
        {"percent": 90, "use": "tiny", "is_reached": False},
    ]


def test_a_budget_says_which_model_it_uses_now(open_ledger: Ledger) -> None:
    """By what is spent and in suspense, not by what is held."""
    open_ledger.day.granted(DAY, 60 * USD, 100 * USD)
    open_ledger.day.held("A", 55 * USD, DAY)
    held = open_ledger.listed()[DAY]
    open_ledger.day.settled("A", 55 * USD)
    spent = open_ledger.listed()[DAY]

    assert [one["is_reached"] for one in held["on_threshold"]] == [False, False]
    assert [one["is_reached"] for one in spent["on_threshold"]] == [True, False]


@pytest.mark.parametrize(
    ("budget", "owner"),
    [
        ("organization:acme/month", "alan"),
        (UNIT, "grace"),
        (MONTH, "grace"),
        (f"credential:{CREDENTIAL}/hour", "grace"),
        ("model:gpt-5-mini/parallel", "alan"),
    ],
)
def test_a_budget_names_whom_to_ask(
    open_ledger: Ledger, budget: str, owner: str
) -> None:
    """The gateway's owner for what all share, else the unit's or billing owner."""
    row = open_ledger.listed(parallel=True)[budget]

    assert row["owner"]["id"] == owner
    assert row["owner"]["email"] == f"{owner}@acme.example"


def test_what_is_spent_and_held_is_not_left(open_ledger: Ledger) -> None:
    """Spent is what ended, held what is under way; an idle lease is neither."""
    day = open_ledger.day
    day.granted(MONTH, 30 * USD, 1200 * USD)
    day.held("A", 4 * USD, MONTH)
    day.held("B", 5 * USD, MONTH)
    day.settled("A", 3 * USD)

    row = open_ledger.listed()[MONTH]

    shown = {
        name: row[f"{name}_nano_usd"] // USD
        for name in ("spent", "held", "leased", "suspense", "left", "over")
    }
    assert shown == {
        "spent": 3,
        "held": 5,
        "leased": 27,
        "suspense": 0,
        "left": 1192,
        "over": 0,
    }


def test_a_budget_that_no_request_was_held_on_counts_what_was_spent(
    open_ledger: Ledger,
) -> None:
    """Requests from before the budget was declared count in its window, too."""
    open_ledger.day.held("A", 4 * USD)
    open_ledger.day.settled("A", 3 * USD)

    listed = open_ledger.listed()

    assert {row["spent_nano_usd"] for row in listed.values()} == {3 * USD}
    assert listed[DAY]["percent"] == 3


def test_each_credential_has_its_own_budget(open_ledger: Ledger) -> None:
    """What one spends is not taken from another's; a revoked one is not listed."""
    day = open_ledger.day
    for name in ("cred-2", "cred-3"):
        day.control.issued(name)
    day.worker.decided("A", {"comptroller.credential.id": "cred-2"})
    day.settled("A", 3 * USD)
    day.control.revoked("cred-3", 5)

    listed = open_ledger.listed()

    spent = {
        row["key"]: row["spent_nano_usd"]
        for row in listed.values()
        if row["scope"] == "credential"
    }
    assert spent == {CREDENTIAL: 0, "cred-2": 3 * USD}


def test_a_new_window_begins_with_nothing_spent(open_ledger: Ledger) -> None:
    """Tomorrow the day's budget is whole, and the month's is not."""
    open_ledger.day.granted(DAY, 5 * USD, 100 * USD)
    open_ledger.day.held("A", 4 * USD, DAY)
    open_ledger.day.settled("A", 3 * USD)
    open_ledger.clock.advance(24 * HOUR_S)

    listed = open_ledger.listed()

    assert listed[DAY]["label"] == "2025-11-25"
    assert listed[DAY]["left_nano_usd"] == 100 * USD
    assert listed[MONTH]["spent_nano_usd"] == 3 * USD


def test_a_bill_above_the_limit_leaves_nothing(open_ledger: Ledger) -> None:
    """What is left is never below 0; by how much it is over is said apart."""
    open_ledger.day.granted(DAY, 5 * USD, 100 * USD)
    open_ledger.day.held("A", 5 * USD, DAY)
    open_ledger.day.settled("A", 103 * USD)

    row = open_ledger.listed()[DAY]

    assert (row["left_nano_usd"], row["over_nano_usd"]) == (0, 3 * USD)
    assert row["percent"] == 103
    assert row["exhausted_at"] == "2025-11-24T16:00:00.000000Z"


def test_a_lowered_limit_says_what_is_in_force(open_ledger: Ledger) -> None:
    """The declared limit is shown, and what holds until it fits."""
    day = open_ledger.day
    account = day.granted(MONTH, 30 * USD, 1200 * USD)
    day.held("A", 30 * USD, MONTH)
    day.settled("A", 30 * USD)
    day.limit_changed(account, 20 * USD, 30 * USD)
    services = {
        key: replace(one, budget=Budget((Window(20 * USD, "month"),)))
        for key, one in budgeted().services.items()
    }
    changed: dict[tuple[str, str], Any] = {
        ("service", str(key)): msgspec.to_builtins(one) for key, one in services.items()
    }
    day.control.applied(2, changed)

    row = open_ledger.listed()[MONTH]

    assert row["limit_nano_usd"] == 20 * USD
    assert row["effective_limit_nano_usd"] == 30 * USD
    assert row["over_nano_usd"] == 10 * USD


def test_a_plan_warns_of_a_budget_that_is_spent_already(open_ledger: Ledger) -> None:
    """Of what it lowers or declares anew below what is spent and held; not of more."""
    day = open_ledger.day
    day.granted(MONTH, 30 * USD, 1200 * USD)
    day.held("A", 30 * USD, MONTH)
    day.settled("A", 25 * USD)
    day.held("B", 3 * USD, MONTH)
    (service,) = budgeted().services.values()

    def warned(*windows: Window) -> list[str]:
        changed = replace(service, budget=Budget(windows))
        after = replace(budgeted(), services={service.id: changed})
        return open_ledger.budgeting().warnings(after)

    assert warned(Window(1000 * USD, "month")) == []
    assert warned(Window(28 * USD, "month")) == []
    assert warned(Window(27 * USD, "month"), Window(1000 * USD, "day")) == [
        (
            f"{MONTH}: 1.000000 USD more are spent and held already; it takes effect as"
            " soon as it fits, and until then nothing more is let through"
        )
    ]
    (total,) = warned(Window(20 * USD, "total"))
    assert total.startswith(f"service:{SERVICE}/total: 5.000000 USD more")


def test_limits_on_parallel_requests_are_counted_in_requests(
    open_ledger: Ledger,
) -> None:
    """They are listed when asked for, and no count is called nano-USD."""
    open_ledger.day.granted(PARALLEL, 4, 50)
    open_ledger.day.held("A", 5, PARALLEL)

    row = open_ledger.listed(parallel=True)[PARALLEL]

    assert PARALLEL not in open_ledger.listed()
    assert (row["unit"], row["limit"], row["held"], row["left"]) == (
        "requests",
        50,
        1,
        49,
    )
    assert not [name for name in row if name.endswith("nano_usd") and row[name]]


def test_runs_are_listed_after_all_that_is_declared(open_ledger: Ledger) -> None:
    """A run is known from its requests; its budget is its service's."""
    open_ledger.day.granted(RUN_TOTAL, 2 * USD, 2 * USD)
    open_ledger.day.held("A", USD, RUN_TOTAL)

    rows = list(open_ledger.listed().values())

    assert rows[-1]["budget_id"] == RUN_TOTAL
    assert rows[-1]["limit_nano_usd"] == 2 * USD
    assert rows[-1]["held_nano_usd"] == USD
    assert (rows[-1]["starts"], rows[-1]["ends"]) == (None, None)
    cut = open_ledger.budgeting().budgets(5)
    assert cut.is_cut
    assert [row["budget_id"] for row in cut.rows] == [
        row["budget_id"] for row in rows[:-1]
    ]


def test_the_forecast_is_the_pace_of_the_last_hours(open_ledger: Ledger) -> None:
    """What the last six hours cost goes on until the organization's midnight."""
    for hour in range(5):
        open_ledger.day.held(f"A{hour}", 4 * USD)
        open_ledger.day.settled(f"A{hour}", 4 * USD)
        open_ledger.clock.advance(HOUR_S)

    row = open_ledger.listed()[DAY]

    # 20 USD in the last 6 hours; at 21:00 UTC 2 hours are left in Amsterdam.
    assert row["forecast_basis_s"] == 6 * HOUR_S
    assert row["forecast_nano_usd"] == 20 * USD + 20 * USD * 2 // 6
    assert row["exhausted_at"] is None


def test_a_budget_that_will_run_out_says_when(open_ledger: Ledger) -> None:
    """10 USD are left, and 30 go in an hour: they last 20 minutes."""
    for hour in range(3):
        open_ledger.day.held(f"A{hour}", 90 * USD)
        open_ledger.day.settled(f"A{hour}", 30 * USD)
        open_ledger.clock.advance(HOUR_S)

    row = open_ledger.listed()[DAY]

    # All of it went in the last three hours, so these are the pace: 30 an hour.
    assert row["forecast_basis_s"] == 3 * HOUR_S
    assert row["left_nano_usd"] == 10 * USD
    assert row["exhausted_at"] == "2025-11-24T19:20:00.000000Z"


def test_a_short_history_is_not_forecast(open_ledger: Ledger) -> None:
    """One request a moment ago says nothing of the month."""
    open_ledger.day.held("A", 4 * USD)
    open_ledger.day.settled("A", 3 * USD)

    row = open_ledger.listed()[MONTH]

    assert row["forecast_nano_usd"] is row["forecast_basis_s"] is None
    assert row["exhausted_at"] is None


@pytest.mark.parametrize(
    "what", [f"{MONTH}@2025-11", MONTH, f"service:{SERVICE}", SERVICE]
)
def test_a_budget_is_shown_by_any_of_its_names(open_ledger: Ledger, what: str) -> None:
    """An account, a budget, a scope, or just the service's id."""
    shown = {row["budget_id"] for row in open_ledger.budgeting().show(what)}

    assert MONTH in shown
    assert (DAY in shown) == (what in {SERVICE, f"service:{SERVICE}"})
    assert (PARALLEL in shown) == (DAY in shown)


def test_a_slip_in_a_name_is_answered_with_the_nearest(open_ledger: Ledger) -> None:
    """Who mistypes a name is told the one that was meant."""
    with pytest.raises(NotFoundError, match=f"did you mean '{SERVICE}'"):
        open_ledger.budgeting().show("checkout-asistant")


def test_showing_a_budget_shows_its_leases_and_alerts(open_ledger: Ledger) -> None:
    """Who may spend how much of it, and which thresholds were crossed when."""
    day = open_ledger.day
    account = day.granted(MONTH, 700 * USD, 1200 * USD)
    day.held("A", 700 * USD, MONTH)
    day.settled("A", 650 * USD)
    day.crossed(account, 50, 650 * USD, 1200 * USD)

    (row,) = open_ledger.budgeting().show(account)

    assert row["leases"] == [
        {
            "holder": WORKER,
            "state": "live",
            "granted": 700 * USD,
            "returned": 0,
            "consumed": 650 * USD,
            "left": 50 * USD,
            "suspense": 0,
        }
    ]
    (alert,) = row["alerts"]
    assert (alert["percent"], alert["spent_nano_usd"]) == (50, 650 * USD)


def test_last_months_account_can_still_be_shown(open_ledger: Ledger) -> None:
    """An account is named with its window, also when that is over."""
    account = open_ledger.day.granted(MONTH, 30 * USD, 1200 * USD)
    open_ledger.day.held("A", 4 * USD, MONTH)
    open_ledger.day.settled("A", 3 * USD)
    open_ledger.clock.advance(30 * 24 * HOUR_S)

    (row,) = open_ledger.budgeting().show(account)

    assert row["spent_nano_usd"] == 3 * USD
    assert row["label"] == "2025-11"
    assert row["forecast_nano_usd"] is row["exhausted_at"] is None


def test_suspense_is_listed_until_a_person_settles_it(open_ledger: Ledger) -> None:
    """What a lost worker may have spent counts as spent, and is not left."""
    account = open_ledger.day.granted(MONTH, 30 * USD, 1200 * USD)
    open_ledger.day.suspended(account, 30 * USD)

    row = open_ledger.listed()[MONTH]
    (lost,) = open_ledger.budgeting().suspense()
    (shown,) = open_ledger.budgeting().show(account)

    assert row["suspense_nano_usd"] == 30 * USD
    assert row["left_nano_usd"] == 1170 * USD
    (lease,) = shown["leases"]
    assert (lease["returned"], lease["suspense"]) == (0, 30 * USD)
    assert (lost["holder"], lost["account"]) == (WORKER, account)
    assert lost["suspense_nano_usd"] == 30 * USD


def test_a_balanced_ledger_has_no_contradictions(open_ledger: Ledger) -> None:
    """Every account is what its requests and leases add up to."""
    open_ledger.day.granted(MONTH, 30 * USD, 1200 * USD)
    open_ledger.day.held("A", 4 * USD, MONTH)
    open_ledger.day.settled("A", 3 * USD)

    assert list(open_ledger.budgeting().contradictions()) == []
