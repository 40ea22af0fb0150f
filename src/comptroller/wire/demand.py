"""The demand: what a request may cost, but for what it generates."""

from __future__ import annotations

from comptroller.core.bound import (
    Demand,
    ceilings,
    input_tokens_bound,
    require_priced,
    units_bound,
)
from comptroller.core.rates import ModelRates
from comptroller.wire.extras import Extras
from comptroller.wire.request import RequestFacts


def demand_of(
    rates: ModelRates,
    facts: RequestFacts,
    extras: Extras,
    window: int | None,
    counted: int | None = None,
) -> Demand:
    """What bounds a request's cost, but for its output.

    Args:
        rates: of the model.
        facts: of the request.
        extras: of the same request.
        window: the context window that is declared for the model.
        counted: `count_bound` of the prompt, where there is one.

    Raises:
        UnpricedError: something that may be billed has no price.
    """
    require_priced(rates, extras.classes)
    is_by_reference = extras.is_by_reference
    prompt = input_tokens_bound(
        extras.input_bytes,
        window,
        rates,
        by_reference=is_by_reference,
        overhead=extras.overhead,
    )
    if counted is not None and not is_by_reference:
        prompt = min(prompt, counted)
    return Demand(
        ceilings(rates, extras.tier or facts.service_tier),
        prompt * extras.passes,
        facts.choices * extras.passes,
        units_bound(rates, "web_search", extras.searches),
    )
