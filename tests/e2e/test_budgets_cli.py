"""`comptroller budget …` and `audit books` as people run them, on a real directory."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.bootstrap import Place
from comptroller.testing.budgeted import SERVICE, USD, BudgetedDay
from comptroller.testing.tree import command, control_process, told

CONFIGURATION = """\
version: 1
organization: acme
people:
  ada: {name: Ada Lovelace, email: ada@acme.example}
  grace: {name: Grace Hopper, email: grace@acme.example}
gateway: {owner: ada}
providers:
  house: {base_url: http://127.0.0.1:9, speaks: [openai]}
models:
  gpt-5-mini: {provider: house, price: {input: 1, output: 2}}
tenants:
  acme:
    units:
      retail:
        owner: grace
        services:
          checkout-assistant:
            purpose: Answers shoppers' questions at checkout
            kind: internal
            environment: production
            owners: {policy: ada, billing: grace, technical: ada}
            models: [gpt-5-mini]
            budget: [500 USD, 100 USD/month]
"""
TOTAL = f"service:{SERVICE}/total"


class Applied(NamedTuple):
    """A directory with budgets, and the records of one live worker."""

    data: Path
    day: BudgetedDay

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command on the directory."""
        return command(self.data.parent, *words, "--data", str(self.data))

    def told(self, *words: str) -> Any:  # noqa: ANN401  JSON
        """What a command answers as JSON."""
        return told(self.data.parent, *words, "--data", str(self.data))

    def total(self) -> dict[str, Any]:
        """The service's total, as `budget list` has it."""
        listed = self.told("budget", "list")
        (row,) = (one for one in listed if one["budget_id"] == TOTAL)
        assert isinstance(row, dict)
        return row


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[Applied]:
    data, config = tmp_path / "data", tmp_path / "comptroller.yaml"
    config.write_text(CONFIGURATION)
    clock = SystemClock()
    ids = UlidIds(clock, SystemEntropy())
    with ExitStack() as stack:
        started = Applied(data, None)  # type: ignore[arg-type]  # needs a directory
        done = started.command("apply", "--yes", "--config", str(config))
        assert done.returncode == 0, done.stderr
        control, worker = (
            stack.enter_context(
                closing(
                    SyncJournal(
                        data / "journal",
                        journal_name("node", writer, ids.new()),
                        clock,
                        ids,
                    )
                )
            )
            for writer in ("control", "w0")
        )
        day = BudgetedDay(control, worker, clock, ids)
        day.joined()
        yield Applied(data, day)


@pytest.fixture(params=["with a control process", "without one"])
def either(request: pytest.FixtureRequest, applied: Applied) -> Iterator[Applied]:
    if request.param == "without one":
        yield applied
        return
    with control_process(applied.data):
        yield applied


def test_what_was_just_recorded_is_in_the_answer(either: Applied) -> None:
    """A hold and its end show at once, whether a control process runs or not."""
    day = either.day
    day.granted(TOTAL, 30 * USD, 500 * USD)
    day.held("A" * 26, 4 * USD, TOTAL)
    held = either.total()
    day.settled("A" * 26, 3 * USD)
    spent = either.total()

    assert (held["held_nano_usd"], held["spent_nano_usd"]) == (4 * USD, 0)
    assert (spent["held_nano_usd"], spent["spent_nano_usd"]) == (0, 3 * USD)
    assert spent["left_nano_usd"] == 497 * USD
    assert either.command("audit", "books").stdout == "The books balance.\n"


def test_suspense_is_settled_by_a_named_person(either: Applied) -> None:
    """The person and the reason are kept; what was not spent is free again."""
    day = either.day
    account = day.granted(TOTAL, 30 * USD, 500 * USD)
    day.suspended(account, 30 * USD)
    assert either.total()["left_nano_usd"] == 470 * USD
    asked = ("budget", "suspense", "settle", day.holder, account)
    said = ("--spent", "12.5 USD", "--reason", "the provider's invoice")

    stranger = either.command(*asked, *said, "--by", "mallory")
    more = either.command(
        *asked, "--spent", "31", "--by", "grace", "--reason", "a guess"
    )
    settled = either.told(*asked, *said, "--by", "grace")
    again = either.command(*asked, *said, "--by", "grace")

    assert stranger.returncode == more.returncode == again.returncode == 1
    assert "mallory" in stranger.stderr
    assert "30.000000000 USD of" in more.stderr
    assert "in suspense" in again.stderr
    assert settled == {
        "holder": day.holder,
        "account": account,
        "spent_nano_usd": 12_500_000_000,
        "freed_nano_usd": 17_500_000_000,
    }
    assert either.told("budget", "suspense", "list") == []
    assert either.total()["spent_nano_usd"] == 12_500_000_000
    assert either.total()["left_nano_usd"] == 487_500_000_000
    (shown,) = either.told("budget", "show", account)
    (settlement,) = shown["settlements"]
    assert (settlement["person"], settlement["reason"]) == (
        "grace",
        "the provider's invoice",
    )
    assert either.command("audit", "books").returncode == 0


def test_books_that_do_not_balance_fail_the_audit(applied: Applied) -> None:
    """Whoever changes a sum in the store is found out, with what should be there."""
    day = applied.day
    account = day.granted(TOTAL, 30 * USD, 500 * USD)
    day.held("A" * 26, 4 * USD, TOTAL)
    day.settled("A" * 26, 3 * USD)
    assert applied.command("audit", "books").returncode == 0
    with closing(sqlite3.connect(Place(applied.data).store)) as store, store:
        store.execute(
            "UPDATE budget_accounts SET settled = settled - 1000000000 WHERE id = ?",
            (account,),
        )

    found = applied.command("audit", "books")
    as_json = applied.command("audit", "books", "--json")

    assert found.returncode == as_json.returncode == 1
    assert account in found.stdout
    assert "The books do not balance" in found.stdout
    document = json.loads(as_json.stdout)
    assert document["balanced"] is False
    assert any(account in line for line in document["contradictions"])


def test_a_budget_that_nobody_declared_is_not_found(applied: Applied) -> None:
    """The message names what was probably meant."""
    done = applied.command("budget", "show", "checkout-assistent", "--json")

    assert done.returncode == 1
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "not_found"
    assert "did you mean 'checkout-assistant'?" in error["message"]
