"""Bounding: the most that a request can cost, and the tokens that this rests on.

On a path with a budget everything that a request may make its provider do counts;
elsewhere only its prompt and its output, for the record (design.md §4).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from comptroller.core.bound import (
    Demand,
    demand_bound,
    input_tokens_bound,
    output_tokens_bound,
)
from comptroller.core.rates import ModelRates
from comptroller.engine.desk import Entitlement
from comptroller.engine.ports import TokenCounter
from comptroller.wire.ceiling import OutputCeiling
from comptroller.wire.counting import count_bound
from comptroller.wire.demand import demand_of, with_count
from comptroller.wire.extras import Extras, read_extras
from comptroller.wire.request import RequestFacts

_FREE: Final = Demand((), 0, 0, 0)


class Hold(msgspec.Struct, frozen=True, gc=False):
    """The most that the request can cost, and the tokens that this rests on."""

    nano_usd: int
    input_tokens: int
    output_tokens: int


class Bounded(msgspec.Struct, frozen=True):
    """A request with its bound."""

    demand: Demand
    output_tokens: int
    """Of one choice, at the most."""
    ceiling: OutputCeiling | None
    """What is put into the body, so that the bound is true; None: nothing."""
    unbounded: str | None = None
    """Why nothing bounds its cost; None: it is bounded."""
    clamped_by: str | None = None
    """The control that lowered the request's own maximum; None: none did."""

    def hold(self) -> Hold:
        """What has to be held for it.

        Raises:
            UnpricedError: output is asked for that has no price.
        """
        demand = self.demand
        if not demand.reachable:
            return NO_HOLD
        generated = self.output_tokens * demand.generations
        nano_usd = demand_bound(demand, self.output_tokens)
        return Hold(nano_usd, demand.input_tokens, generated)


NO_HOLD: Final = Hold(0, 0, 0)


def bounded(
    entitlement: Entitlement, facts: RequestFacts, body: bytes, *, is_limited: bool
) -> Bounded:
    """Bounds a request.

    Args:
        entitlement: what the credential gets.
        facts: of the request.
        body: as the client sent it.
        is_limited: whether a budget or a limit on tokens rests on the bound.

    Raises:
        UnpricedError: something that may be billed has no price.
    """
    output = output_tokens_bound(
        entitlement.output, facts.max_output_tokens, is_limited=is_limited
    )
    ceiling = clamped_by = None
    if output.is_put:
        ceiling = OutputCeiling(output.tokens, entitlement.ceiling.chat_field)
        if facts.max_output_tokens is not None:
            clamped_by = "token_ceiling"
    rates = entitlement.rates
    if rates is None:  # a route that is free of charge: nothing else lacks rates
        return Bounded(_FREE, 0, ceiling)
    if is_limited:
        found = _limited(entitlement, facts, body, (output.tokens, ceiling))
        return replace(found, clamped_by=clamped_by) if clamped_by else found
    prompt = input_tokens_bound(
        len(body),
        entitlement.model.context_window_tokens,
        rates,
        by_reference=facts.has_context_elsewhere,
    )
    reachable = entitlement.ceilings_for(facts.service_tier)
    demand = Demand(reachable, prompt, facts.choices, 0)
    return Bounded(demand, output.tokens, ceiling, clamped_by=clamped_by)


def counted(
    entitlement: Entitlement,
    facts: RequestFacts,
    body: bytes,
    found: Bounded,
    counter: TokenCounter | None,
) -> Bounded | None:
    """The same request with its prompt counted exactly; None: it has no fewer tokens.

    Raises:
        UnpricedError: as `bounded`.
    """
    rates, encoding = entitlement.rates, entitlement.encoding
    if counter is None or encoding is None or rates is None:
        return None
    count = counter.counter(encoding)
    if count is None:
        return None
    route = entitlement.route
    extras = read_extras(route, body, entitlement.model.upstream)
    tokens = count_bound(route, body, extras.input_bytes, count)
    if tokens is None:
        return None
    demand = with_count(_demand(entitlement, rates, facts, extras), extras, tokens)
    if demand.input_tokens >= found.demand.input_tokens:
        return None
    return replace(found, demand=demand)


def _limited(
    entitlement: Entitlement,
    facts: RequestFacts,
    body: bytes,
    output: tuple[int, OutputCeiling | None],
) -> Bounded:
    """Bounds a request whose bound has to be true."""
    rates: ModelRates | None = entitlement.rates
    assert rates is not None  # noqa: S101  who calls has looked
    extras = read_extras(entitlement.route, body, entitlement.model.upstream)
    tokens, ceiling = output
    if extras.unbounded is not None:
        return Bounded(_FREE, 0, ceiling, extras.unbounded)
    return Bounded(_demand(entitlement, rates, facts, extras), tokens, ceiling)


def _demand(
    entitlement: Entitlement, rates: ModelRates, facts: RequestFacts, extras: Extras
) -> Demand:
    reachable = entitlement.ceilings_for(extras.tier or facts.service_tier)
    window = entitlement.model.context_window_tokens
    return demand_of(rates, reachable, facts.choices, extras, window)
