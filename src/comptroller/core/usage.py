"""Usage: disjoint counts of what a reply consumed (design.md §8)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

Usage: TypeAlias = dict[str, int]
"""Disjoint classes to counts; an absent class is 0. Keys are of USAGE_CLASSES."""

PROMPT_CLASSES: Final = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "input_audio",
    "input_image",
)
"""Classes of tokens on the prompt's side; `input` is uncached text."""

GENERATED_CLASSES: Final = ("output", "reasoning", "output_audio", "output_image")
"""Classes of generated tokens; `output` is visible text."""

COUNTED_UNITS: Final = ("web_search",)
"""Units that are counted and not tokens: provider-hosted tools."""

USAGE_CLASSES: Final = PROMPT_CLASSES + GENERATED_CLASSES + COUNTED_UNITS


class UsageSource(StrEnum):
    """Where a usage came from."""

    PROVIDER = "provider"
    ESTIMATED = "estimated"
    HOLD = "hold"


class Pass(NamedTuple):
    """What one model consumed inside one reply.

    A reply has one pass, except where a provider runs other models inside it
    (Anthropic `usage.iterations`): then one a model.
    """

    model: str | None
    """The model as the provider names it; None: the reply names none."""
    usage: Usage


class Reading(NamedTuple):
    """What a meter read of one reply, body or stream."""

    passes: tuple[Pass, ...]
    """Empty when the reply stated no usage: the caller estimates and flags."""
    model_answered: str | None
    response_id: str | None
    service_tier: str | None
    raw: tuple[bytes, ...]
    """The usage block or blocks as the provider wrote them (JSON), last wins."""
    stated_cost_nano_usd: int | None
    """The cost that the provider itself stated, if it did."""
    output_bytes: int
    """UTF-8 bytes of generated text seen, for an estimate."""
    complete: bool
    """Whether the reply reached its dialect's own end."""
    item_ids: tuple[str, ...] = ()
    """Of what the reply consists of, where its dialect names the parts."""


def total(usage: Usage, classes: tuple[str, ...]) -> int:
    """Sums the classes named."""
    return sum(usage.get(name, 0) for name in classes)


def merge(passes: tuple[Pass, ...]) -> Usage:
    """Sums the usage of all passes, class by class."""
    merged: Usage = {}
    for one in passes:
        for name, count in one.usage.items():
            merged[name] = merged.get(name, 0) + count
    return merged
