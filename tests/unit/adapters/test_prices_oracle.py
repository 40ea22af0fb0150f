"""The compiled card against genai-prices' own arithmetic, converted exactly."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from genai_prices import Usage as OracleUsage
from genai_prices import types as gp
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.adapters.prices import compile_card
from comptroller.core.errors import UnpricedError
from comptroller.core.rates import ModelRates, RateCard, price, rate_class
from comptroller.core.registry import (
    GatewaySettings,
    PersonId,
    Provider,
    ProviderId,
    Registry,
)
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, Usage, total

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 10**9
IDS = tuple(provider.id for provider in providers)


@functools.cache
def card() -> RateCard:
    served = {
        ProviderId(name): Provider(
            ProviderId(name), "http://127.0.0.1:1", {"openai": ""}, prices=name
        )
        for name in IDS
    }
    gateway = GatewaySettings(PersonId("alan"))
    compiled = compile_card(
        Registry("acme", "UTC", {}, gateway, served, {}, {}, {}, {}), NOW_NS
    )
    assert compiled.warnings == []
    return compiled.card


def oracle_usage(usage: Usage) -> OracleUsage:
    """Our disjoint classes as the inclusive counts that genai-prices takes.

    It knows no 12 h cache write; we price one as the next shorter, of 1 h.
    """
    writes = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")
    return OracleUsage(
        input_tokens=total(usage, PROMPT_CLASSES),
        cache_read_tokens=usage.get("cache_read", 0),
        cache_write_tokens=total(usage, writes),
        cache_write_1h_tokens=total(usage, ("cache_write_1h", "cache_write_12h")),
        input_audio_tokens=usage.get("input_audio", 0),
        input_image_tokens=usage.get("input_image", 0),
        output_tokens=total(usage, GENERATED_CLASSES),
        output_reasoning_tokens=usage.get("reasoning", 0),
        output_audio_tokens=usage.get("output_audio", 0),
        output_image_tokens=usage.get("output_image", 0),
        web_searches=usage.get("web_search", 0),
        **joins(),
    )


def joins() -> dict[str, int]:
    """Overlaps that our disjoint classes exclude; genai-prices must be told so."""
    kinds = ("audio", "image")
    names = [f"cache_{kind}_read_tokens" for kind in kinds]
    names += [f"cache_{kind}_write_tokens" for kind in kinds]
    names += [f"cache_{kind}_write_1h_tokens" for kind in kinds]
    names += [f"output_{kind}_reasoning_tokens" for kind in kinds]
    return dict.fromkeys(names, 0)


def oracle_nano(
    provider: gp.Provider, model: gp.ModelInfo, usage: Usage, context: dict[str, str]
) -> int:
    calculated = model.calc_price(
        oracle_usage(usage),
        provider,
        genai_request_timestamp=NOW,
        price_context=context or None,
    )
    nano = calculated.total_price * 10**9
    return int(nano.to_integral_value(ROUND_HALF_UP))


def prices_of(model: gp.ModelInfo) -> list[Decimal]:
    return [
        one
        for key, value in vars(model.get_prices(NOW)).items()
        if key.endswith("_mtok") and value is not None
        for one in (
            [value.base, *(tier.price for tier in value.tiers)]
            if isinstance(value, gp.TieredPrices)
            else [value]
        )
    ]


def is_inexact(model: gp.ModelInfo) -> bool:
    return any(one * 10**6 != int(one * 10**6) for one in prices_of(model))


def test_hardly_any_catalogue_price_is_rounded_to_pico_dollars() -> None:
    """One entry in a hundred is a fraction or noise, and loses < 9 millionths."""
    inexact = [
        (provider.id, model.id)
        for provider in providers
        for model in provider.models
        if is_inexact(model)
    ]
    worst = max(
        abs(one * 10**6 - round(one * 10**6)) / (one * 10**6)
        for provider in providers
        for model in provider.models
        for one in prices_of(model)
        if one
    )

    assert len(inexact) < 24, inexact
    assert worst < Decimal("0.000009")


LISTED = {
    (provider.id, model.id): (provider, model)
    for provider in providers
    for model in provider.models
    if provider.find_model(model.id) is model
}

usages = st.dictionaries(
    st.sampled_from(
        [*PROMPT_CLASSES, *GENERATED_CLASSES, "web_search"],
    ),
    st.integers(0, 300_000),
    min_size=1,
    max_size=7,
)


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(sorted(LISTED)), usages)
def test_standard_prices_agree_with_the_oracle(
    listed: tuple[str, str], usage: Usage
) -> None:
    """Any model, any usage: the oracle's amount to the nano-dollar, or unpriced."""
    provider, model = LISTED[listed]
    rates = card().find(provider.id, model.id)
    if rates is None:
        assert_has_no_text_price(model)
        return
    if rates.request_pico_usd:
        usage = {**usage, "input": usage.get("input", 0) + 1}
    check(provider, model, rates, (usage, None))


VARIANTS = [
    (key, context, tier)
    for key, (_, model) in LISTED.items()
    for variant in model.price_variants or ()
    for context, tier in variant.when.items()
    if context not in {"route", "search_type"}
    and model.get_prices(NOW).__dict__.get("input_mtok") is not None
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(VARIANTS), usages)
def test_tier_prices_agree_with_the_oracle(
    variant: tuple[tuple[str, str], str, str], usage: Usage
) -> None:
    """Batch, flex, priority and fast: the oracle's amount to the nano-dollar."""
    key, context, tier = variant
    provider, model = LISTED[key]
    rates = card().find(provider.id, model.id)
    assert rates is not None

    check(provider, model, rates, (usage, tier), {context: tier})


def check(
    provider: gp.Provider,
    model: gp.ModelInfo,
    rates: ModelRates,
    used: tuple[Usage, str | None],
    context: dict[str, str] | None = None,
) -> None:
    usage, tier = used
    try:
        cost = price(rates, usage, tier)
    except UnpricedError:
        assert_deviates(rates, usage)
        return
    if "-tts" in model.id:
        # Documented: synthesis output is audio, which the oracle lists as output.
        usage = {
            "output" if name == "output_audio" else name: 0 for name in usage
        } | usage
    expected = oracle_nano(provider, model, usage, context or {})
    if is_inexact(model):
        assert abs(cost - expected) <= 1 + expected * 9 // 1_000_000
    else:
        assert cost == expected


def assert_deviates(rates: ModelRates, usage: Usage) -> None:
    """Unpriced only where the oracle would silently use text's price, or nothing."""
    table = rates.steps[0].rates
    missing = {
        name for name, count in usage.items() if count and not rate_class(table, name)
    }
    assert missing
    text_only = {"output", "reasoning"} if "output" not in table else set()
    assert missing <= {
        "input_audio",
        "output_audio",
        "output_image",
        "web_search",
        *text_only,
    }


def assert_has_no_text_price(model: gp.ModelInfo) -> None:
    """Not on the card: no price per input token, or a known gap of the catalogue."""
    prices = model.get_prices(NOW)
    listed = getattr(prices, "input_mtok", None)
    assert listed is None or "audio" in model.id


def test_names_lead_to_the_entry_that_the_catalogue_chooses() -> None:
    """Dated, prefixed, upper-case and unknown names: the oracle's entry, or none."""
    cards = card()
    asked = 0
    for provider, model in LISTED.values():
        for name in names_of(model):
            chosen = provider.find_model(name, all_providers=list(providers))
            found = cards.find(provider.id, name)
            if chosen is None:
                assert found is None, (provider.id, name)
            elif found is not None:
                asked += 1
                assert found.model.partition(" #")[0] == chosen.id, (provider.id, name)
            else:
                assert_has_no_text_price(chosen)
    assert asked > 4000


def names_of(model: gp.ModelInfo) -> list[str]:
    return [
        model.id,
        model.id.upper(),
        f"{model.id}-2026-01-01",
        f"{model.id}-20260101",
        f"x-{model.id}",
    ]


@pytest.mark.parametrize(
    ("provider", "name", "usage", "usd"),
    [
        ("openai", "gpt-5-mini-2025-08-07", {"input": 10**6, "output": 10**6}, "2.25"),
        ("openai", "gpt-6-sol", {"input": 272_001, "output": 0}, "1.088004"),
        ("openai", "gpt-6-sol", {"input": 272_000, "output": 0}, "0.544"),
        ("anthropic", "claude-opus-4-6-20260205", {"cache_write_1h": 10**6}, "10"),
        ("anthropic", "claude-sonnet-4-5", {"web_search": 1000}, "10"),
        ("google", "gemini-2.5-flash", {"input_audio": 10**6}, "1"),
    ],
)
def test_prices_of_well_known_models(
    provider: str, name: str, usage: Usage, usd: str
) -> None:
    """Golden amounts, read off the providers' price lists by hand."""
    rates = card().find(provider, name)

    assert rates is not None
    assert price(rates, usage) == int(Decimal(usd) * 10**9)
