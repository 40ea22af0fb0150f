"""What models are known to generate at the most, where nothing is declared.

A ceiling that is put into a request must not be more than the model takes: the
provider would refuse the request. So a figure stands here only where at least two
sources give it, and the smaller one where they differ; a model that is not listed
gets `bound.OUTPUT_TOKENS_UNKNOWN`, which is known to be taken by all.

Sources, read 2026-11-21: models.dev 1.0.398, its listings of openai, azure,
openrouter, anthropic, amazon-bedrock, google and google-vertex against each other;
OpenAI's own refusals ("supports at most 16384 completion tokens" for gpt-4o, 4096
for gpt-4-turbo and gpt-3.5-turbo); Anthropic's table of models. Google's own two
services differ by one token (65,535 on Vertex, 65,536 on the Gemini API).
"""

from __future__ import annotations

import re
from typing import Final

KNOWN_MAXIMA: Final = {
    "chatgpt-4o": 16_384,
    "codex-mini": 100_000,
    "gpt-3.5-turbo": 4096,
    "gpt-4-turbo": 4096,
    "gpt-4.1": 32_768,
    "gpt-4.5": 16_384,
    "gpt-4o": 16_384,
    "gpt-4o-2024-05-13": 4096,
    "gpt-5": 128_000,
    "gpt-5-chat": 16_384,
    "gpt-5.1-chat": 16_384,
    "gpt-5.2-chat": 16_384,
    "gpt-5.3-chat": 16_384,
    "gpt-5.3-codex-spark": 32_000,
    "o1": 100_000,
    "o1-mini": 65_536,
    "o1-preview": 32_768,
    "o3": 100_000,
    "o4-mini": 100_000,
    "claude-3-haiku": 4096,
    "claude-3-sonnet": 4096,
    "claude-3-opus": 4096,
    "claude-3-5-haiku": 8192,
    "claude-3-5-sonnet": 8192,
    "claude-3-7-sonnet": 64_000,
    "claude-haiku-4-5": 64_000,
    "claude-sonnet-4": 64_000,
    "claude-opus-4": 32_000,
    "claude-opus-4-5": 64_000,
    "claude-opus-4-6": 128_000,
    "claude-opus-4-7": 128_000,
    "gemini-1.5": 8192,
    "gemini-2.0": 8192,
    "gemini-2.5": 65_535,
    "gemini-2.5-flash-image": 32_768,
    "gemini-2.5-flash-preview-tts": 16_384,
    "gemini-2.5-pro-preview-tts": 16_384,
    "gemini-3": 65_535,
    "gemini-3-pro-image": 32_768,
    "gemini-3.1-flash-image": 32_768,
    "gemini-flash-latest": 65_535,
    "gemini-flash-lite-latest": 65_535,
}
"""Beginning of the provider's own name, up to a word's end, to tokens."""

_BEFORE: Final = re.compile(r"(?:.*/)?(?:ft:)?(?:[a-z-]*\.?anthropic\.)?")
"""What resellers, Bedrock and fine-tunings write before a model's name."""
_DOTTED_CLAUDE: Final = re.compile(r"(claude-[a-z0-9-]*\d)\.(\d)")
"""How OpenRouter writes `claude-opus-4-5`."""
_WORD_ENDS: Final = frozenset("-.@:_")


def known_max_output(upstream: str) -> int | None:
    """The most tokens that a model generates for one choice; None: not known.

    Args:
        upstream: the provider's name of the model; the longest entry that it
            begins with counts.
    """
    name = upstream.lower()
    before = _BEFORE.match(name)
    if before is not None:
        name = name[before.end() :]
    name = _DOTTED_CLAUDE.sub(r"\1-\2", name)
    for length in range(len(name), 0, -1):
        if length == len(name) or name[length] in _WORD_ENDS:
            found = KNOWN_MAXIMA.get(name[:length])
            if found is not None:
                return found
    return None
