"""The command `audit controls`: what it asks, and the pages that it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from comptroller.cli import audit_controls
from comptroller.cli.control_words import coverage_words, moment_words, shortened
from comptroller.cli.readings import Scope
from comptroller.core.errors import InvalidArgumentError
from comptroller.engine.control_answers import Cited, Spanned, coverage
from comptroller.engine.control_auditing import ControlAuditing, Parts
from comptroller.engine.control_coverage import Covered, Gap
from comptroller.engine.control_evidence import Fault, Piece
from comptroller.engine.control_ports import RecordPlace
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.projected import W0, Projected
from comptroller.testing.store import InMemoryStore

RECORD = {"source": W0, "sequence": 4, "log_index": 17}
MOMENT: dict[str, Any] = {
    "service": "checkout",
    "request_id": "01R",
    "at": "2026-11-21T14:05:00.000000Z",
    "registry": {
        "revision": "3",
        "time": "2026-11-21T12:00:00.000000Z",
        "record": RECORD,
        "unclear": None,
    },
    "policy": {"revision": None, "time": None, "record": None, "unclear": None},
    "workers": [
        {
            "worker": W0,
            "before": {"time": "2026-11-21T14:04:50.000000Z", "record": RECORD},
            "after": None,
        }
    ],
    "decisions": [],
    "declared_by": [
        {"kind": "gateway", "id": "gateway", "revision": "1", "record": RECORD},
        {"kind": "service", "id": "checkout", "revision": "3", "record": None},
    ],
    "discrepancies_count": 1,
    "controls": [
        {
            "control": "budget",
            "verdict": "disagreement",
            "is_complete": False,
            "is_lenient": False,
            "revision": "3",
            "limits": [
                {
                    "of": "service:checkout/month",
                    "value": 5 * 10**9,
                    "unit": "nano_usd",
                    "period_s": None,
                },
                {
                    "of": "service:checkout/requests",
                    "value": 600,
                    "unit": "requests",
                    "period_s": 60,
                },
            ],
            "since": {
                "time": "2026-11-01T00:00:00.000000Z",
                "revision": "2",
                "is_exact": True,
                "record": RECORD,
            },
            "approved_by": {
                "author": "bob",
                "approver": "ada",
                "separation_of_duties": True,
                "applied_by": None,
                "account": None,
            },
            "evidence": [
                {"source": "activation", "verdict": "agrees"},
                {"source": "heartbeat", "verdict": "contradicts"},
                {"source": "decision", "verdict": "agrees"},
            ],
            "why": ["w0 did not enforce it"],
        }
    ],
    "trail": None,
    "pruned_by": [],
}


class Told(ControlAuditing):
    """Answers as a test says, and keeps what was asked."""

    def __init__(self) -> None:
        store = InMemoryStore()
        books = Projected(store)
        super().__init__(
            Parts(store, store, InMemoryJournals(), None, books.clock)  # type: ignore[arg-type]
        )
        self.asked: list[tuple[str, ...]] = []
        self.discrepancies: list[Fault] = []
        self.pruned_by: list[int] = []

    def at(self, service: str, time: str) -> dict[str, Any]:
        """The moment above."""
        self.asked.append(("at", service, time))
        return MOMENT

    def request(self, request_id: str) -> dict[str, Any]:
        """The moment above."""
        self.asked.append(("request", request_id))
        return MOMENT

    def between(self, service: str, begin: str, end: str) -> dict[str, Any]:
        """Two controls with the same gap, and one without."""
        self.asked.append(("between", service, begin, end))
        gap = Gap(10**9, 3 * 10**9, "worker_silent", (W0,))
        found = [
            Covered("price", 8 * 10**9, 10**10, (gap,)),
            Covered("budget", 8 * 10**9, 10**10, (gap,)),
            Covered("credential", 10**10, 10**10, ()),
        ]
        told = Spanned(service, (0, 10**10), [], found, self.discrepancies)
        told = told._replace(discrepancies_count=len(self.discrepancies))
        answer = coverage(told, Cited(None, lambda _: None))
        return answer | {"pruned_by": self.pruned_by}


class Desk:
    """The command, over answers that are told to it."""

    def __init__(self) -> None:
        self.told = Told()
        self.read: list[tuple[str, Scope, str | None]] = []

    def record(self, data: Path, what: str, scope: Scope, by: str | None) -> None:
        """What the command records before it answers."""
        assert data == Path("somewhere")
        self.read.append((what, scope, by))

    @contextmanager
    def opened(self, data: Path) -> Iterator[ControlAuditing]:
        """What the command opens."""
        assert data == Path("somewhere")
        yield self.told

    def run(self, *words: str) -> str:
        """What the command prints."""
        app = typer.Typer()
        app.callback()(lambda: None)
        audit_controls.add_to(app, self.opened, self.record)
        done = CliRunner().invoke(app, ["controls", *words, "--data", "somewhere"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout


def test_each_question_is_asked_once() -> None:
    """A time and a span of a service, or a request alone."""
    desk = Desk()
    desk.run("--service", "checkout", "--at", "2h")
    desk.run("--request", "01R", "--by", "ada")
    desk.run("--service", "checkout", "--between", "7d", "now")
    assert desk.told.asked == [
        ("at", "checkout", "2h"),
        ("request", "01R"),
        ("between", "checkout", "7d", "now"),
    ]
    moment = {one: MOMENT[one] for one in ("service", "request_id", "at")}
    assert [(what, by) for what, _, by in desk.read] == [
        ("audit controls", None),
        ("audit controls", "ada"),
        ("audit controls", None),
    ]
    assert [desk.read[0][1], desk.read[1][1]] == [moment, moment]
    assert set(desk.read[2][1]) == {"service", "begin", "end"}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--service", "checkout"],
        ["--at", "2h"],
        ["--service", "checkout", "--at", "2h", "--between", "7d", "now"],
        ["--service", "checkout", "--request", "01R"],
        ["--between", "7d", "now"],
    ],
    ids=" ".join,
)
def test_a_question_that_is_none_or_two(words: list[str]) -> None:
    """It says what to ask; nothing is opened."""
    desk = Desk()
    with pytest.raises(InvalidArgumentError):
        desk.run(*words)
    assert desk.told.asked == []


def test_the_page_of_a_moment() -> None:
    """Verdict, sources, since, who approved, limits; reasons; records; the trail."""
    lines = Desk().run("--request", "01R").splitlines()
    assert lines[0] == (
        "Controls of checkout at 2026-11-21 14:05:00.000Z,"
        " when request 01R was decided."
    )
    (line,) = (one for one in lines if one.startswith("budget "))
    cells = line.split("  ")
    assert [cell.strip() for cell in cells if cell] == [
        "budget",
        "SOURCES DISAGREE",
        "2 of 3",
        "2026-11-01 00:00:00.000Z",
        "ada (author bob)",
        "service:checkout/month 5.00 USD; service:checkout/requests 600 per minute",
    ]
    assert "  w0 did not enforce it" in lines
    place = f"({W0} 4, record 17 of the trail)"
    assert f"  configuration 3 applied 2026-11-21 12:00:00.000Z  {place}" in lines
    assert "  policy none: none was ever in force before" in lines
    assert f"  gateway, as of configuration 1  {place}" in lines
    assert "  service checkout, as of configuration 3" in lines
    assert f"    heartbeat last before: 2026-11-21 14:04:50.000Z  {place}" in lines
    assert "    heartbeat next after: none" in lines
    assert not any("the store says the same" in line for line in lines)
    assert lines[-1].startswith("No checkpoint of the trail is published")


def test_what_was_pruned_of_a_span_is_told() -> None:
    """With the record that says so; of the span only what is left was read."""
    desk = Desk()
    desk.told.pruned_by = [4711]
    page = desk.run("--service", "checkout", "--between", "7d", "now")
    said = "Other records of that time were pruned: see record 4711 of the trail."
    assert said in page.splitlines()
    assert "Every record of the span that is left was read" in page


def test_the_page_of_a_span() -> None:
    """Percent a control; gaps that several share are told once."""
    page = Desk().run("--service", "checkout", "--between", "7d", "now")
    lines = page.splitlines()
    rows = {line.split()[0]: line.split(maxsplit=3) for line in lines if line}
    assert rows["price"][1:] == ["80.000%", "1", "2.000 s: a worker was silent"]
    assert rows["credential"][1:] == ["100.000%", "0", "-"]
    assert "Every record of the span was read: the store says the same." in lines
    assert "Gaps of price, budget:" in lines
    assert (
        "  1970-01-01 00:00:01.000Z to 1970-01-01 00:00:03.000Z  2.000 s"
        f"  a worker was silent ({W0})" in lines
    )


def test_discrepancies_are_told_with_their_records() -> None:
    """Those of a span, twenty at the most, and how many there are."""
    desk = Desk()
    piece = Piece("heartbeat", "missing", "it is not there", RecordPlace(W0, 7))
    desk.told.discrepancies = [Fault(piece, frozenset(("price",)))] * 30
    lines = desk.run("--service", "checkout", "--between", "7d", "now").splitlines()
    assert "Discrepancies: the store is not what was recorded, in 30 places." in lines
    assert lines.count(f"  it is not there  ({W0} 7, not in the trail yet)") == 20
    assert "  and 10 more: --json lists them" in lines


def asked(verdict: str, **changed: object) -> dict[str, Any]:
    """One control, as it is answered."""
    evidence = [
        {"source": one, "verdict": "agrees", "says": f"{one} says so"}
        for one in ("activation", "heartbeat", "decision")
    ]
    found = {"control": "rate_limit", "verdict": verdict, "evidence": evidence}
    return {**found, "is_complete": True, "is_lenient": False, **changed}


def pieces(*verdicts: str) -> list[dict[str, Any]]:
    """Evidence of the three sources, in their order."""
    sources = ("activation", "heartbeat", "decision")
    return [
        {"source": source, "verdict": verdict, "says": f"registry revision 3 {source}"}
        for source, verdict in zip(sources, verdicts, strict=True)
    ]


MOMENTS = {
    "active": (asked("active"), "YES, active: all three sources agree."),
    "silent": (
        asked(
            "active",
            is_complete=False,
            evidence=pieces("agrees", "agrees", "silent"),
        ),
        (
            "YES, active: by the act that put it into force and the workers'"
            " heartbeats; the decision's own list does not show it, see below."
        ),
    ),
    "lenient": (
        asked("active", is_lenient=True),
        (
            "THERE, BUT IT DENIED NOTHING, for it only warns or notes: all three"
            " sources agree."
        ),
    ),
    "inactive": (
        asked("inactive"),
        "NO, not active: none was declared for this service.",
    ),
    "disputed": (
        asked("disagreement", evidence=pieces("agrees", "contradicts", "agrees")),
        "DISPUTED. Two records contradict each other: configuration 3 heartbeat",
    ),
    "unproven": (
        asked("unproven", evidence=pieces("agrees", "missing", "missing")),
        "NOT SHOWN. Evidence is missing: configuration 3 heartbeat",
    ),
}


@pytest.mark.parametrize("case", MOMENTS)
def test_the_answer_in_plain_words(case: str) -> None:
    """For who never saw the configuration; what is not shown is never YES."""
    found, words = MOMENTS[case]
    assert list(moment_words([found])) == [f"Rate limits: {words}"]


def gap(cause: str, seconds: float) -> dict[str, Any]:
    return {"cause": cause, "seconds": seconds}


@pytest.mark.parametrize(
    ("covered", "gaps", "words"),
    [
        (10.0, [], "YES, active all of the time."),
        (
            0.0,
            [gap("not_declared", 4), gap("policy_deactivated", 6)],
            "NO, not active: none was declared for this service.",
        ),
        (
            0.0,
            [gap("not_declared", 4), gap("worker_silent", 6)],
            "NOT SHOWN at any time. The longest gap: a worker was silent, 6.000 s.",
        ),
        (
            7.5,
            [gap("not_loaded", 0.5), gap("no_worker", 2)],
            (
                "active for 75.000% of the time. The longest gap: no worker was alive,"
                " 2.000 s."
            ),
        ),
    ],
    ids=["all", "never", "not-shown", "part"],
)
def test_the_answer_of_a_span_in_plain_words(
    covered: float, gaps: list[dict[str, Any]], words: str
) -> None:
    """All of it, none of it, or how much, with the longest gap and its cause."""
    one: dict[str, Any] = {"control": "prompt_restriction", "gaps": gaps}
    one |= {"covered_seconds": covered, "percent": "75.000"}
    said = list(coverage_words({"controls": [one]}))
    assert said == [f"Prompt restrictions: {words}"]


def test_digests_are_shortened_for_people() -> None:
    """Enough of one to compare by eye."""
    text = f"policy sha256:{'ab' * 32} was in force"
    assert shortened(text) == "policy sha256:abababababab… was in force"


def test_json_is_the_answer_itself() -> None:
    """One document, as the reference describes it."""
    assert json.loads(Desk().run("--request", "01R", "--json")) == MOMENT
