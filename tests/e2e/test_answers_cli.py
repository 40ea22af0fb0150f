"""The answers of the installed program, from real journals and a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.testing.answered import RecordedDay, record_requests
from comptroller.testing.system import FakeClock, SequentialIds
from comptroller.testing.tree import command

SETTLED, REFUSED, OPEN, PRICED = "A" * 26, "B" * 26, "C" * 26, "D" * 26

CONFIGURATION = """\
version: 1
organization: acme
timezone: Europe/Amsterdam
people:
  ada: {name: Ada Lovelace, email: ada@acme.example}
  grace: {name: Grace Hopper, email: grace@acme.example}
  alan: {name: Alan Turing, email: alan@acme.example}
gateway: {owner: alan}
providers:
  openai: {base_url: https://api.openai.com, speaks: [openai]}
models:
  gpt-5-mini: {provider: openai, price: {input: 0.25, output: 2}}
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
            owners: {policy: ada, billing: grace, technical: alan}
            models: [gpt-5-mini]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory: applied by the program, with a live worker's journal."""
    folder = tmp_path_factory.mktemp("answers") / "data"
    config = folder.with_name("comptroller.yaml")
    config.write_text(CONFIGURATION)
    run("apply", "--yes", "--config", str(config), "--data", str(folder))
    name = journal_name("node", "w0", "boot")
    journal = SyncJournal(folder / "journal", name, FakeClock(), SequentialIds())
    day = RecordedDay(journal)
    record_requests(day)
    (card,) = (folder / "rate-cards").iterdir()
    day.decide(PRICED, service="other", rate_card=card.stem)
    day.settle(PRICED, rate_card=card.stem, service_tier="default")
    yield folder
    journal.close()


def run(*arguments: str, expected: int = 0) -> str:
    done = command(Path(), *arguments)
    assert done.returncode == expected, done.stderr
    return done.stdout if expected == 0 else done.stderr


def test_answers_from_real_journals_and_a_real_store(data: Path) -> None:
    """What a worker recorded a moment ago is listed, summed and explained."""
    asked = ("--data", str(data))

    ours = ("--service", "checkout-assistant")
    listed = json.loads(run("requests", "--json", *ours, *asked))
    assert [(row["request_id"], row["state"]) for row in listed] == [
        (OPEN, "open"),
        (REFUSED, "refused"),
        (SETTLED, "settled"),
    ]
    (spent,) = json.loads(run("spend", "--json", *asked))
    assert (spent["key"], spent["cost_nano_usd"]) == ("grace", 2 * 1_250_000)
    found = json.loads(run("explain", SETTLED, "--json", *asked))
    for role in ("decision", "end"):
        record = found["records"][role]
        journal = (data / "journal" / "node.w0.boot.jsonl").read_bytes()
        line = journal[record["offset"] :].partition(b"\n")[0]
        assert line.decode() == record["line"]
    assert found["people"]["policy_owner"]["email"] == "ada@acme.example"
    assert "not kept here" in found["cost"]["note"]
    assert "Ada Lovelace" in run("explain", SETTLED, *asked)


def test_a_cost_is_worked_out_from_the_kept_card(data: Path) -> None:
    """The card that was applied is kept, and explains a cost by its version."""
    found = json.loads(run("explain", PRICED, "--json", "--data", str(data)))

    assert found["cost"]["agrees"] is True
    assert found["cost"]["lines"][0]["price"] == "contract"


def test_an_unknown_request_exits_with_a_message(data: Path) -> None:
    """Exit status 1 and a message a person can act on, as JSON where asked."""
    asked = ("explain", "nope", "--data", str(data))

    error = json.loads(run(*asked, "--json", expected=1))["error"]

    assert error["code"] == "not_found"
    assert "there is no request 'nope'" in error["message"]
