"""A budget that is exhausted, from the refusal to the page that explains it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from comptroller.testing.burst import Answered, Asked, fire
from comptroller.testing.limited import (
    LimitedSite,
    chat,
    limited_site,
    one_unit,
    service,
)
from comptroller.testing.tree import run_command, told

LIMIT = 10_000_000
"""Nano-USD: one request of 2000 tokens out is held at 8 to 10 million."""
BUDGET = "service:spender/total"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    tenants = one_unit({"spender": service(budget="0.01 USD")})
    with limited_site(tmp_path_factory.mktemp("refused"), tenants, workers=1) as one:
        yield one


def ask(site: LimitedSite) -> Answered:
    (answered,) = fire(site.port, [Asked(site.key("spender"), chat(max_tokens=2000))])
    return answered


def test_an_exhausted_budget_refuses_and_explains_itself(site: LimitedSite) -> None:
    """The refusal, `explain` and `budget list` give the same figures.

    The requests that were answered before name the budget that held them.
    """
    answers = [ask(site)]
    while answers[-1].status == 200 and len(answers) < 20:
        answers.append(ask(site))
    refused = answers[-1]
    request_id = refused.headers["x-comptroller-request-id"]
    row = site.budgets()[BUDGET]
    found = told(site.folder, "explain", request_id)
    page = run_command(site.folder, "explain", request_id)

    assert (refused.status, refused.code) == (400, "budget_exhausted")
    assert len(answers) > 1
    assert found["reason"] == "budget_exhausted"
    lack = found["lack"]
    assert lack["account"] == f"{BUDGET}@all"
    assert lack["limit"] == row["limit_nano_usd"] == LIMIT
    assert lack["left"] == row["left_nano_usd"] == LIMIT - row["spent_nano_usd"]
    # What ended in the last tenth of a second may count as held still.
    assert 0 <= lack["spent"] <= row["spent_nano_usd"]
    assert lack["spent"] + lack["held"] + lack["left"] == LIMIT
    assert row["held_nano_usd"] == 0
    assert lack["needed"] == found["hold"]["nano_usd"] == lack["left"] + lack["short"]
    message = json.loads(refused.body)["error"]["message"]
    assert f"short by {lack['short'] / 10**9:.6f} USD" in message
    assert f"for want of room  {BUDGET}@all" in page

    answered_id = answers[0].headers["x-comptroller-request-id"]
    answered = told(site.folder, "explain", answered_id)
    (held,) = answered["hold"]["accounts"]
    assert held["account"] == f"{BUDGET}@all"
    assert (
        held["nano_usd"] == answered["hold"]["nano_usd"] > answered["cost"]["nano_usd"]
    )
    assert answered["lack"] is None
    assert site.contradictions() == []
