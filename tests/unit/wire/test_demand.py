from __future__ import annotations

import pytest

from comptroller.core.bound import PROMPT_OVERHEAD_TOKENS, ceilings, demand_bound
from comptroller.core.errors import UnpricedError
from comptroller.core.rates import ModelRates, Step
from comptroller.wire.demand import demand_of, with_count
from comptroller.wire.extras import Extras

RATES = ModelRates(
    "m",
    (Step(0, {"input": 1000, "output": 8000, "web_search": 10**10}),),
)
PLAIN = ceilings(RATES, None)


def test_a_plain_request_demands_its_bytes() -> None:
    """The bytes, the provider's overhead, and every choice."""
    demand = demand_of(RATES, PLAIN, 2, Extras(500), None)
    assert demand.input_tokens == 500 + PROMPT_OVERHEAD_TOKENS
    assert demand.generations == 2
    assert demand_bound(demand, 10) == 500 + PROMPT_OVERHEAD_TOKENS + 2 * 10 * 8


def test_a_count_replaces_the_bytes_and_never_raises_them() -> None:
    """The smaller of two upper bounds is one."""
    extras = Extras(500, passes=3)
    demand = demand_of(RATES, PLAIN, 2, extras, 900)
    assert with_count(demand, extras, 80).input_tokens == 3 * 80
    assert with_count(demand, extras, 5000) == demand


def test_what_is_elsewhere_is_never_counted() -> None:
    """The count saw the body alone."""
    extras = Extras(500, is_by_reference=True)
    demand = demand_of(RATES, PLAIN, 2, extras, 9000)
    assert with_count(demand, extras, 80).input_tokens == 9000


def test_hosted_tools_multiply_and_are_billed() -> None:
    """Each use reads the prompt and may generate once more, and has its fee."""
    extras = Extras(500, is_by_reference=True, passes=4, searches=3)
    demand = demand_of(RATES, PLAIN, 2, extras, 9000)
    assert demand.input_tokens == 4 * 9000
    assert demand.generations == 2 * 4
    assert demand.fees_nano_usd == 3 * 10**7


def test_what_has_no_price_is_not_held_at_texts() -> None:
    """Audio may be sixteen times as dear as text."""
    with pytest.raises(UnpricedError, match="output_audio"):
        demand_of(RATES, PLAIN, 2, Extras(500, classes=("output_audio",)), None)
