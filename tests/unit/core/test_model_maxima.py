from __future__ import annotations

import pytest

from comptroller.core.model_maxima import KNOWN_MAXIMA, known_max_output


@pytest.mark.parametrize(
    ("upstream", "tokens"),
    [
        ("gpt-4o", 16_384),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("gpt-4o-2024-05-13", 4096),
        ("openai/gpt-4.1-nano", 32_768),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", 16_384),
        ("gpt-5.4-mini", 128_000),
        ("gpt-5-chat-latest", 16_384),
        ("o3-mini", 100_000),
        ("o1-mini", 65_536),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", 64_000),
        ("anthropic/claude-opus-4.6", 128_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-3-5-haiku@20241022", 8192),
        ("models/gemini-2.5-flash-lite", 65_535),
        ("gemini-2.5-flash-image", 32_768),
        ("gemini-3.1-pro-preview", 65_535),
        ("gpt-4", None),
        ("gpt-4omni", None),
        ("o1000", None),
        ("llama-3.3-70b-versatile", None),
        ("", None),
    ],
)
def test_the_longest_known_beginning_counts(upstream: str, tokens: int | None) -> None:
    """Dated, resold and tuned names lead to their model; look-alikes do not."""
    assert known_max_output(upstream) == tokens


def test_every_entry_is_reached_by_its_own_name() -> None:
    """No entry is shadowed by how names are cut."""
    for name, tokens in KNOWN_MAXIMA.items():
        assert known_max_output(name) == tokens
