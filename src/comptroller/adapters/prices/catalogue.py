"""The price catalogue: genai-prices' data as core values.

The only module that imports genai-prices (0.3 s and 31 MiB: never in a worker).
Its data structures are read directly; its arithmetic serves the tests as oracle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from importlib.metadata import version
from typing import Final, NamedTuple

from genai_prices import types as gp
from genai_prices.data import providers as all_providers

from comptroller.core.match import TEXT_KINDS, Clause
from comptroller.core.rates import DEARER_TIERS, Matcher, ModelRates, Step

SOURCE: Final = f"genai-prices {version('genai-prices')}"

_PICO_PER_USD: Final = 10**12
_CLASS_OF: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    # Providers' ordinary cache write: 5 minutes, and every TTL without its own.
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "input_image_mtok": "input_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "web_searches_kcount": "web_search",
}
_UNITS_PER_PRICE: Final = {"web_searches_kcount": 1000, "requests_kcount": 1000}
_TOKENS_PER_PRICE: Final = 10**6
_TIER_CONTEXTS: Final = frozenset({"service_tier", "processing", "speed"})
"""Contexts that a reply names as its tier; others (a search type, a route) are not."""


class Catalogued(NamedTuple):
    """What the catalogue lists for one provider."""

    catalogue: str
    """The catalogue's id of the provider."""
    models: dict[str, ModelRates]
    matchers: tuple[Matcher, ...]
    changes_ns: int | None
    """When one of these prices changes next."""


def catalogue_ids() -> tuple[str, ...]:
    """Every provider's id in the catalogue."""
    return tuple(provider.id for provider in all_providers)


def id_of_url(urls: Iterable[str]) -> str | None:
    """The catalogue provider that serves one of these URLs, if any."""
    for url in urls:
        for provider in all_providers:
            if re.match(provider.api_pattern, url):
                return provider.id
    return None


def read(catalogue: str, now_ns: int) -> Catalogued:
    """Reads one provider: its models, then those of the providers it resells.

    Args:
        catalogue: id of a catalogue provider.
        now_ns: the time at which the prices are to be in force.

    Raises:
        KeyError: the catalogue has no such provider.
    """
    by_id = {provider.id: provider for provider in all_providers}
    provider = by_id[catalogue]
    now = datetime.fromtimestamp(now_ns // 10**9, tz=UTC)
    resold = [by_id[other] for other in provider.fallback_model_providers or ()]
    listed = [(model, True) for model in provider.models]
    # A reseller's tiers are its own: those of the maker do not hold there.
    listed += [(model, False) for other in resold for model in other.models]
    models: dict[str, ModelRates] = {}
    matchers = []
    for position, (model, own) in enumerate(listed):
        key = _key(model, [entry for entry, _ in listed], position)
        matchers.append(Matcher(_clause(model.match), key))
        rates = _model_rates(model, now, key, catalogue if own else None)
        if rates is not None:
            models[key] = rates
    changes = [_next_change(model, now) for model, _ in listed]
    known = [change for change in changes if change is not None]
    return Catalogued(catalogue, models, tuple(matchers), min(known, default=None))


def _key(model: gp.ModelInfo, listed: Sequence[gp.ModelInfo], position: int) -> str:
    """A model's key: its id, unless the catalogue reads that id as another model."""
    meant = next((other for other in listed if other.is_match(model.id)), model)
    earlier = any(other.id == model.id for other in listed[:position])
    return model.id if meant is model and not earlier else f"{model.id} #{position}"


def _model_rates(
    model: gp.ModelInfo, now: datetime, key: str, catalogue: str | None
) -> ModelRates | None:
    """The rates in force; None where nothing that we count is priced."""
    standard = model.get_prices(now)
    steps = _steps(model.id, standard)
    if "input" not in steps[0].rates or _is_withheld(model.id, steps[0]):
        return None
    tiers = {}
    for variant in model.price_variants or () if catalogue else ():
        for context, tier in variant.when.items():
            if len(variant.when) == 1 and context in _TIER_CONTEXTS:
                offered = _steps(model.id, model.get_prices(now, {context: tier}))
                if offered != steps or tier in DEARER_TIERS:
                    tiers[tier] = offered
    if catalogue == "anthropic":
        # Committed capacity: no list price of its own, the standard one is the most.
        tiers["priority"] = steps
    fee = getattr(standard, "requests_kcount", None)
    return ModelRates(
        model=key,
        steps=steps,
        tiers=tiers,
        request_pico_usd=0 if fee is None else _pico("requests_kcount", _base(fee)),
        source=SOURCE,
        context_window_tokens=model.context_window,
    )


def _is_withheld(model_id: str, step: Step) -> bool:
    """Tells known gaps: OpenAI's audio models are listed with text prices alone.

    Their audio costs up to 16 times the text price, so the entry would be wrong.
    """
    named = model_id.rpartition("/")[2]
    is_audio = named.startswith("gpt-") and "audio" in named
    return is_audio and "input_audio" not in step.rates


def _steps(model_id: str, prices: gp.ModelPrice) -> tuple[Step, ...]:
    """One step a threshold, each with the full rates that hold above it."""
    known = [
        (key, value)
        for key, value in vars(prices).items()
        if key in _CLASS_OF and value is not None
    ]
    thresholds = {
        tier.start
        for _, value in known
        if isinstance(value, gp.TieredPrices)
        for tier in value.tiers
    }
    steps = []
    for threshold in sorted({0} | thresholds):
        rates: dict[str, int] = {}
        for key, value in known:
            rates[_CLASS_OF[key]] = _pico(key, _at(value, threshold))
        if "-tts" in model_id and "output" in rates:
            # Speech synthesis: its output is audio, and its output price audio's.
            rates.setdefault("output_audio", rates["output"])
        steps.append(Step(threshold, rates))
    return tuple(steps)


def _at(value: Decimal | gp.TieredPrices, threshold: int) -> Decimal:
    """The price that holds for a prompt of just more than so many tokens."""
    if not isinstance(value, gp.TieredPrices):
        return value
    price = value.base
    for tier in value.tiers:
        if threshold and tier.start <= threshold:
            price = tier.price
    return price


def _base(value: Decimal | gp.TieredPrices) -> Decimal:
    return _at(value, 0)


def _pico(key: str, price: Decimal) -> int:
    """Pico-USD per unit: exact, but for float noise such as 0.18000000000000002."""
    exact = price * _PICO_PER_USD / _UNITS_PER_PRICE.get(key, _TOKENS_PER_PRICE)
    return int(exact.to_integral_value(ROUND_HALF_UP))


def _clause(logic: gp.MatchLogic) -> Clause:
    match logic:
        case gp.ClauseOr(or_=parts):
            return Clause("any", parts=tuple(_clause(part) for part in parts))
        case gp.ClauseAnd(and_=parts):
            return Clause("all", parts=tuple(_clause(part) for part in parts))
        case _:
            # The others have one field, named as our kind: `equals`, `regex` …
            ((kind, text),) = vars(logic).items()
            if kind not in TEXT_KINDS:
                raise TypeError(f"unknown clause of the price catalogue: {logic!r}")
            return Clause(kind, text)


def _next_change(model: gp.ModelInfo, now: datetime) -> int | None:
    """When another of a model's conditions begins or ends to hold next."""
    conditional = model.prices if isinstance(model.prices, list) else []
    constraints = [entry.constraint for entry in conditional]
    constraints += [variant.constraint for variant in model.price_variants or ()]
    moments = [
        moment
        for constraint in constraints
        for moment in _moments(constraint, now)
        if moment > now
    ]
    return int(min(moments).timestamp()) * 10**9 if moments else None


def _moments(
    constraint: gp.StartDateConstraint | gp.TimeOfDateConstraint | None, now: datetime
) -> Iterator[datetime]:
    match constraint:
        case gp.StartDateConstraint(start_date=day):
            yield datetime.combine(day, time(), tzinfo=UTC)
        case gp.TimeOfDateConstraint(start_time=start, end_time=end):
            for clock in (start, end):
                today = datetime.combine(
                    now.date(), clock, tzinfo=clock.tzinfo or UTC
                ).astimezone(UTC)
                yield today
                yield today + timedelta(days=1)
        case None:
            return
