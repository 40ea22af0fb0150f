from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comptroller.core.bound import (
    CONTEXT_WINDOW_DEFAULT,
    OUTPUT_TOKENS_ANY,
    OUTPUT_TOKENS_DEFAULT,
    OUTPUT_TOKENS_UNKNOWN,
    PROMPT_OVERHEAD_TOKENS,
    Demand,
    affordable_output,
    bound,
    bound_by,
    ceilings,
    demand_affordable,
    demand_bound,
    input_tokens_bound,
    output_rule,
    output_tokens_bound,
    require_priced,
    units_bound,
)
from comptroller.core.errors import UnpricedError
from comptroller.core.rates import ModelRates, Step, price
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, Usage, total

TEXT = ModelRates(
    "m",
    (Step(0, {"input": 1000, "cache_read": 100, "output": 8000}),),
    {
        "flex": (Step(0, {"input": 500, "output": 4000}),),
        "priority": (Step(0, {"input": 2000, "output": 16_000}),),
        "fast": (Step(0, {"input": 6000, "output": 48_000}),),
    },
)

tables = st.fixed_dictionaries(
    {"input": st.integers(0, 10**8), "output": st.integers(0, 10**8)},
    optional={
        name: st.integers(0, 10**8)
        for name in PROMPT_CLASSES + GENERATED_CLASSES
        if name not in {"input", "output"}
    },
)
steps = st.tuples(tables, tables).map(
    lambda pair: (Step(0, pair[0]), Step(200_000, pair[1]))
)
token_usages = st.dictionaries(
    st.sampled_from(PROMPT_CLASSES + GENERATED_CLASSES), st.integers(0, 250_000)
)


@given(steps, steps, token_usages, st.sampled_from([None, "priority", "default"]))
def test_no_usage_within_the_bounds_costs_more_than_the_bound(
    standard: tuple[Step, ...],
    priority: tuple[Step, ...],
    usage: Usage,
    tier: str | None,
) -> None:
    """For any rates and any usage, price ≤ bound of its own token counts."""
    rates = ModelRates("m", standard, {"priority": priority}, request_pico_usd=7)
    prompt = total(usage, PROMPT_CLASSES)
    generated = total(usage, GENERATED_CLASSES)
    try:
        cost = price(rates, usage, tier)
    except UnpricedError:
        assume(False)
        raise

    assert cost <= bound(rates, prompt, generated)
    assert cost <= bound(rates, prompt + 90_000, generated + 1)


def test_a_bound_is_rounded_up() -> None:
    """A thousandth of a nano-dollar is held as one."""
    assert bound(ModelRates("m", (Step(0, {"input": 1, "output": 1}),)), 1, 0) == 1


def test_a_bound_counts_every_choice() -> None:
    """Five choices may generate five times the output, from one prompt."""
    assert bound(TEXT, 10, 100, 5, "default") == 10 + 5 * 100 * 8


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("default", 1),
        ("standard_only", 1),
        ("flex", 1),
        (None, 2),
        ("auto", 2),
        ("priority", 2),
        ("fast", 6),
    ],
)
def test_a_bound_takes_the_dearest_tier_in_reach(
    asked: str | None, expected: int
) -> None:
    """What the provider may choose by itself counts; `fast` only when asked for."""
    assert bound(TEXT, 1, 0, 1, asked) == expected


def test_a_step_counts_only_when_the_prompt_can_reach_it() -> None:
    """A prompt of exactly the threshold is not above it."""
    rates = ModelRates(
        "m", (Step(0, {"input": 1000, "output": 0}), Step(10, {"input": 9000}))
    )

    assert bound(rates, 10, 0) == 10
    assert bound(rates, 11, 0) == 99


def test_a_dearer_first_step_stays_in_reach() -> None:
    """A long prompt may turn out short: the bound covers the first step, too."""
    rates = ModelRates(
        "m", (Step(0, {"input": 9000, "output": 0}), Step(1000, {"input": 1000}))
    )

    assert bound(rates, 1001, 0) == 9 * 1001


def test_a_model_without_input_or_output_rates_is_unpriced() -> None:
    """What cannot be bounded is refused, never held at zero."""
    with pytest.raises(UnpricedError, match="input"):
        bound(ModelRates("m", (Step(0, {"output": 1}),)), 1, 1)
    with pytest.raises(UnpricedError, match="output"):
        bound(ModelRates("m", (Step(0, {"input": 1}),)), 1, 1)


def test_a_model_that_generates_nothing_needs_no_output_rate() -> None:
    """Embeddings have a prompt only."""
    assert bound(ModelRates("e", (Step(0, {"input": 1000}),)), 7, 0) == 7


def test_counted_units_are_bounded_by_their_dearest_rate() -> None:
    """Hosted searches are counted and never free by omission."""
    rates = ModelRates("m", (Step(0, {"input": 1, "web_search": 10**10}),))

    assert units_bound(rates, "web_search", 3) == 3 * 10**7
    assert units_bound(TEXT, "web_search", 0) == 0
    with pytest.raises(UnpricedError, match="web_search"):
        units_bound(TEXT, "web_search", 1)


def test_the_bytes_bound_the_prompt() -> None:
    """One token is at least one byte, and providers add a little of their own."""
    assert input_tokens_bound(500, None) == 500 + PROMPT_OVERHEAD_TOKENS
    assert input_tokens_bound(10**9, None) == CONTEXT_WINDOW_DEFAULT
    assert input_tokens_bound(10**9, 8192) == 8192


def test_content_by_reference_is_bounded_by_the_window_alone() -> None:
    """An image URL of 30 bytes may be thousands of tokens."""
    assert input_tokens_bound(30, 8192, by_reference=True) == 8192
    assert input_tokens_bound(30, None, by_reference=True) == CONTEXT_WINDOW_DEFAULT


def test_a_listed_window_raises_the_cap_and_never_lowers_it() -> None:
    """Catalogue windows are stale at times; a declared one decides."""
    small = ModelRates("m", (), context_window_tokens=64_000)
    large = ModelRates("m", (), context_window_tokens=2_000_000)

    assert input_tokens_bound(10**9, None, small) == CONTEXT_WINDOW_DEFAULT
    assert input_tokens_bound(10**9, None, large) == 2_000_000
    assert input_tokens_bound(10**9, 32_000, large) == 32_000


@pytest.mark.parametrize(
    ("requested", "stated", "expected"),
    [
        # stated: the service's limit, the declared maximum, the known one
        (100, (4096, 8192, None), (100, "request", False)),
        (9000, (4096, 8192, None), (4096, "service", True)),
        (9000, (None, 8192, None), (8192, "model", True)),
        (None, (4096, 8192, None), (4096, "service", True)),
        (None, (None, 8192, None), (8192, "model", True)),
        (None, (None, 8192, 500), (8192, "model", True)),
        (None, (None, None, 16_384), (16_384, "known", True)),
        (None, (50_000, None, 16_384), (16_384, "known", True)),
        (20_000, (50_000, None, 16_384), (20_000, "request", False)),
        (60_000, (50_000, None, 16_384), (16_384, "known", True)),
        (20_000, (None, None, 16_384), (20_000, "request", False)),
        (20_000, (None, None, None), (20_000, "request", False)),
        (None, (None, None, None), (OUTPUT_TOKENS_UNKNOWN, "default", True)),
        (None, (50_000, None, None), (50_000, "service", True)),
        (0, (None, None, None), (0, "request", False)),
    ],
)
def test_the_output_is_bounded_by_the_smallest_that_is_stated(
    requested: int | None,
    stated: tuple[int | None, int | None, int | None],
    expected: tuple[int, str, bool],
) -> None:
    """On a limited path every bound is the request's own, or is put into it."""
    rule = output_rule(*stated)
    assert output_tokens_bound(rule, requested, is_limited=True) == expected


@pytest.mark.parametrize(
    ("requested", "stated", "expected"),
    [
        (None, (None, None, None), (OUTPUT_TOKENS_DEFAULT, "guess", False)),
        (None, (None, 8192, None), (8192, "model", False)),
        (9000, (None, 8192, None), (8192, "model", False)),
        (None, (None, None, 16_384), (16_384, "known", False)),
        (None, (4096, None, 16_384), (4096, "service", True)),
        (9000, (4096, None, None), (4096, "service", True)),
        (None, (50_000, None, 16_384), (16_384, "known", True)),
    ],
)
def test_only_a_services_limit_is_put_where_nothing_is_limited(
    requested: int | None,
    stated: tuple[int | None, int | None, int | None],
    expected: tuple[int, str, bool],
) -> None:
    """Requests that nothing limits are passed on as they are."""
    rule = output_rule(*stated)
    assert output_tokens_bound(rule, requested, is_limited=False) == expected


@given(
    steps,
    steps,
    st.integers(0, 300_000),
    st.integers(1, 10**10),
    st.integers(1, 8),
)
def test_the_affordable_output_is_the_largest_that_fits(
    standard: tuple[Step, ...],
    priority: tuple[Step, ...],
    input_tokens: int,
    free: int,
    choices: int,
) -> None:
    """bound(affordable) ≤ free < bound(affordable + 1), whatever the rates."""
    rates = ModelRates("m", standard, {"priority": priority}, request_pico_usd=7)
    reachable = ceilings(rates, None)

    tokens = affordable_output(reachable, input_tokens, free, choices)

    if tokens == -1:
        assert bound_by(reachable, input_tokens, 0) > free
    else:
        assert bound_by(reachable, input_tokens, tokens * choices) <= free
        more = bound_by(reachable, input_tokens, (tokens + 1) * choices)
        assert more > free or tokens == OUTPUT_TOKENS_ANY


def test_output_without_a_rate_is_never_affordable() -> None:
    """What has no price is refused, never free."""
    reachable = ceilings(ModelRates("m", (Step(0, {"input": 1}),)), None)
    with pytest.raises(UnpricedError, match="output"):
        affordable_output(reachable, 1, 10**9)


def test_a_demand_counts_passes_choices_and_fees() -> None:
    """What is affordable is what its bound still pays for, fees first."""
    demand = Demand(ceilings(TEXT, "default"), 100, 6, fees_nano_usd=1000)

    assert demand_bound(demand, 10) == 100 + 6 * 10 * 8 + 1000
    assert demand_affordable(demand, 100 + 6 * 10 * 8 + 1000) == 10
    assert demand_affordable(demand, 100 + 6 * 10 * 8 + 999) == 9
    assert demand_affordable(demand, 1099) == -1


def test_what_may_be_billed_needs_a_price() -> None:
    """A parent's rate prices reasoning and images, but nothing prices audio."""
    require_priced(TEXT, ("reasoning", "input_image"))
    with pytest.raises(UnpricedError, match="input_audio"):
        require_priced(TEXT, ("input_audio",))
