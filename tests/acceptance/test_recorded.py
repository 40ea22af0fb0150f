"""Every recorded exchange, replayed through the real gateway process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.acceptance import metering_page
from tests.acceptance.exchanges import (
    DIFFERENCES,
    REFUSALS,
    Differences,
    Exchange,
    compare,
    recorded,
    reviewed,
)
from tests.acceptance.gateway_process import Gateway, cost_of, document
from tests.acceptance.replay import (
    Answer,
    Received,
    ReplayedProvider,
    is_unchanged,
    is_usage_injected,
    models_of,
    replay,
    without_usage_events,
)

from comptroller.core.usage import (
    GENERATED_CLASSES,
    PROMPT_CLASSES,
    USAGE_CLASSES,
    total,
)

REPLAY_S_MAX = 60.0
SERVICE = "replayer"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One exchange, and what became of it."""

    exchange: Exchange
    answer: Answer
    booked: dict[str, Any]
    """The request as `comptroller requests` shows it."""
    received: list[Received]

    @property
    def is_refused(self) -> bool:
        """Whether the gateway itself turned it away."""
        return bool(self.booked["decision"] == "deny")

    @property
    def is_stripped(self) -> bool:
        """Whether the client got less than the provider sent."""
        return not self.is_refused and self.answer.body != self.exchange.reply

    @property
    def is_topped_up(self) -> bool:
        """Whether its usage lacks a side, so that it costs more than it states."""
        usage = self.booked["usage"]
        is_whole = total(usage, PROMPT_CLASSES) and total(usage, GENERATED_CLASSES)
        return not is_whole and self.booked["cost_nano_usd"] > cost_of(usage)

    @property
    def differences(self) -> Differences:
        """What was booked against what the recordings expect."""
        exchange, booked = self.exchange, self.booked
        assert exchange.expected is not None
        cost = booked["cost_nano_usd"]
        is_listed = cost == cost_of(booked["usage"]) or self.is_topped_up
        found = compare(
            exchange,
            booked["usage"],
            None if is_listed and "cost_usd" not in exchange.expected else cost,
            booked["model_answered"],
        )
        if booked["usage_source"] != "provider":
            found["usage_source"] = ["provider", booked["usage_source"]]
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> list[Replayed]:
    """All of them, replayed once."""
    exchanges = list(recorded())
    folder = tmp_path_factory.mktemp("recorded")
    provider = ReplayedProvider(exchanges)

    async def replay_all() -> tuple[dict[str, Answer], list[dict[str, Any]]]:
        async with provider.serving() as origin:
            services = {SERVICE: sorted(models_of(exchanges))}
            gateway = Gateway(folder, document(origin, services))
            with gateway.serving(workers=2):
                secret = gateway.issue_key(SERVICE)
                began_s = time.monotonic()
                answers = await replay(exchanges, gateway.port, secret)
                took_s = time.monotonic() - began_s
                print(f"{len(answers)} exchanges in {took_s:.1f} s")
                assert took_s < REPLAY_S_MAX
                return answers, gateway.requests()

    answers, rows = asyncio.run(replay_all())
    booked = {row["request_id"]: row for row in rows}
    assert len(booked) == len(exchanges)
    return [
        Replayed(
            one,
            answers[one.id],
            booked[answers[one.id].request_id],
            provider.received.get(one.id, []),
        )
        for one in exchanges
    ]


def admitted(run: list[Replayed]) -> Iterator[Replayed]:
    return (one for one in run if not one.is_refused)


def test_every_usage_is_booked_as_expected(run: list[Replayed]) -> None:
    """All that two parsers agree on is exact, and every difference was reviewed."""
    found = {
        one.exchange.id: one.differences
        for one in admitted(run)
        if one.exchange.expected is not None and one.differences
    }
    listed = reviewed(DIFFERENCES)

    assert len(run) > 3_500
    assert found == {name: entry["differences"] for name, entry in listed.items()}
    totals = {"input_tokens", "output_tokens", "cache_read_tokens", "model"}
    assert not [name for name, fields in found.items() if totals & fields.keys()]


def test_every_refusal_was_reviewed(run: list[Replayed]) -> None:
    """Real clients sent these requests: each one refused is listed, with its reason."""
    found = {one.exchange.id: one.booked["reason"] for one in run if one.is_refused}

    listed = reviewed(REFUSALS)
    assert found == {name: entry["code"] for name, entry in listed.items()}


def test_replies_reach_the_client_as_they_were_given(run: list[Replayed]) -> None:
    """Status, headers and body are the provider's, less the usage asked for by us."""
    wrong = []
    stripped = 0
    for one in admitted(run):
        exchange, answer = one.exchange, one.answer
        reply = exchange.reply
        if is_usage_injected(exchange):
            reply = without_usage_events(reply)
            stripped += reply != exchange.reply
        lost = {
            name: value
            for name, value in exchange.headers.items()
            if answer.headers.get(name.lower()) != value
            and name.lower() not in {"content-encoding", "content-type"}
        }
        is_same = answer.status == exchange.status and answer.body == reply
        if lost or not is_same:
            wrong.append((exchange.id, answer.status, lost))

    assert wrong == []
    assert stripped >= 5


def test_requests_reach_the_provider_as_they_were_sent(run: list[Replayed]) -> None:
    """Once each, with the provider's credential, changed only to ask for usage."""
    wrong = [
        one.exchange.id
        for one in admitted(run)
        if len(one.received) != 1 or not is_unchanged(one.received[0], one.exchange)
    ]

    assert wrong == []
    assert [one.exchange.id for one in run if one.is_refused and one.received] == []


def test_every_request_ends_in_the_books(run: list[Replayed]) -> None:
    """Settled, for the service and its owners; only what was refused is not."""
    for one in run:
        booked = one.booked
        assert booked["state"] == ("refused" if one.is_refused else "settled")
        assert (booked["service"], booked["person"]) == (SERVICE, "ada")
        assert booked["owner_billing"] == "grace"
        assert booked["usage"].keys() <= set(USAGE_CLASSES)


def test_what_states_no_usage_is_estimated(run: list[Replayed]) -> None:
    """A missing usage is a flagged estimate, more than zero; a refusal owes nothing."""
    silent = [one for one in admitted(run) if one.exchange.expected is None]
    wrong = []
    for one in silent:
        booked = one.booked
        owes = one.exchange.status < 400
        is_estimated = booked["usage_source"] == "estimated"
        is_billed = bool(booked["usage"]) and booked["cost_nano_usd"] > 0
        if (is_estimated, is_billed) != (owes, owes):
            wrong.append((one.exchange.id, booked))

    assert wrong == []
    assert len(silent) > 200


def test_every_cost_is_that_of_its_usage(run: list[Replayed]) -> None:
    """A request costs what its usage costs, or what the provider itself billed.

    Where a usage lacks a side, it costs more than it states: no reply is free.
    """
    wrong = []
    for one in admitted(run):
        booked, expected = one.booked, one.exchange.expected or {}
        differs = reviewed(DIFFERENCES).get(one.exchange.id, {}).get("differences", {})
        is_billed = "cost_usd" in expected or "cost_nano_usd" in differs
        is_listed = is_billed or one.is_topped_up
        if not is_listed and booked["cost_nano_usd"] != cost_of(booked["usage"]):
            wrong.append((one.exchange.id, booked))
        owes = one.exchange.status < 400 or bool(booked["usage"])
        if owes and not booked["cost_nano_usd"]:
            wrong.append((one.exchange.id, booked))

    assert wrong == []


def test_the_metering_page_says_what_was_found(run: list[Replayed]) -> None:
    """docs/reference/metering.md is what this run generates; it is written anew."""
    lines = [
        metering_page.Line(
            one.exchange,
            refused=one.is_refused,
            differs=one.exchange.expected is not None and bool(one.differences),
            estimated=one.booked["usage_source"] == "estimated",
            stripped=one.is_stripped,
        )
        for one in run
    ]
    page = metering_page.render(lines, reviewed(DIFFERENCES), reviewed(REFUSALS))
    before = metering_page.PAGE.read_text() if metering_page.PAGE.exists() else ""
    metering_page.PAGE.write_text(page)

    assert before == page, "docs/reference/metering.md was out of date; commit it"
