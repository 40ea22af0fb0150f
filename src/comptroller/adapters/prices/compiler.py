"""Compiling a rate card: catalogue prices, with the registry's prices on top."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final, NamedTuple

from comptroller.core.deployment import deployments
from comptroller.core.rates import Matcher, ModelRates, RateCard, Step, rate_card
from comptroller.core.registry import DeclaredPrice, Model, Provider, Registry
from comptroller.core.usage import COUNTED_UNITS

DEAREST_PICO_PER_TOKEN: Final = 10**11
"""100,000 USD per million tokens: more is a typing error (per 1 for per million)."""
DEAREST_PICO_PER_UNIT: Final = 10**14
"""100 USD per counted unit, such as one web search."""


class PriceWarning(NamedTuple):
    """Something about a price that a person should look at; nothing is refused."""

    subject: str
    """`provider openai` or `model house-model`."""
    message: str


class CompiledCard(NamedTuple):
    """A rate card and what is doubtful about it."""

    card: RateCard
    warnings: list[PriceWarning]


def compile_card(registry: Registry, clock_ns: int) -> CompiledCard:
    """Compiles everything that the registry's providers may bill.

    Every model of a provider's catalogue is taken, not only those configured: a
    reply may be billed for another (Anthropic `iterations`). Prices that the
    configuration declares go on top, and hold for whatever names lead to the model.

    Args:
        registry: the applied configuration.
        clock_ns: now; prices with a date or a time of day are those in force.

    Returns:
        The card, and warnings: a model without a price (its requests will be
        refused), an unknown catalogue, a price beyond belief. `card.changes_ns`
        says when the card is to be compiled again.
    """
    # Only the process that compiles pays for the catalogue (0.3 s, 31 MiB).
    from comptroller.adapters.prices import catalogue  # noqa: PLC0415

    warnings: list[PriceWarning] = []
    models: dict[str, dict[str, ModelRates]] = {}
    matchers: dict[str, tuple[Matcher, ...]] = {}
    changes = []
    for provider in registry.providers.values():
        listing = _catalogue_of(provider, warnings)
        if listing is None:
            models[provider.id] = {}
            continue
        listed = catalogue.read(listing, clock_ns)
        models[provider.id] = dict(listed.models)
        matchers[provider.id] = listed.matchers
        if listed.changes_ns is not None:
            changes.append(listed.changes_ns)
    listed_card = rate_card(catalogue.SOURCE, models, matchers)
    _overlay(registry, listed_card, models, warnings)
    card = rate_card(catalogue.SOURCE, models, matchers, min(changes, default=None))
    _warn_of_unpriced(registry, card, warnings)
    return CompiledCard(card, warnings)


def _catalogue_of(provider: Provider, warnings: list[PriceWarning]) -> str | None:
    """The catalogue's id of a provider: as declared, by its URL, or by its id."""
    from comptroller.adapters.prices import catalogue  # noqa: PLC0415  as above

    ids = catalogue.catalogue_ids()
    if provider.prices is not None:
        if provider.prices in ids:
            return provider.prices
        near = difflib.get_close_matches(provider.prices, ids, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        warnings.append(
            PriceWarning(
                f"provider {provider.id}",
                f"the price catalogue knows no provider {provider.prices!r}{hint}",
            )
        )
        return None
    paths = ("", *provider.speaks.values())
    # The longest first: one host may serve several catalogues under its paths.
    urls = sorted((provider.base_url + path for path in paths), key=len, reverse=True)
    found = catalogue.id_of_url(urls)
    if found is None and provider.id in ids:
        found = provider.id
    return found


def _overlay(
    registry: Registry,
    listed: RateCard,
    models: dict[str, dict[str, ModelRates]],
    warnings: list[PriceWarning],
) -> None:
    """Puts declared prices over the catalogue's, or where it has none."""
    declared: dict[tuple[str, str], tuple[Model, dict[str, int]]] = {}
    for model in _deployments(registry):
        if model.price is None:
            continue
        _warn_of_beyond_belief(model, model.price, warnings)
        entry = listed.find(model.provider, model.upstream)
        name = model.upstream if entry is None else entry.model
        rates = dict(model.price.rates_pico_usd)
        earlier = declared.get((model.provider, name))
        if earlier is not None and earlier[1] != rates:
            warnings.append(
                PriceWarning(
                    f"model {model.id}",
                    f"declares another price than {earlier[0].id!r} for the same "
                    f"{model.upstream!r} of {model.provider!r}; the dearer holds",
                )
            )
            rates = _dearer(earlier[1], rates)
        declared[model.provider, name] = (model, rates)
    for (provider, name), (_, rates) in declared.items():
        found = models.setdefault(provider, {}).get(name)
        models[provider][name] = _declared(name, rates, found)


def _deployments(registry: Registry) -> Iterator[Model]:
    """Every place where a model runs, each as a model of its own."""
    for model in registry.models.values():
        yield from deployments(model)


def _declared(
    name: str, declared: dict[str, int], listed: ModelRates | None
) -> ModelRates:
    """A declared price alone, or over the standard rates of the catalogue.

    Other service tiers keep their list price: a contract names one price, and what
    it says of them is not known.
    """
    if listed is None:
        return ModelRates(name, (Step(0, declared),), source="declared")
    steps = tuple(
        Step(step.above_input_tokens, {**step.rates, **declared})
        for step in listed.steps
    )
    return ModelRates(
        name,
        steps,
        listed.tiers,
        listed.request_pico_usd,
        "contract",
        listed.context_window_tokens,
    )


def _dearer(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one | other}


def _warn_of_beyond_belief(
    model: Model, price: DeclaredPrice, warnings: list[PriceWarning]
) -> None:
    for usage_class, rate in price.rates_pico_usd.items():
        counted = usage_class in COUNTED_UNITS
        dearest = DEAREST_PICO_PER_UNIT if counted else DEAREST_PICO_PER_TOKEN
        if rate > dearest:
            unit = "100 USD each" if counted else "100,000 USD per million tokens"
            warning = PriceWarning(
                f"model {model.id}",
                f"{usage_class} costs more than {unit}; prices are per million "
                "tokens, not per token",
            )
            # One price of a model may hold for several deployments.
            warnings += [warning] if warning not in warnings else []


def _warn_of_unpriced(
    registry: Registry, card: RateCard, warnings: list[PriceWarning]
) -> None:
    for model in _deployments(registry):
        rates = card.find(model.provider, model.upstream)
        if rates is None:
            message = (
                f"no price is known for {model.upstream!r} of {model.provider!r}, so "
                "its requests will be refused; declare one, such as "
                "`price: {input: 0.10, output: 0.40}` (USD per million tokens)"
            )
        elif "input" not in rates.steps[0].rates:
            message = (
                f"declares no price for input for {model.upstream!r} of"
                f" {model.provider!r}, so its requests will be refused"
            )
        else:
            continue
        warnings.append(PriceWarning(f"model {model.id}", message))
