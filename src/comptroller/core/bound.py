"""Bounds: the most that a request can cost, before it is sent (design.md §4)."""

from __future__ import annotations

from typing import Final, NamedTuple

from comptroller.core.errors import UnpricedError
from comptroller.core.money import NanoUsd, nano_from_pico_ceiling
from comptroller.core.rates import ModelRates, Step, steps_of
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES

OUTPUT_TOKENS_DEFAULT: Final = 32_768
"""Bound of the output where neither request, service nor model states one."""

CONTEXT_WINDOW_DEFAULT: Final = 1_048_576
"""Least cap of the input where the configuration declares no context window.

Catalogues list windows that were enlarged since (64,000 for a model that takes
131,072), so a smaller catalogue figure is not taken for a bound.
"""

PROMPT_OVERHEAD_TOKENS: Final = 1024
"""Tokens that providers add to the bytes sent: templates, tool instructions."""

_STANDARD_TIERS: Final = frozenset({"default", "standard", "standard_only"})
_ASKED_ELSEWHERE: Final = frozenset({"batch", "fast"})
"""Tiers that a request gets only by asking for them by name."""


class OutputBound(NamedTuple):
    """The most tokens that one choice may generate, and who says so."""

    tokens: int
    source: str
    """`request`, `service`, `model` or `default`: what is not the request's own
    must be injected for the bound to hold."""


def input_tokens_bound(
    body_bytes: int,
    context_window: int | None,
    rates: ModelRates | None = None,
    *,
    by_reference: bool = False,
) -> int:
    """The most tokens a request's prompt can have.

    One token is at least one byte of the body; the context window caps it.

    Args:
        body_bytes: size of the request's body as received.
        context_window: tokens, as the configuration declares; None: not declared.
        rates: the model's, for a catalogue window larger than the default.
        by_reference: the body names content that it does not hold (image URL,
            file id, previous response, hosted search): only the window bounds it.
    """
    window = context_window
    if window is None:
        listed = rates.context_window_tokens if rates is not None else None
        window = max(CONTEXT_WINDOW_DEFAULT, listed or 0)
    if by_reference:
        return window
    return min(body_bytes + PROMPT_OVERHEAD_TOKENS, window)


def output_tokens_bound(
    requested: int | None, service_limit: int | None, model_max: int | None
) -> OutputBound:
    """The most tokens one choice may generate: the smallest that is stated.

    Args:
        requested: the request's own maximum.
        service_limit: `limits.output_tokens` of the service.
        model_max: the model's `max_output_tokens`.
    """
    stated = [
        OutputBound(tokens, source)
        for tokens, source in (
            (requested, "request"),
            (service_limit, "service"),
            (model_max, "model"),
        )
        if tokens is not None
    ]
    if not stated:
        return OutputBound(OUTPUT_TOKENS_DEFAULT, "default")
    return min(stated, key=lambda bound: bound.tokens)


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


def units_bound(rates: ModelRates, usage_class: str, count: int) -> NanoUsd:
    """The most that counted units, such as hosted web searches, cost; rounded up.

    Raises:
        UnpricedError: the model has no rate for them.
    """
    every = (rates.steps, *rates.tiers.values())
    known = [
        step.rates[usage_class]
        for steps in every
        for step in steps
        if usage_class in step.rates
    ]
    if not known and count:
        raise UnpricedError(f"model {rates.model!r} has no rate for {usage_class!r}")
    return nano_from_pico_ceiling(count * max(known, default=0))


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
