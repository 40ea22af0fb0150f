"""A budget that is nearly spent sends requests to a cheaper model, and says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from comptroller.testing.burst import Answered, Asked, fire
from comptroller.testing.limited import (
    INPUT_NANO_USD,
    MODEL,
    OUTPUT_NANO_USD,
    LimitedSite,
    Limits,
    chat,
    limited_site,
    one_unit,
    service,
)
from comptroller.testing.tree import run_command, told

CHEAP = "cheap"
BUDGET = "service:spender/month"
HEADER = "x-comptroller-model-downgraded"
LIMITS = Limits(models={CHEAP: {"price": {"input": 0.1, "output": 0.4}}})
ENOUGH = 8_000_000
"""Nano-USD: 80% of the budget."""
SOON_S = 10.0
"""Far more than the second within which workers follow."""


def tenants(limit: str) -> dict[str, Any]:
    budget = {"limit": f"{limit} USD/month", "on_threshold": {"80%": f"use {CHEAP}"}}
    return one_unit({"spender": service(models=[MODEL, CHEAP], budget=budget)})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    folder = tmp_path_factory.mktemp("downgrade")
    with limited_site(folder, tenants("0.01"), workers=2, limits=LIMITS) as one:
        yield one


def ask(site: LimitedSite, model: str = MODEL, words: int = 40) -> Answered:
    body = {**chat(words, max_tokens=2 * words), "model": model}
    (answered,) = fire(site.port, [Asked(site.key("spender"), body)])
    assert answered.status == 200, answered
    return answered


def answered_by(answered: Answered) -> str:
    return str(json.loads(answered.body)["model"])


def cost_nano_usd(answered: Answered) -> int:
    """What an answer of MODEL costs, by the usage that it states."""
    usage = json.loads(answered.body)["usage"]
    output = usage["completion_tokens"] * OUTPUT_NANO_USD
    return int(usage["prompt_tokens"] * INPUT_NANO_USD + output)


def ask_until(site: LimitedSite, *, downgraded: bool) -> Answered:
    """Asks until the workers follow."""
    deadline_s = time.monotonic() + SOON_S
    while True:
        answered = ask(site, words=2)  # little is left
        if (HEADER in answered.headers) is downgraded:
            return answered
        assert time.monotonic() < deadline_s, answered
        time.sleep(0.1)


def test_a_nearly_spent_budget_uses_the_cheaper_model(site: LimitedSite) -> None:
    """From its share on until the limit is raised, and after a restart, too.

    The provider is asked for the cheaper model; header, record, `explain` and
    `budget show` name the budget; a request for the cheaper model is left alone.
    """
    first = ask(site)
    assert HEADER not in first.headers
    assert answered_by(first) == MODEL
    spent = cost_nano_usd(first)
    while spent < ENOUGH:
        spent += cost_nano_usd(ask(site))

    changed = ask_until(site, downgraded=True)
    request_id = changed.headers["x-comptroller-request-id"]
    found = told(site.folder, "explain", request_id)
    page = run_command(site.folder, "explain", request_id)
    (shown,) = told(site.folder, "budget", "show", BUDGET)
    decided = found["records"]["decision"]["data"]
    account = shown["account"]

    assert answered_by(changed) == CHEAP
    assert changed.headers[HEADER] == (
        f"{MODEL}; to={CHEAP}; budget={BUDGET}; threshold=80%"
    )
    assert decided["gen_ai.request.model"] == MODEL
    assert decided["comptroller.model.downgraded_from"] == MODEL
    assert decided["comptroller.model.downgraded_by"] == {
        "account": account,
        "percent": 80,
        "use": CHEAP,
    }
    assert f"{CHEAP} instead of {MODEL}: 80% of {account} were spent" in page
    assert found["cost"]["agrees"] is True
    assert [one["percent"] for one in shown["alerts"]] == [80]
    assert [one["is_reached"] for one in shown["on_threshold"]] == [True]
    assert HEADER not in ask(site, CHEAP).headers

    site.stop()
    site.start(2)
    again = ask(site)
    assert answered_by(again) == CHEAP
    assert HEADER in again.headers

    site.apply(tenants("2"), LIMITS)
    back = ask_until(site, downgraded=False)
    assert answered_by(back) == MODEL
    assert site.contradictions() == []
