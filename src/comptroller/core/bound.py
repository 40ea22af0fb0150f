"""Bounds: the most that a request can cost, before it is sent (design.md §4)."""

from __future__ import annotations

from typing import Final, NamedTuple

from comptroller.core.errors import UnpricedError
from comptroller.core.money import PICO_PER_NANO, NanoUsd, nano_from_pico_ceiling
from comptroller.core.rates import ModelRates, Step, rate_class, steps_of
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES

OUTPUT_TOKENS_UNKNOWN: Final = 4096
"""Ceiling put into a request for a model whose maximum nobody states.

Every chat model in use takes it; a larger one may be refused by the provider.
"""

OUTPUT_TOKENS_DEFAULT: Final = 32_768
"""Guess at the output of such a model where nothing is put into the request."""

OUTPUT_TOKENS_ANY: Final = 1 << 53
"""More than any request may ask for: output that costs nothing is not bounded."""

CONTEXT_WINDOW_DEFAULT: Final = 1_048_576
"""Least cap of the input where the configuration declares no context window.

Catalogues list windows that were enlarged since (64,000 for a model that takes
131,072), so a smaller catalogue figure is not taken for a bound.
"""

PROMPT_OVERHEAD_TOKENS: Final = 1024
"""Tokens that providers add to the bytes sent: templates, tool instructions."""

PLAIN_OVERHEAD_TOKENS: Final = 512
"""The same for a request without tools: the template, and a system prompt of its own.

Of 3,254 recorded requests one had more than 256 above its body's bytes: 332.
"""

_STANDARD_TIERS: Final = frozenset({"default", "standard", "standard_only"})
_ASKED_ELSEWHERE: Final = frozenset({"batch", "fast"})
"""Tiers that a request gets only by asking for them by name."""


class OutputBound(NamedTuple):
    """The most tokens that one choice may generate, and who says so."""

    tokens: int
    source: str
    """`request`, `service`, `model` (declared), `known` (core/model_maxima), `default`
    (nobody knows: OUTPUT_TOKENS_UNKNOWN is put) or `guess` (nothing is put)."""
    is_put: bool
    """Whether it has to be put into the request for the bound to hold."""


class OutputRule(NamedTuple):
    """What bounds the output of a service's requests for a model."""

    tokens: int
    """Where the request states no maximum."""
    source: str
    cap: int | None
    """A higher maximum of the request is lowered, to `tokens`; None: it stands."""
    is_always: bool
    """Whether it is enforced on paths without any limit, too: a service's own."""


def input_tokens_bound(
    body_bytes: int,
    context_window: int | None,
    rates: ModelRates | None = None,
    *,
    by_reference: bool = False,
    overhead: int = PROMPT_OVERHEAD_TOKENS,
) -> int:
    """The most tokens a request's prompt can have.

    One token is at least one byte of the body; the context window caps it.

    Args:
        body_bytes: size of the request's body as received.
        context_window: tokens, as the configuration declares; None: not declared.
        rates: the model's, for a catalogue window larger than the default.
        by_reference: the body names content that it does not hold (image URL,
            file id, previous response, hosted search): only the window bounds it.
        overhead: tokens that the provider adds to the bytes, at the most.
    """
    window = context_window
    if window is None:
        listed = rates.context_window_tokens if rates is not None else None
        window = max(CONTEXT_WINDOW_DEFAULT, listed or 0)
    if by_reference:
        return window
    return min(body_bytes + overhead, window)


def output_rule(
    service_limit: int | None, declared: int | None, known: int | None
) -> OutputRule:
    """What bounds the output; the same for all requests of a service for a model.

    Args:
        service_limit: `limits.output_tokens` of the service.
        declared: the model's `max_output_tokens`.
        known: `model_maxima.known_max_output`; used where nothing is declared, and
            never to lower what a client asks for: the provider knows better.
    """
    model, source = (declared, "model") if declared is not None else (known, "known")
    is_always = service_limit is not None
    caps = [cap for cap in (service_limit, declared) if cap is not None]
    cap = min(caps, default=None)
    if model is not None and (service_limit is None or model < service_limit):
        return OutputRule(model, source, cap, is_always)
    if service_limit is not None:
        return OutputRule(service_limit, "service", cap, is_always)
    return OutputRule(OUTPUT_TOKENS_UNKNOWN, "default", cap, is_always)


def output_tokens_bound(
    rule: OutputRule, requested: int | None, *, is_limited: bool
) -> OutputBound:
    """The most tokens that one choice of a request may generate.

    Args:
        rule: of the service and the model.
        requested: the request's own maximum; None: it states none.
        is_limited: whether any budget or token limit applies, so that the bound
            has to be true. Elsewhere nothing is put into requests but a service's
            own limit.
    """
    is_enforced = is_limited or rule.is_always
    if requested is not None:
        if rule.cap is None or requested <= rule.cap:
            return OutputBound(requested, "request", is_put=False)
        return OutputBound(rule.tokens, rule.source, is_enforced)
    if rule.source == "default" and not is_enforced:
        return OutputBound(OUTPUT_TOKENS_DEFAULT, "guess", is_put=False)
    return OutputBound(rule.tokens, rule.source, is_enforced)


def bound(
    rates: ModelRates,
    input_tokens: int,
    output_tokens: int,
    choices: int = 1,
    asked_tier: str | None = None,
) -> NanoUsd:
    """The most that a request can cost, rounded up.

    Every prompt token is taken at the dearest class that the model prices, every
    generated token likewise, over every step and service tier that can be reached.

    Args:
        rates: of the model.
        input_tokens: bound of the prompt.
        output_tokens: bound of one choice.
        choices: how many the request asks for.
        asked_tier: the service tier that the request names; None: the provider
            decides.

    Raises:
        UnpricedError: the model prices no prompt token, or no generated one
            although some were asked for, or not the dearer tier asked for.
    """
    generated = output_tokens * choices
    return bound_by(ceilings(rates, asked_tier), input_tokens, generated)


class Ceiling(NamedTuple):
    """The dearest that one step of one tier can be."""

    above_input_tokens: int
    input_pico_usd: int
    """Per token of the prompt."""
    output_pico_usd: int | None
    """Per generated token; None: the model prices none."""
    request_pico_usd: int
    model: str


def ceilings(rates: ModelRates, asked_tier: str | None) -> tuple[Ceiling, ...]:
    """The ceilings of every step and tier that a request can reach.

    They depend on the model and the tier only, so that a caller may keep them.

    Raises:
        UnpricedError: the model prices no prompt token, or not the tier asked for.
    """
    return tuple(
        _ceiling(rates, step)
        for steps in _reachable(rates, asked_tier)
        for step in steps
    )


def bound_by(
    reachable: tuple[Ceiling, ...], input_tokens: int, generated: int
) -> NanoUsd:
    """The most that a request can cost, rounded up, from its ceilings.

    Raises:
        UnpricedError: output is asked for and a ceiling prices none.
    """
    dearest = 0
    for above, input_rate, output_rate, fee, model in reachable:
        if above and above >= input_tokens:
            continue
        if output_rate is None and generated:
            raise UnpricedError(f"model {model!r} has no rate for output")
        cost = input_tokens * input_rate + generated * (output_rate or 0) + fee
        dearest = max(dearest, cost)
    return nano_from_pico_ceiling(dearest)


def affordable_output(
    reachable: tuple[Ceiling, ...],
    input_tokens: int,
    free_nano_usd: int,
    choices: int = 1,
) -> int:
    """The most that one choice may generate for the request still to be paid for.

    `bound_by` of so much is within the amount, and of one token more is not.

    Args:
        reachable: the request's ceilings.
        input_tokens: bound of the prompt.
        free_nano_usd: what there is, without fees that are held besides.
        choices: how many the request asks for.

    Returns:
        Tokens; -1: not even the prompt is affordable; OUTPUT_TOKENS_ANY at most.

    Raises:
        UnpricedError: a ceiling prices no output.
    """
    affordable = OUTPUT_TOKENS_ANY
    free = free_nano_usd * PICO_PER_NANO
    for above, input_rate, output_rate, fee, model in reachable:
        if above and above >= input_tokens:
            continue
        if output_rate is None:
            raise UnpricedError(f"model {model!r} has no rate for output")
        left = free - input_tokens * input_rate - fee
        if left < 0:
            return -1
        if output_rate:
            affordable = min(affordable, left // (output_rate * choices))
    return affordable


class Demand(NamedTuple):
    """What bounds a request's cost, but for what one choice generates."""

    reachable: tuple[Ceiling, ...]
    input_tokens: int
    """Of all its passes together."""
    generations: int
    """How often its output ceiling may be used up: choices times passes."""
    fees_nano_usd: int
    """Of what is billed beside tokens."""


def demand_bound(demand: Demand, output_tokens: int) -> NanoUsd:
    """The most that a request can cost whose choices generate so much at the most.

    Raises:
        UnpricedError: as `bound_by`.
    """
    generated = output_tokens * demand.generations
    cost = bound_by(demand.reachable, demand.input_tokens, generated)
    return NanoUsd(cost + demand.fees_nano_usd)


def demand_affordable(demand: Demand, free_nano_usd: int) -> int:
    """The most that one choice may generate; as `affordable_output`."""
    return affordable_output(
        demand.reachable,
        demand.input_tokens,
        free_nano_usd - demand.fees_nano_usd,
        demand.generations,
    )


def require_priced(rates: ModelRates, classes: tuple[str, ...]) -> None:
    """Makes sure that what may be billed has a price, its own or a parent's.

    Raises:
        UnpricedError: the first class that has none.
    """
    for usage_class in classes:
        for step in rates.steps:
            if rate_class(step.rates, usage_class) is None:
                raise UnpricedError(
                    f"model {rates.model!r} has no rate for {usage_class!r}"
                )


def units_bound(rates: ModelRates, usage_class: str, count: int) -> NanoUsd:
    """The most that counted units, such as hosted web searches, cost; rounded up.

    Raises:
        UnpricedError: the model has no rate for them.
    """
    if not count:
        return NanoUsd(0)
    every = (rates.steps, *rates.tiers.values())
    known = [
        step.rates[usage_class]
        for steps in every
        for step in steps
        if usage_class in step.rates
    ]
    if not known:
        raise UnpricedError(f"model {rates.model!r} has no rate for {usage_class!r}")
    return nano_from_pico_ceiling(count * max(known))


def _reachable(
    rates: ModelRates, asked_tier: str | None
) -> tuple[tuple[Step, ...], ...]:
    """The steps of each tier at which a request may be billed, standard included."""
    if asked_tier in _STANDARD_TIERS:
        return (rates.steps,)
    if asked_tier is not None and asked_tier != "auto":
        return (rates.steps, steps_of(rates, asked_tier))
    offered = (
        steps for name, steps in rates.tiers.items() if name not in _ASKED_ELSEWHERE
    )
    return (rates.steps, *offered)


def _ceiling(rates: ModelRates, step: Step) -> Ceiling:
    table = step.rates
    prompt = [table[name] for name in PROMPT_CLASSES if name in table]
    if not prompt:
        raise UnpricedError(f"model {rates.model!r} has no rate for input")
    output = [table[name] for name in GENERATED_CLASSES if name in table]
    return Ceiling(
        step.above_input_tokens,
        max(prompt),
        max(output, default=None),
        rates.request_pico_usd,
        rates.model,
    )
