from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comptroller.core.bound import (
    CONTEXT_WINDOW_DEFAULT,
    OUTPUT_TOKENS_DEFAULT,
    PROMPT_OVERHEAD_TOKENS,
    bound,
    input_tokens_bound,
    output_tokens_bound,
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
    ("requested", "service", "model", "expected"),
    [
        (100, 4096, 8192, (100, "request")),
        (9000, 4096, 8192, (4096, "service")),
        (9000, None, 8192, (8192, "model")),
        (None, 4096, 8192, (4096, "service")),
        (None, None, 8192, (8192, "model")),
        (None, None, None, (OUTPUT_TOKENS_DEFAULT, "default")),
        (0, None, None, (0, "request")),
    ],
)
def test_the_smallest_stated_maximum_bounds_the_output(
    requested: int | None,
    service: int | None,
    model: int | None,
    expected: tuple[int, str],
) -> None:
    """The output's bound, and whose word it is."""
    assert output_tokens_bound(requested, service, model) == expected
