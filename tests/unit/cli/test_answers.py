from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import typer
from typer.testing import CliRunner

from comptroller.cli import answers
from comptroller.cli.answer_pages import explain_lines, request_rows
from comptroller.cli.readings import Scope
from comptroller.cli.tables import Column, json_text, plain
from comptroller.core.errors import (
    InvalidArgumentError,
    JournalUnavailableError,
    NotFoundError,
)
from comptroller.engine import records
from comptroller.engine.leasing import Lack
from comptroller.engine.ports import RequestQuery
from comptroller.engine.reporting import Reporting
from comptroller.testing.answered import RecordedDay, recorded_day

SETTLED, REFUSED, OPEN = "A" * 26, "B" * 26, "C" * 26
Reading: TypeAlias = tuple[str, dict[str, str | int | list[str] | None], str | None]


@contextmanager
def opened(data: Path) -> Iterator[Reporting]:
    assert data == Path("somewhere")
    yield recorded_day().reporting


def app(read: list[Reading] | None = None) -> typer.Typer:
    """The commands; what they record before they answer goes into the list."""
    noted: list[Reading] = [] if read is None else read

    def record(data: Path, what: str, scope: Scope, by: str | None) -> None:
        assert data == Path("somewhere")
        noted.append((what, dict(scope), by))

    built = typer.Typer()
    answers.register(built, opened, record)
    return built


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app(), [*arguments, "--data", "somewhere"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_what_shows_single_requests_is_recorded() -> None:
    """With what was asked and who asks, where named; sums are not."""
    read: list[Reading] = []
    where = ["--data", "somewhere"]
    for words in (
        ["explain", SETTLED.lower(), "--by", "ada"],
        ["requests", "--service", "checkout", "--since", "2025-11-01"],
        ["spend"],
    ):
        assert CliRunner().invoke(app(read), [*words, *where]).exit_code == 0

    listed = {"service": "checkout", "decision": None, "listed": 0}
    assert read == [
        ("explain", {"request": SETTLED}, "ada"),
        ("requests", {**listed, "since": "2025-10-31T23:00:00.000000Z"}, None),
    ]


@pytest.mark.parametrize("words", [("explain", SETTLED), ("requests", "--json")])
def test_what_cannot_be_recorded_is_not_shown(words: tuple[str, ...]) -> None:
    """The reading comes first: where it fails, nothing was printed."""

    def record(_data: Path, _what: str, _scope: Scope, _by: str | None) -> None:
        raise JournalUnavailableError("the disk is full")

    built = typer.Typer()
    answers.register(built, opened, record)
    done = CliRunner().invoke(built, [*words, "--data", "somewhere"])

    assert isinstance(done.exception, JournalUnavailableError)
    assert done.stdout == ""


def test_spend_shows_who_spent_what() -> None:
    """Key, requests, tokens and dollars, with the sum; plain in a pipe."""
    assert run("spend").splitlines() == [
        "OWNER                 REQUESTS  TOKENS IN  TOKENS OUT       USD",
        "grace (Grace Hopper)         1      1,000         500  0.001250",
        "total                        1      1,000         500  0.001250",
        "Of all time; narrow it with --since, such as --since 24h.",
    ]


def test_spend_names_its_beginning() -> None:
    """A sum without its span cannot be compared; the zone is named with it."""
    last = run("spend", "--since", "2020-01-31").splitlines()[-1]

    assert last == "Since 2020-01-30 23:00 UTC."


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("owner", "grace"),
        ("unit", "retail"),
        ("service", "checkout-assistant"),
        ("model", "gpt-5-mini"),
        ("credential", "cred_1"),
    ],
)
def test_spend_can_be_told_by_each_key(by: str, key: str) -> None:
    """`--by` accepts the five keys of design.md §8, and `--json` has its members."""
    (row,) = json.loads(run("spend", "--by", by, "--json"))

    assert row["key"] == key
    assert {"key", "requests", "usage", "cost_nano_usd"} <= set(row)


def test_spend_since_a_later_time_is_nothing() -> None:
    """Nothing to show is said in words, and is an empty array as JSON."""
    assert run("spend", "--since", "1s") == "Nothing was spent.\n"
    assert json.loads(run("spend", "--since", "1s", "--json")) == []


def test_requests_lists_newest_first() -> None:
    """One line a request, with its state or the reason of its refusal."""
    lines = run("requests").splitlines()

    assert [line.split()[2] for line in lines[1:]] == [OPEN, REFUSED, SETTLED]
    assert "model_not_allowed" in lines[2]
    assert lines[3].endswith("gpt-5-mini  settled             1,500  0.001250")


def test_requests_says_when_there_may_be_more() -> None:
    """A list that was cut off is not taken for the whole."""
    assert "--all shows more" in run("requests", "--limit", "1")
    assert "--all" not in run("requests", "--limit", "1", "--all")
    assert run("requests", "--service", "other") == "No request matches.\n"


def test_requests_as_json() -> None:
    """`--json` is an array; `--decision` and `--limit` narrow it."""
    denied = json.loads(run("requests", "--decision", "deny", "--json"))

    assert [row["request_id"] for row in denied] == [REFUSED]
    assert len(json.loads(run("requests", "--json", "--limit", "2"))) == 2


def test_explain_shows_everything_about_a_request() -> None:
    """People with addresses, tokens, the calculation, controls, the exact record."""
    page = run("explain", SETTLED)

    for expected in (
        "acme / retail / checkout-assistant  (internal, production)",
        "policy owner      Ada Lovelace <ada@acme.example>  (ada)",
        "technical owner   Alan Turing <alan@acme.example>  (alan)",
        "asked             gpt-5-mini of openai",
        "reasoning         200",
        "cost              0.001250000 USD",
        "reasoning    200             2.00   0.0004  gpt-5-mini (genai-prices",
        "held before       0.010000000 USD",
        "model_allowed  pass     gpt-5-mini",
        "/node/worker-1/boot at byte",
        '"type":"comptroller.request.settled.v1"',
    ):
        assert expected in page, page


@pytest.mark.parametrize("request_id", [REFUSED, OPEN])
def test_explain_shows_requests_without_an_end(request_id: str) -> None:
    """A refusal, which ends itself, and an open request have a page, too."""
    end = "the decision itself" if request_id == REFUSED else "none yet"
    assert f"end               {end}" in run("explain", request_id)
    assert ("nothing was held or spent" in run("explain", request_id)) == (
        request_id == REFUSED
    )


def test_explain_says_how_a_request_ended() -> None:
    """The outcome and status of a settlement, and why nothing was sent."""
    day = recorded_day()
    day.write(
        records.RELEASED,
        records.Released(decision_id=OPEN, reason="upstream_connect"),
    )

    assert "state             settled (completed, HTTP 200), 123.5 ms" in page_of(
        day, SETTLED
    )
    assert "state             released (upstream_connect)" in page_of(day, OPEN)


def test_explain_says_what_an_outcome_means() -> None:
    """A control that was not applied is not taken for one that passed."""
    day = RecordedDay()
    day.decide(
        SETTLED,
        controls=[
            records.Control(id=name, version="1", is_applied=False, outcome=outcome)
            for name, outcome in (("price", "not_applicable"), ("budget", "disabled"))
        ],
    )
    page = page_of(day, SETTLED)

    assert "not_applicable: nothing of the kind is declared, or" in page
    assert "disabled: no policy was active" in page
    assert "disabled" not in run("explain", SETTLED)


def test_an_id_may_be_written_in_lower_case() -> None:
    """Some tools show headers so; ULIDs are the same in either case."""
    assert run("explain", SETTLED.lower()) == run("explain", SETTLED)


def test_estimates_are_marked_in_the_list() -> None:
    """Whoever adds up a list sees which figures rest on an estimate."""
    day = RecordedDay()
    day.decide(SETTLED)
    day.settle(SETTLED, usage_source="estimated")

    _, rows = request_rows(day.reporting.requests(RequestQuery()))
    assert rows[0][4] == "settled (estimated)"


def test_explain_as_json_has_the_records() -> None:
    """People, controls, decision and settlement record: design.md §8."""
    found = json.loads(run("explain", SETTLED, "--json"))

    assert {"people", "controls", "records", "cost", "hold"} <= set(found)
    assert found["records"]["end"]["data"]["comptroller.cost.nano_usd"] == 1_250_000


def page_of(day: RecordedDay, request_id: str) -> str:
    return "\n".join(explain_lines(day.reporting.explain(request_id)))


def test_explain_points_out_what_is_wrong() -> None:
    """A cost beyond its hold or beside its card, and a person who has left."""
    day = RecordedDay()
    day.decide(SETTLED, model_upstream="gpt-5-mini-2025-08-07")
    day.settle(
        SETTLED, cost_nano_usd=11_000_000, hold_exceeded=True, service_tier="flex"
    )
    page = page_of(day, SETTLED)

    assert "asked             gpt-5-mini (as gpt-5-mini-2025-08-07) of openai" in page
    assert "service tier      flex" in page
    assert "DOES NOT AGREE with the rate card" in page
    assert "EXCEEDED by the cost" in page
    assert "policy owner      ada (no longer declared)" in page


def test_explain_says_which_budget_changed_the_model() -> None:
    """Which one was asked for, which one was used, and what was spent of what."""
    day = RecordedDay()
    account = "service:checkout-assistant/month@2025-11"
    day.decide(
        SETTLED,
        model="gpt-5",
        model_upstream="gpt-5-mini",
        downgraded_from="gpt-5",
        downgraded_by=records.DowngradedBy(account, 80, "gpt-5-mini"),
    )
    day.settle(SETTLED)
    day.decide(OPEN)

    assert day.reporting.explain(SETTLED)["model"]["downgraded"] == {
        "from": "gpt-5",
        "to": "gpt-5-mini",
        "account": account,
        "percent": 80,
    }
    assert f"gpt-5-mini instead of gpt-5: 80% of {account} were spent" in page_of(
        day, SETTLED
    )
    assert day.reporting.explain(OPEN)["model"]["downgraded"] is None
    assert "instead of" not in page_of(day, OPEN)


def test_explain_says_which_attempts_failed_before() -> None:
    """Each earlier one with its provider and how it failed, back to the first."""
    day = RecordedDay()
    day.decide(SETTLED, provider="one")
    day.settle(SETTLED, outcome="upstream_error", status=503)
    day.decide(REFUSED, provider="two", attempt_of=SETTLED, attempt_after=SETTLED)
    released = {"decision_id": REFUSED, "reason": "upstream_connect"}
    day.write(records.RELEASED, released)
    day.decide(OPEN, attempt_of=SETTLED, attempt_after=REFUSED)

    earlier = day.reporting.explain(OPEN)["attempts"]
    assert [
        (one["number"], one["request_id"], one["provider"], one["failed_with"])
        for one in earlier
    ] == [(1, SETTLED, "one", "503"), (2, REFUSED, "two", "upstream_connect")]
    assert (
        f"attempt 1 at one failed (503, {SETTLED}); attempt 2 at two failed"
        f" (upstream_connect, {REFUSED}); this is attempt 3"
    ) in page_of(day, OPEN)
    assert day.reporting.explain(SETTLED)["attempts"] == []
    assert "this is attempt" not in page_of(day, SETTLED)


def test_explain_goes_in_no_circles() -> None:
    """Records that name each other as earlier ones are shown, and that is all."""
    day = RecordedDay()
    day.decide(SETTLED, attempt_after=OPEN)
    day.decide(OPEN, attempt_after=SETTLED)

    assert len(day.reporting.explain(OPEN)["attempts"]) < 10


def test_explain_says_where_a_cost_comes_from() -> None:
    """A cost that the provider stated has its note on the page."""
    day = RecordedDay()
    day.decide(SETTLED)
    day.settle(SETTLED, cost_source="provider")

    assert "the provider itself stated this cost" in page_of(day, SETTLED)


def test_a_name_cannot_command_the_terminal() -> None:
    """Control characters of a model's name are shown, never obeyed."""
    day = RecordedDay()
    day.decide(REFUSED, result="deny", model="evil\x1b[2J\x9b2J\r\n\u202egpt")
    listed = plain(*request_rows(day.reporting.requests(RequestQuery())))

    shown = "".join([*listed, *explain_lines(day.reporting.explain(REFUSED))])
    assert "evil" in shown
    bare = re.sub(r"\x1b\[[01]m", "", shown).replace("\n", "")
    assert bare.isprintable()


def test_a_table_is_cut_to_fit_and_no_further() -> None:
    """The widest shrinkable column gives way first; numbers are never cut."""
    columns = [
        Column("NAME", may_shrink=True),
        Column("WHAT", may_shrink=True),
        Column("USD", is_number=True),
    ]
    rows = [["x" * 40, "y" * 20, "1.000000"]]

    assert [len(line) for line in plain(columns, rows, 40)] == [40, 40]
    assert plain(columns, rows, 40)[1].split() == [
        "x" * 13 + "…",
        "y" * 13 + "…",
        "1.000000",
    ]
    assert plain(columns, rows, 1)[1] == "xxxxx…  yyyyy…  1.000000"
    assert plain(columns, rows)[1] == f"{'x' * 40}  {'y' * 20}  1.000000"
    assert plain(columns, []) == ["NAME  WHAT  USD"]


def test_a_column_gives_way_where_all_would_be_cramped() -> None:
    """What may be spared is left out before other cells become unreadable."""
    columns = [
        Column("NAME", may_shrink=True),
        Column("TOKENS", is_number=True, may_give_way=True),
        Column("USD", is_number=True),
    ]
    rows = [["x" * 40, "1,234", "1.000000"]]

    assert plain(columns, rows, 30)[1].split()[1:] == ["1,234", "1.000000"]
    assert plain(columns, rows, 29)[1] == "x" * 18 + "…  1.000000"


def test_what_is_unknown_is_an_error_for_the_outermost_handler() -> None:
    """Unknown ids and choices leave the command as our own errors."""
    with pytest.raises(NotFoundError):
        run("explain", "nope")
    with pytest.raises(InvalidArgumentError):
        run("spend", "--by", "team")


@pytest.mark.parametrize("columns", [80, 84, 104, 200])
def test_a_terminal_shows_whole_request_ids(columns: int) -> None:
    """On a terminal the table fits its width and never cuts an id or an amount.

    Where it is narrow, the tokens are left out, so that the rest can be read.
    """
    code = (
        "import typer, sys\n"
        "from contextlib import contextmanager\n"
        "from comptroller.cli import answers\n"
        "from comptroller.testing.answered import recorded_day\n"
        "@contextmanager\n"
        "def opened(data):\n"
        "    yield recorded_day().reporting\n"
        "app = typer.Typer()\n"
        "answers.register(app, opened, lambda *reading: None)\n"
        "app(args=['requests'])\n"
    )
    shown = on_terminal([sys.executable, "-c", code], columns=columns)

    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert all(len(line) <= columns for line in lines), lines
    for request_id in (SETTLED, REFUSED, OPEN):
        assert request_id in shown
    assert "0.001250" in shown
    assert ("TOKENS" in shown) == (columns > 100)
    assert "settled" in shown


def on_terminal(command: list[str], columns: int) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 65_536):
                seen += chunk
        except OSError:
            pass  # how Linux says that the other end was closed
        assert process.wait() == 0
    os.close(ours)
    return seen.decode()


def test_json_cannot_command_the_terminal() -> None:
    """What moves the cursor or turns text around is escaped, letters are not."""
    told = {"model": "Zo\u00eb \x1b[31m\u009b\u202e\ud83d\ude00"}

    text = json_text(told, indent=2)

    assert text.replace("\n", "").isprintable()
    assert "Zo\u00eb" in text
    assert json.loads(text) == {"model": "Zo\u00eb \x1b[31m\u009b\u202e\U0001f600"}


def test_explain_shows_limits_in_their_own_units() -> None:
    """A page says on what it was held, or what had no room and by how much."""
    month, parallel = "service:s/month@2026-11", "model:m/parallel@now"
    day = recorded_day()
    day.decide("E" * 26, run="r-7", hold_accounts=[month], hold_permits=[parallel])
    refused = {"result": "deny", "reason": "budget_exhausted"}
    lack = Lack(month, 50_000_000, 46_000_000, 0, 0, 4_000_000, 10**18)
    day.decide("F" * 26, lack=lack, **refused)
    day.decide("G" * 26, lack=Lack(parallel, 8, 0, 8, 0, 0, None), **refused)

    held, money, count = (
        "\n".join(explain_lines(day.reporting.explain(one * 26))) for one in "EFG"
    )

    assert "run               r-7\n" in held
    assert f"held on           {month}  0.010000000 USD\n" in held
    assert f"held on           {parallel}  1 request\n" in held
    assert f"for want of room  {month}\n" in money
    assert "  short           0.006000000 USD\n" in money
    assert "  resets          2001-09-09T01:46:40" in money
    assert "  limit           8 at the same time\n" in count
    assert "  resets          never\n" in count
