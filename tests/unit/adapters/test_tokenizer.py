from __future__ import annotations

import subprocess
import sys
import time

import pytest

from comptroller.adapters.tokenizer import OpenAITokenizers
from comptroller.adapters.tokenizer.openai import ENCODINGS


def count_of(encoding: str, text: str) -> int:
    tokenizers = OpenAITokenizers()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        count = tokenizers.counter(encoding)
        if count is not None:
            return count(text)
        time.sleep(0.005)
    raise AssertionError("it was never loaded")


@pytest.mark.parametrize(
    ("encoding", "text", "tokens"),
    [
        # What OpenAI's own implementation, tiktoken 0.14.0, gives.
        ("o200k_base", "hello world", 2),
        ("o200k_base", "antidisestablishmentarianism", 6),
        ("o200k_base", "お誕生日おめでとう", 8),
        ("o200k_base", "<|endoftext|>", 7),
        ("cl100k_base", "tiktoken is great!", 6),
        ("cl100k_base", "antidisestablishmentarianism", 6),
        ("cl100k_base", "お誕生日おめでとう", 9),
        ("cl100k_base", "2 + 2 = 4", 7),
    ],
)
def test_counts_are_those_of_openai(encoding: str, text: str, tokens: int) -> None:
    """Exact, special tokens in a prompt being plain text."""
    assert count_of(encoding, text) == tokens


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_text_takes_long(encoding: str) -> None:
    """Half a megabyte without a break is counted within a fraction of a second."""
    for text in ("a" * 500_000, " " * 500_000, "ab" * 250_000):
        begun = time.monotonic()
        assert 0 < count_of(encoding, text) < 500_000
        assert time.monotonic() - begun < 5


def test_a_worker_that_never_asks_loads_nothing() -> None:
    """Importing the adapter loads neither the tokenizer nor its package."""
    code = (
        "import sys; import comptroller.adapters.tokenizer as t;"
        "t.OpenAITokenizers().counter('p50k_base');"
        "print([m for m in sys.modules if m.startswith('bpe_openai')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
