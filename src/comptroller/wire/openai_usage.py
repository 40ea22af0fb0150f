"""The usage block of every OpenAI-shaped reply, and its dialects' quirks.

OpenAI counts inclusively: prompt tokens include cached, written and audio
tokens, completion tokens include reasoning. Some providers that speak this
dialect count otherwise; the block's own total tells which.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from comptroller.core.usage import Usage
from comptroller.wire.counts import count, first_count, inner, nano_usd

_TICKS_PER_NANO_USD: Final = 10
_PLAIN_FIELDS: Final = 3
"""A block of nothing but prompt, generated and total tokens: nothing to split."""


def read_usage(block: dict[str, Any]) -> Usage | None:
    """Reads a usage block into disjoint classes; None: it states no tokens.

    Args:
        block: `usage` of chat completions, responses or embeddings.
    """
    asked = block.get("prompt_tokens", block.get("input_tokens"))
    made = block.get("completion_tokens", block.get("output_tokens"))
    stated = count(block.get("total_tokens"))
    if asked is None and made is None and not stated:
        return None
    generated = count(made)
    # Voyage states the total alone.
    prompt = count(asked) if asked is not None else max(stated - generated, 0)
    usage: Usage = {}
    is_plain = len(block) == _PLAIN_FIELDS and asked is not None and made is not None
    if is_plain and prompt and generated and stated == prompt + generated:
        return {"input": prompt, "output": generated}
    prompt = _read_prompt(usage, block, prompt, stated - generated)
    details = inner(block, "completion_tokens_details", "output_tokens_details")
    # Reasoning outside the completion (xAI), or tokens that only the total shows
    # (Google's hidden thinking): both are billed as generated.
    generated = max(generated, stated - prompt)
    left = _part(usage, "reasoning", details.get("reasoning_tokens"), generated)
    left = _part(usage, "output_audio", details.get("audio_tokens"), left)
    left = _part(usage, "output_image", details.get("image_tokens"), left)
    if left:
        usage["output"] = left
    return usage


def stated_cost(block: dict[str, Any]) -> int | None:
    """The cost in nano-USD that the provider states in its usage block.

    None where it states none, or zero: Azure writes 0 for models that it bills
    elsewhere, so only a rate card may say that something is free.

    OpenRouter: `cost`, in USD, to which comes the upstream's own bill where the
    caller brought that key. Perplexity: `cost.total_cost`. xAI: ticks of
    10⁻¹⁰ USD.
    """
    ticks = block.get("cost_in_usd_ticks")
    if ticks is not None:
        return (count(ticks) + _TICKS_PER_NANO_USD // 2) // _TICKS_PER_NANO_USD or None
    cost = block.get("cost")
    if isinstance(cost, dict):
        is_usd = cost.get("currency", "USD") == "USD"
        return (nano_usd(cost.get("total_cost")) or None) if is_usd else None
    if block.get("is_byok") is True:
        upstream = inner(block, "cost_details").get("upstream_inference_cost")
        if not isinstance(upstream, int | Decimal) or not isinstance(
            cost, int | Decimal
        ):
            return None
        # Each by itself first: the sum of two absurd decimals is an error.
        if nano_usd(cost) is None or nano_usd(upstream) is None:
            return None
        cost = Decimal(cost) + Decimal(upstream)
    return nano_usd(cost) or None


def _read_prompt(usage: Usage, block: dict[str, Any], prompt: int, stated: int) -> int:
    """Splits the prompt's side; returns all of its tokens.

    Args:
        usage: filled in.
        block: the usage block.
        prompt: as the block states it.
        stated: what its total leaves for the prompt.
    """
    details = inner(
        block, "prompt_tokens_details", "input_tokens_details", "prompt_token_details"
    )
    cached = first_count(
        details.get("cached_tokens"),
        block.get("cached_tokens"),
        block.get("prompt_cache_hit_tokens"),
    )
    audio = first_count(details.get("audio_tokens"), block.get("audio_prompt_tokens"))
    if cached > prompt:
        prompt += cached  # Azure's Grok counts cached tokens beside the prompt.
    elif audio and stated - prompt == audio:
        prompt += audio  # Mistral counts audio beside the prompt.
    left = _part(usage, "cache_read", cached, prompt)
    left = _read_written(usage, details, left)
    left = _part(usage, "input_audio", audio, left)
    left = _part(usage, "input_image", details.get("image_tokens"), left)
    if left:
        usage["input"] = left
    return prompt


def _read_written(usage: Usage, details: dict[str, Any], left: int) -> int:
    """Tokens written to the cache; those without a lifetime are OpenAI's 30 m."""
    written = min(count(details.get("cache_write_tokens")), left)
    if not written:
        return left
    lifetimes = inner(details, "cache_write_tokens_details")
    long = min(first_count(lifetimes.get("ttl_12h")), written)
    if long:
        usage["cache_write_12h"] = long
    if written > long:
        usage["cache_write_30m"] = written - long
    return left - written


def _part(usage: Usage, name: str, value: object, left: int) -> int:
    """Takes one class out of what is left; returns what then is left."""
    tokens = min(count(value), left)
    if tokens:
        usage[name] = tokens
    return left - tokens
