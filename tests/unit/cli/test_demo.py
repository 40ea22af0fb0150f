"""The demo's parts that need no gateway."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from comptroller.cli.demo.organization import HABITS, configuration, gap_s
from comptroller.cli.demo.processes import address
from comptroller.cli.demo.traffic import Outcome, Score, Traffic, quantile
from comptroller.cli.demo.view import View, dollars
from comptroller.testing.provider import running_provider
from comptroller.testing.provider.tokens import Draw

SPEND = [{"key": "grace", "requests": 3, "cost_nano_usd": 12_345_678}]


def test_every_service_of_the_demo_is_configured_for_its_models() -> None:
    """Habits and configuration name the same services and people."""
    text = configuration("http://127.0.0.1:1", "/nowhere/key", 30)

    assert "ORIGIN" not in text
    assert "KEY_FILE" not in text
    assert "limit: 0.09 USD" in text
    for habit in HABITS:
        assert f"          {habit.service}:\n" in text
        assert f"  {habit.person}:" in text


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.service)
def test_calls_come_in_bursts_around_their_mean(habit: object) -> None:
    """Over minutes a service calls about as often as its habit says."""
    one = next(known for known in HABITS if known is habit)
    draw = Draw(7, b"test")
    elapsed_s, count = 0.0, 0
    while elapsed_s < 240:
        elapsed_s += gap_s(one, draw, count, elapsed_s)
        count += 1

    assert 0.6 < count / 240 / one.per_second < 1.5


def test_a_simulated_provider_accepts_every_call() -> None:
    """Each service's calls are answered in each of the dialects."""
    secrets = {habit.service: "key" for habit in HABITS}
    with running_provider("--key", "key") as origin:
        place = urlsplit(origin)
        traffic = Traffic((place.hostname or "", place.port or 0), secrets)
        asyncio.run(traffic.play(1.5))

    assert {s.refused for s in traffic.scores.values()} == {0}
    assert sum(score.answered for score in traffic.scores.values()) > 10


def test_a_broken_connection_is_an_outcome() -> None:
    """A gateway that is not there is counted as refusals, not raised."""
    listen, _ = address(0)
    host, _, port = listen.rpartition(":")
    traffic = Traffic((host, int(port)), {habit.service: "" for habit in HABITS})
    outcome = asyncio.run(traffic.once(HABITS[0], 0))

    assert outcome.status == 0
    assert outcome.body


def test_scores_keep_what_the_story_needs() -> None:
    """Answered, refused, latency, the last answered id and the last refusal."""
    score = Score()
    score.take(Outcome(200, "a", 0.5, b""))
    score.take(Outcome(401, "b", 0.1, b"no"))

    assert (score.answered, score.refused, score.last_allowed) == (1, 1, "a")
    assert list(score.first_byte_s) == [0.5]
    assert score.last_refused is not None
    assert score.last_refused.body == b"no"


def test_quantiles_of_none_and_of_some() -> None:
    """The median of three is the middle one; of none it is 0."""
    assert quantile([], 0.5) == 0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_small_amounts_are_not_rounded_to_nothing() -> None:
    """A hundredth of a cent is visible."""
    assert dollars(100_000) == "$0.0001"
    assert dollars(1_234_567_890_000) == "$1,234.5679"


def test_without_a_terminal_the_view_is_lines() -> None:
    """A log gets one line now and then, without control characters."""
    out = io.StringIO()
    score = Score()
    score.take(Outcome(200, "a", 0.04, b""))
    with View(Console(file=out, width=100), 20) as view:
        for tick in range(40):
            view.show(tick * 0.5, {"checkout": score}, SPEND)

    assert out.getvalue().count("\n") == 3
    assert "\x1b" not in out.getvalue()
    assert "1 answered, 0 refused  first byte p50 40 ms" in out.getvalue()
    assert "spend $0.0123 (grace $0.0123)" in out.getvalue()


def test_on_a_terminal_the_view_is_tables() -> None:
    """Both tables fit a terminal of 100 columns and show names and amounts."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with View(console, 20) as view:
        view.show(5.0, {"checkout-assistant": Score()}, SPEND)

    assert "checkout-assistant" in out.getvalue()
    assert "$0.0123" in out.getvalue()
    assert "15 s to go" in out.getvalue()


def test_a_taken_port_gives_a_free_one(tmp_path: Path) -> None:
    """The demo runs beside whatever uses its usual ports."""
    listen, usual = address(0)

    assert listen.startswith("127.0.0.1:")
    assert not usual
