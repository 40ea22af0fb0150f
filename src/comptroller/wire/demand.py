"""The demand: what a request may cost, but for what it generates."""

from __future__ import annotations

from comptroller.core.bound import (
    Ceiling,
    Demand,
    input_tokens_bound,
    require_priced,
    units_bound,
)
from comptroller.core.rates import ModelRates
from comptroller.wire.extras import Extras


def demand_of(
    rates: ModelRates,
    reachable: tuple[Ceiling, ...],
    choices: int,
    extras: Extras,
    window: int | None,
) -> Demand:
    """What bounds a request's cost, but for its output.

    Args:
        rates: of the model.
        reachable: `ceilings` of the model for the tier that the request asks for.
        choices: how many it asks for.
        extras: of the request.
        window: the context window that is declared for the model.

    Raises:
        UnpricedError: something that may be billed has no price.
    """
    require_priced(rates, extras.classes)
    prompt = input_tokens_bound(
        extras.input_bytes,
        window,
        rates,
        by_reference=extras.is_by_reference,
        overhead=extras.overhead,
    )
    passes = extras.passes
    fees = units_bound(rates, "web_search", extras.searches)
    return Demand(reachable, prompt * passes, choices * passes, fees)


def with_count(demand: Demand, extras: Extras, counted: int) -> Demand:
    """The same demand, its prompt by `count_bound` where that is smaller.

    Args:
        demand: of the request, by its bytes.
        extras: of the same request.
        counted: for one pass; it says nothing of what the body does not hold.
    """
    if extras.is_by_reference:
        return demand
    tokens = min(demand.input_tokens, counted * extras.passes)
    return demand._replace(input_tokens=tokens)
