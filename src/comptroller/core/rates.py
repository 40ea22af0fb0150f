"""Rate cards: what each model costs, as immutable, versioned values (design.md §4).

Rates are pico-USD per unit of a usage class. A card holds only the rates that its
source states; a class without its own rate is priced as its parent (PARENTS) or
not at all: there is no silent zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from comptroller.core.errors import UnpricedError
from comptroller.core.match import Clause, matches, with_dashed_date
from comptroller.core.money import PICO_PER_NANO, NanoUsd
from comptroller.core.usage import PROMPT_CLASSES, Usage

PARENTS: Final[Mapping[str, str]] = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_30m": "cache_write_5m",
    "cache_write_1h": "cache_write_30m",
    "cache_write_12h": "cache_write_1h",
    "input_image": "input",
    "reasoning": "output",
}
"""Which rate stands in for a class that has none.

Audio in or out, image output and tool units have no parent: they are priced at up
to 16 times text, so a missing rate is unknown, not text's.
"""

TIER_NAMES: Final[Mapping[str, str]] = {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
"""Service tiers that a provider names differently from the price lists."""

DEARER_TIERS: Final = frozenset({"priority", "fast"})
"""Tiers that cost more than the standard one: without rates they are unpriced."""

AGREED_SOURCES: Final = frozenset({"declared", "contract"})
"""Sources whose standard rates hold in every service tier that states no own."""

_REMEMBERED_MAX: Final = 4096


class Step(NamedTuple):
    """Rates that hold above a size of the prompt."""

    above_input_tokens: int
    """0 for the first; a step holds when ALL prompt-side tokens are more than this."""
    rates: dict[str, int]
    """Usage class to pico-USD per unit."""


@dataclass(frozen=True, slots=True)
class ModelRates:
    """The rates of one model of one provider."""

    model: str
    """The name under which the card lists it."""
    steps: tuple[Step, ...]
    """Ascending; never empty."""
    tiers: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """Service tier, such as `priority` or `flex`, to its steps."""
    request_pico_usd: int = 0
    """A fee per request."""
    source: str = "declared"
    """`genai-prices 0.2.3`, `declared` or `contract`."""
    context_window_tokens: int | None = None
    """As the catalogue states it; known to be stale at times, see core/bound."""


class Matcher(NamedTuple):
    """A rule that leads from a name a provider uses to an entry of the card."""

    clause: Clause
    model: str
    """Key in the provider's models."""


class PriceLine(NamedTuple):
    """One line of a calculation: units times rate is the amount."""

    usage_class: str
    units: int
    rate_class: str
    """The class whose rate was used: the same, or a parent."""
    rate_pico_usd: int
    amount_pico_usd: int


class _Memo:
    """A place to remember lookups that is no field, so that it is never encoded."""

    __slots__ = ("_found",)
    _found: dict[tuple[str, str], ModelRates | None]


@dataclass(frozen=True, slots=True)
class RateCard(_Memo):
    """Everything that may be billed, in one immutable version."""

    version: str
    """`rc-` and 16 hex digits of the SHA-256 of the card's canonical JSON."""
    source: str
    models: dict[str, dict[str, ModelRates]]
    """Provider id to the provider's model name to rates."""
    matchers: dict[str, tuple[Matcher, ...]] = field(default_factory=dict)
    """Provider id to rules for the other names of its models, tried in order."""
    changes_ns: int | None = None
    """When the catalogue's prices change next; the card is to be compiled again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_found", {})

    def find(self, provider: str, upstream_model: str) -> ModelRates | None:
        """The rates of a model by any name that the provider uses for it.

        An exact name is one dictionary hit; other names (dated snapshots) go
        through the catalogue's own rules once and are remembered.

        Returns:
            None when the model has no price: it must be refused.
        """
        listed = self.models.get(provider)
        if listed is None:
            return None
        rates = listed.get(upstream_model)
        if rates is not None:
            return rates
        key = (provider, upstream_model)
        if key in self._found:
            return self._found[key]
        rates = self._search(provider, upstream_model)
        if len(self._found) < _REMEMBERED_MAX:
            self._found[key] = rates
        return rates

    def _search(self, provider: str, name: str) -> ModelRates | None:
        """Tries the rules in order, then once more with a dashed date."""
        lowered = name.lower()
        for candidate in dict.fromkeys((lowered, with_dashed_date(lowered))):
            for matcher in self.matchers.get(provider, ()):
                if matches(matcher.clause, candidate):
                    return self.models[provider].get(matcher.model)
        return None


def version_of(card: RateCard) -> str:
    """The version that a card's content gives, whatever it says it is."""
    return rate_card(card.source, card.models, card.matchers).version


def rate_card(
    source: str,
    models: dict[str, dict[str, ModelRates]],
    matchers: dict[str, tuple[Matcher, ...]] | None = None,
    changes_ns: int | None = None,
) -> RateCard:
    """Makes a card and derives its version from its content."""
    rules = matchers or {}
    content = [source, _plain_models(models), rules]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    version = "rc-" + hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return RateCard(version, source, models, rules, changes_ns)


def billed_rates(
    card: RateCard, asked: tuple[str, str], answered: str | None, *, is_alone: bool
) -> ModelRates | None:
    """The rates at which a reply, or one of several passes inside it, is billed.

    The model that answered decides, where the card knows it: it may be dearer or
    cheaper than the alias that was asked for. An agreed price for the model asked
    for holds whichever snapshot of it answers, but not for another model that ran
    inside the same reply.

    Args:
        card: in force when the request was decided.
        asked: the provider's id, and its name of the model that was asked for.
        answered: the name in the reply or pass, if any.
        is_alone: whether one model gave the whole reply.
    """
    rates = card.find(*asked)
    if is_alone and rates is not None and rates.source in AGREED_SOURCES:
        return rates
    own = card.find(asked[0], answered) if answered is not None else None
    return own or rates


def price(rates: ModelRates, usage: Usage, tier: str | None = None) -> NanoUsd:
    """What a usage costs: exact in pico-USD, rounded once.

    Args:
        rates: of the model that was used.
        usage: disjoint counts by class.
        tier: the service tier that the reply names; None: the standard one.

    Raises:
        UnpricedError: a class that was used has neither a rate nor a parent's, or
            the tier is a dearer one without rates.
    """
    steps = rates.steps if tier is None else steps_of(rates, tier)
    table = steps[0].rates if len(steps) == 1 else _step(steps, usage).rates
    pico = rates.request_pico_usd
    try:
        for name, count in usage.items():
            pico += count * table[name]
    except KeyError:
        pico = rates.request_pico_usd + _sum_with_parents(rates.model, table, usage)
    return NanoUsd((pico + PICO_PER_NANO // 2) // PICO_PER_NANO)


def price_lines(
    rates: ModelRates, usage: Usage, tier: str | None = None
) -> tuple[PriceLine, ...]:
    """Shows how `price` comes about, class by class, without the request's fee.

    Raises:
        UnpricedError: as `price`.
    """
    table = _step(steps_of(rates, tier), usage).rates
    return _lines(rates.model, table, usage)


def steps_of(rates: ModelRates, tier: str | None) -> tuple[Step, ...]:
    """The steps of a service tier; the standard ones where it has none of its own.

    Raises:
        UnpricedError: it is a dearer tier, and the catalogue lists no price for it.
    """
    if tier is None:
        return rates.steps
    lowered = tier.lower()
    name = TIER_NAMES.get(lowered, lowered)
    own = rates.tiers.get(name)
    if own is not None:
        return own
    if name in DEARER_TIERS and rates.source not in AGREED_SOURCES:
        raise UnpricedError(
            f"model {rates.model!r} has no rates for service tier {name!r}; "
            f"ask for another tier or declare a price"
        )
    return rates.steps


def rate_class(table: Mapping[str, int], usage_class: str) -> str | None:
    """The class whose rate prices a class: itself, a parent, or None."""
    name: str | None = usage_class
    while name is not None and name not in table:
        name = PARENTS.get(name)
    return name


def _step(steps: tuple[Step, ...], usage: Usage) -> Step:
    """The step that all prompt-side tokens together reach."""
    if len(steps) == 1:
        return steps[0]
    prompt = sum([usage.get(name, 0) for name in PROMPT_CLASSES])
    for step in reversed(steps):
        if prompt > step.above_input_tokens:
            return step
    return steps[0]


def _sum_with_parents(model: str, table: Mapping[str, int], usage: Usage) -> int:
    pico = 0
    for usage_class, count in usage.items():
        rate = table.get(usage_class)
        if rate is None:
            if not count:
                continue
            rate = table[_priced_as(model, table, usage_class)]
        pico += count * rate
    return pico


def _priced_as(model: str, table: Mapping[str, int], usage_class: str) -> str:
    name = rate_class(table, usage_class)
    if name is None:
        raise UnpricedError(
            f"model {model!r} has no rate for {usage_class!r}; "
            f"declare one under the model's price"
        )
    return name


def _lines(model: str, table: Mapping[str, int], usage: Usage) -> tuple[PriceLine, ...]:
    lines = []
    for usage_class, count in usage.items():
        if count:
            priced_as = _priced_as(model, table, usage_class)
            rate = table[priced_as]
            lines.append(PriceLine(usage_class, count, priced_as, rate, count * rate))
    return tuple(lines)


def _plain_models(models: dict[str, dict[str, ModelRates]]) -> Any:  # noqa: ANN401  JSON
    return {
        provider: {
            name: [
                rates.model,
                rates.steps,
                rates.tiers,
                rates.request_pico_usd,
                rates.source,
                rates.context_window_tokens,
            ]
            for name, rates in listed.items()
        }
        for provider, listed in models.items()
    }
