"""The bound of every recorded request, against what its reply really consumed."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from tests.acceptance.exchanges import PATHS, Exchange, recorded
from tests.acceptance.gateway_process import NANO_USD
from tests.acceptance.test_metering_offline import read

from comptroller.adapters.prices import catalogue
from comptroller.adapters.tokenizer import OpenAITokenizers
from comptroller.core.bound import (
    ceilings,
    demand_bound,
    output_rule,
    output_tokens_bound,
)
from comptroller.core.errors import BadRequestError, UnpricedError
from comptroller.core.model_maxima import known_max_output
from comptroller.core.rates import ModelRates, RateCard, Step, price, rate_card
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, merge, total
from comptroller.wire.counting import count_bound, encoding_of
from comptroller.wire.demand import demand_of, with_count
from comptroller.wire.extras import Extras, read_extras
from comptroller.wire.request import RequestFacts, read_facts
from comptroller.wire.routes import Route, match

HOUSE = ModelRates("house", (Step(0, {k: v * 1000 for k, v in NANO_USD.items()}),))
"""For models without a list price."""
LISTED = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
NOW_NS = 1_795_000_000 * 10**9
CUT = re.compile(r"\.\.\.\[cut (\d+) chars\]")

MISMATCHED = {
    "3c45d52e540cc87f": "the reply calls a tool that the recorded request lacks",
    "65f71a1dfe40387d": "a made-up usage: audio in a reply of text",
    "516411bee930632d": "a made-up usage: audio in a reply of text",
}
"""Recordings whose reply does not belong to their request."""


class Asked(NamedTuple):
    """A recorded request as the gateway would read it."""

    route: Route
    body: bytes
    facts: RequestFacts
    extras: Extras


class Ratio(NamedTuple):
    """How far above the truth the bounds are."""

    wire: str
    what: str
    by_bytes: float
    counted: float


def asked_of(exchange: Exchange) -> Asked | None:
    """The request, with as many characters as the recording has cut from it."""
    if exchange.request is None or exchange.expected is None:
        return None
    written = json.dumps(exchange.request, separators=(",", ":"), ensure_ascii=False)
    written = CUT.sub(lambda found: " x" * (int(found[1]) // 2 + 1), written)
    body = written.encode("utf-8", "surrogatepass")
    route = match(b"POST", PATHS[exchange.wire].format(model=exchange.model).encode())
    assert route is not None
    try:
        facts = read_facts(route, body)
    except BadRequestError:
        return None
    if facts.is_background:
        return None
    return Asked(route, body, facts, read_extras(route, body, exchange.model))


def loaded() -> dict[str, Callable[[str], int]]:
    """The tokenizers, once they are there."""
    port = OpenAITokenizers()
    found: dict[str, Callable[[str], int]] = {}
    deadline = time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < deadline:
        for encoding in ("o200k_base", "cl100k_base"):
            count = port.counter(encoding)
            if count is not None:
                found[encoding] = count
        time.sleep(0.01)
    return found


def listed_prices() -> RateCard:
    """The list prices of the three providers, whoever has answered."""
    read_all = {name: catalogue.read(own, NOW_NS) for name, own in LISTED.items()}
    models = {name: listed.models for name, listed in read_all.items()}
    matchers = {name: listed.matchers for name, listed in read_all.items()}
    return rate_card(catalogue.SOURCE, models, matchers)


class Bounds:
    """Compares bounds with bills, and tallies."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self.exceeded: list[str] = []
        self.ratios: list[Ratio] = []
        self.reasons: Counter[str] = Counter()
        self._card = listed_prices()
        self._tokenizers = loaded()

    def take(self, exchange: Exchange) -> None:
        """Compares one."""
        asked = asked_of(exchange)
        if asked is None or exchange.id in MISMATCHED:
            self.tally["not compared: no request, no usage, or not of one piece"] += 1
            return
        if asked.extras.unbounded is not None:
            self.tally["unbounded"] += 1
            self.reasons[asked.extras.unbounded] += 1
            return
        reading = read(exchange)
        usage = merge(reading.passes)
        rates = self._card.find(exchange.dialect, exchange.answered or exchange.model)
        try:
            cost = price(rates or HOUSE, usage, reading.service_tier)
        except UnpricedError:
            rates = None
            cost = price(HOUSE, usage)
        prompt = total(usage, PROMPT_CLASSES)
        generated = total(usage, GENERATED_CLASSES)
        counted = self._counted(exchange, asked)
        self._compare(exchange, asked, rates or HOUSE, (prompt, generated, cost))
        if counted is not None and prompt > counted * asked.extras.passes:
            self.exceeded.append(f"{exchange.id}: {prompt} tokens, counted {counted}")

    def _counted(self, exchange: Exchange, asked: Asked) -> int | None:
        """The count of the prompt, where a tokenizer is exact and nothing was cut."""
        model = exchange.answered or exchange.model
        encoding = encoding_of("api.openai.com", model)
        if encoding is None or asked.extras.is_by_reference:
            return None
        if CUT.search(json.dumps(exchange.request)):
            return None
        count = self._tokenizers[encoding]
        return count_bound(asked.route, asked.body, asked.extras.input_bytes, count)

    def _compare(
        self,
        exchange: Exchange,
        asked: Asked,
        rates: ModelRates,
        actual: tuple[int, int, int],
    ) -> None:
        prompt, generated, cost = actual
        facts, extras = asked.facts, asked.extras
        try:
            reachable = ceilings(rates, extras.tier or facts.service_tier)
            by_bytes = demand_of(rates, reachable, facts.choices, extras, None)
        except UnpricedError:
            self.tally["refused: what it asks for has no price"] += 1
            return
        counted = self._counted(exchange, asked)
        exactly = by_bytes
        if counted is not None:
            exactly = with_count(by_bytes, extras, counted)
        rule = output_rule(None, None, known_max_output(exchange.model))
        output = output_tokens_bound(rule, facts.max_output_tokens, is_limited=True)
        tokens = output.tokens if "embeddings" not in exchange.wire else 0
        if output.is_put and generated > tokens * by_bytes.generations:
            # Recorded without a ceiling: with it, the reply would have ended there.
            self.tally["longer than the ceiling that we put"] += 1
            return
        self.tally["bounded"] += 1
        bound = demand_bound(by_bytes, tokens)
        if prompt > by_bytes.input_tokens or cost > bound:
            what = f"{prompt} of {by_bytes.input_tokens} tokens, {cost} of {bound}"
            self.exceeded.append(f"{exchange.id} {exchange.wire}: {what}")
        if extras.is_by_reference or not prompt:
            self.tally["of these by the context window alone"] += 1
        elif counted is not None:
            ratio = by_bytes.input_tokens / prompt
            self._ratio(exchange, "tokens", ratio, exactly.input_tokens / prompt)
        if cost:
            what = "cost, ceiling put" if output.is_put else "cost, ceiling its own"
            self._ratio(
                exchange, what, bound / cost, demand_bound(exactly, tokens) / cost
            )

    def _ratio(
        self, exchange: Exchange, what: str, by_bytes: float, counted: float
    ) -> None:
        self.ratios.append(Ratio(exchange.wire, what, by_bytes, counted))


@pytest.mark.timeout(300)
def test_no_bounded_request_costs_more_than_its_bound() -> None:
    """Of every recorded request that is called bounded, the bill is within it."""
    bounds = Bounds()
    for exchange in recorded():
        bounds.take(exchange)

    for what, count in bounds.tally.most_common():
        print(f"{count:6} {what}")
    for reason, count in bounds.reasons.most_common():
        print(f"{count:6} unbounded: {reason}")
    for group in sorted({ratio[:2] for ratio in bounds.ratios}):
        own = [ratio for ratio in bounds.ratios if ratio[:2] == group]
        by_bytes = [ratio.by_bytes for ratio in own]
        counted = [ratio.counted for ratio in own]
        print(
            f"{len(own):6} {group[0]}, {group[1]}: bound / actual by bytes"
            f" median {statistics.median(by_bytes):.1f}"
            f" mean {statistics.mean(by_bytes):.1f}; counted"
            f" median {statistics.median(counted):.2f}"
            f" mean {statistics.mean(counted):.2f}"
        )
    assert bounds.exceeded == []
    assert bounds.tally["bounded"] > 3_000
    assert bounds.tally["unbounded"] < bounds.tally["bounded"] // 10
