from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.bound import bound
from comptroller.core.errors import UnpricedError
from comptroller.core.match import Clause
from comptroller.core.rates import (
    PARENTS,
    Matcher,
    ModelRates,
    RateCard,
    Step,
    billed_rates,
    price,
    price_lines,
    rate_card,
    rate_class,
    version_of,
)
from comptroller.core.usage import USAGE_CLASSES, Usage

MINI = ModelRates(
    "gpt-5-mini",
    (Step(0, {"input": 250_000, "cache_read": 25_000, "output": 2_000_000}),),
    {"flex": (Step(0, {"input": 125_000, "output": 1_000_000}),)},
)
LONG = ModelRates(
    "long",
    (
        Step(0, {"input": 1_000, "output": 10_000}),
        Step(200_000, {"input": 2_000, "output": 15_000}),
    ),
)


def test_price_sums_exactly_and_rounds_once() -> None:
    """Three classes of a third of a nano-dollar each cost one, not zero."""
    rates = ModelRates(
        "m", (Step(0, {"input": 333, "output": 333, "cache_read": 334}),)
    )

    assert price(rates, {"input": 1, "output": 1, "cache_read": 1}) == 1


def test_price_of_a_plain_usage() -> None:
    """Counts times rates, in nano-USD."""
    usage = {"input": 100, "cache_read": 1000, "output": 50}

    assert price(MINI, usage) == 150_000


def test_a_class_without_a_rate_costs_what_its_parent_costs() -> None:
    """Reasoning is output, cache writes and images are input, where not stated."""
    usage = {
        "reasoning": 10,
        "cache_write_5m": 1,
        "cache_write_30m": 1,
        "cache_write_1h": 1,
        "cache_write_12h": 1,
        "input_image": 1,
    }

    assert price(MINI, usage) == (10 * 2_000_000 + 5 * 250_000) // 1000


def test_a_longer_cache_write_costs_what_the_next_shorter_one_costs() -> None:
    """A 12 h write without a rate is priced as a 1 h write, never as input."""
    rates = ModelRates("m", (Step(0, {"input": 1000, "cache_write_1h": 2000}),))

    assert price(rates, {"cache_write_12h": 1}) == 2


@pytest.mark.parametrize(
    "unpriced", ["input_audio", "output_audio", "output_image", "web_search"]
)
def test_audio_images_and_tools_without_a_rate_are_unpriced(unpriced: str) -> None:
    """A class that is dearer than text is never priced as text, nor as nothing."""
    with pytest.raises(UnpricedError, match=unpriced):
        price(MINI, {"input": 5, unpriced: 1})


def test_an_unpriced_class_that_was_not_used_costs_nothing() -> None:
    """A count of zero needs no rate."""
    assert price(MINI, {"input": 4, "input_audio": 0}) == 1000


def test_a_step_prices_all_tokens_once_the_whole_prompt_exceeds_it() -> None:
    """Crossing 200,000 prompt tokens reprices every token, output included."""
    at = {"input": 100_000, "cache_read": 100_000, "output": 10}
    above = {"input": 100_000, "cache_read": 100_001, "output": 10}

    assert price(LONG, at) == 200_000 + 100
    assert price(LONG, above) == 2 * 200_001 + 150


def test_a_service_tier_has_its_own_rates() -> None:
    """The tier of the reply decides; one without its own rates is standard."""
    usage = {"input": 1000}

    assert price(MINI, usage, "flex") == 125_000
    assert price(MINI, usage, "ON_DEMAND_FLEX") == 125_000
    assert price(MINI, usage, "FLEX") == 125_000
    assert price(MINI, usage, "default") == 250_000
    assert price(MINI, usage, "provisioned") == 250_000


@pytest.mark.parametrize("tier", ["priority", "ON_DEMAND_PRIORITY", "fast"])
def test_a_dearer_tier_without_rates_is_unpriced(tier: str) -> None:
    """Priority costs more than the list says of the standard tier, never the same."""
    listed = ModelRates("m", MINI.steps, source="genai-prices 0")

    with pytest.raises(UnpricedError, match="service tier"):
        price(listed, {"input": 1}, tier)
    with pytest.raises(UnpricedError, match="service tier"):
        bound(listed, 1, 1, 1, tier)


def test_an_agreed_price_holds_in_every_tier() -> None:
    """What the configuration declares is the price, whatever tier a reply names."""
    assert price(MINI, {"input": 4}, "priority") == 1000


def test_a_fee_per_request_is_added_once() -> None:
    """The request's own fee is part of its price, on both ways through."""
    rates = ModelRates(
        "m", (Step(0, {"input": 1000, "output": 1000}),), request_pico_usd=5000
    )

    assert price(rates, {"input": 1}) == 6
    assert price(rates, {"input": 1, "reasoning": 1}) == 7


def test_price_lines_name_the_rate_that_was_used() -> None:
    """A calculation can be shown: class, count, whose rate, rate, amount."""
    lines = price_lines(MINI, {"input": 2, "reasoning": 3, "cache_read": 0})

    assert [tuple(line) for line in lines] == [
        ("input", 2, "input", 250_000, 500_000),
        ("reasoning", 3, "output", 2_000_000, 6_000_000),
    ]


usages = st.dictionaries(
    st.sampled_from(USAGE_CLASSES), st.integers(0, 3_000_000), max_size=8
)


@given(usages, st.dictionaries(st.sampled_from(USAGE_CLASSES), st.integers(0, 10**9)))
def test_price_is_the_rounded_sum_of_its_lines_or_unpriced(
    usage: Usage, table: dict[str, int]
) -> None:
    """Price, lines and the parent rule agree for any rates and any usage."""
    rates = ModelRates("m", (Step(0, table),))
    priced = all(rate_class(table, name) for name, count in usage.items() if count)
    if not priced:
        with pytest.raises(UnpricedError):
            price(rates, usage)
        return

    total = sum(line.amount_pico_usd for line in price_lines(rates, usage))

    assert price(rates, usage) == (total + 500) // 1000


def test_every_parent_is_a_usage_class() -> None:
    """The parent rule only leads from usage class to usage class and ends."""
    for name in PARENTS:
        assert name in USAGE_CLASSES
        assert rate_class({"input": 1, "output": 1}, name) in {"input", "output"}


def card() -> RateCard:
    matchers: dict[str, tuple[Matcher, ...]] = {
        "openai": (
            Matcher(Clause("equals", "gpt-5-mini-2025-08-07"), "gpt-5-mini"),
            Matcher(Clause("starts_with", "long-"), "long"),
        )
    }
    models = {"openai": {"gpt-5-mini": MINI, "long": LONG}}
    return rate_card("declared", models, matchers)


def test_find_answers_for_exact_and_dated_names() -> None:
    """A name, its dated snapshot, other case and a compact date lead to one model."""
    rates = card()

    assert rates.find("openai", "gpt-5-mini") is MINI
    for name in ("gpt-5-mini-2025-08-07", "GPT-5-Mini", "gpt-5-mini-20250807"):
        found = rates.find("openai", name)
        assert found is (None if name == "GPT-5-Mini" else MINI), name
        assert rates.find("openai", name) is found


def test_find_answers_nothing_rather_than_a_wrong_price() -> None:
    """A name that only resembles a listed one, or another provider's, has no price."""
    rates = card()

    assert rates.find("openai", "gpt-5-mini-turbo") is None
    assert rates.find("anthropic", "gpt-5-mini") is None


def test_what_find_remembers_is_bounded() -> None:
    """Names made up without end do not grow the memory."""
    rates = card()
    for number in range(10_000):
        rates.find("openai", f"long-{number}")

    assert len(rates._found) == 4096
    assert rates.find("openai", "long-9999") is LONG


def test_a_card_survives_encoding() -> None:
    """Encoded and decoded, a card is equal, answers the same, and hides its memo."""
    before = card()
    before.find("openai", "long-x")

    encoded = msgspec.json.encode(before)
    after = msgspec.json.decode(encoded, type=RateCard)

    assert after == before
    assert b"_found" not in encoded
    assert after.find("openai", "long-x") == LONG


def test_a_version_names_the_content() -> None:
    """The same content has the same version, whatever the order; a change, another."""
    one = rate_card("s", {"a": {"m": MINI, "n": LONG}})
    same = rate_card("s", {"a": {"n": LONG, "m": MINI}})
    other = rate_card("s", {"a": {"m": MINI}})

    assert one.version == same.version
    assert one.version != other.version
    assert one.version.startswith("rc-")
    assert len(one.version) == len("rc-") + 16


def test_the_model_that_answered_is_billed() -> None:
    """A dearer model behind an alias has its own price; an unknown one, the alias's."""
    listed = {
        name: ModelRates(name, MINI.steps, source="genai-prices 0")
        for name in ("alias", "dear")
    }
    prices = rate_card("s", {"p": listed})
    asked = ("p", "alias")

    assert billed_rates(prices, asked, "dear", is_alone=True) == listed["dear"]
    assert billed_rates(prices, asked, "unheard-of", is_alone=True) == listed["alias"]
    assert billed_rates(prices, asked, None, is_alone=True) == listed["alias"]
    assert billed_rates(prices, ("p", "gone"), None, is_alone=True) is None


def test_an_agreed_price_is_for_the_model_it_names() -> None:
    """It holds for whatever answers alone, not for another model inside the reply."""
    agreed = ModelRates("ours", MINI.steps, source="contract")
    other = ModelRates("other", LONG.steps, source="genai-prices 0")
    prices = rate_card("s", {"p": {"ours": agreed, "other": other}})

    assert billed_rates(prices, ("p", "ours"), "other", is_alone=True) == agreed
    assert billed_rates(prices, ("p", "ours"), "other", is_alone=False) == other
    assert billed_rates(prices, ("p", "ours"), "ours", is_alone=False) == agreed


def test_a_version_can_be_checked() -> None:
    """A card that was changed no longer has the version that it states."""
    changed = RateCard(card().version, "declared", {"openai": {"gpt-5-mini": LONG}})

    assert version_of(card()) == card().version
    assert version_of(changed) != changed.version


def test_the_reference_lists_every_parent() -> None:
    """docs/reference/rate-cards.md says the same as the parent rule."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "rate-cards.md"
    _, _, section = page.read_text().partition("## Classes without a rate")
    rows = re.findall(r"^\| (.+) \| `([a-z0-9_]+)` \|$", section, re.MULTILINE)
    documented = {
        name: parent
        for names, parent in rows
        for name in re.findall(r"`([a-z0-9_]+)`", names)
    }

    assert documented == dict(PARENTS)
