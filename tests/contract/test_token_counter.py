"""Every TokenCounter: loads when asked, counts the same, never more than bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.adapters.tokenizer import OpenAITokenizers
from comptroller.engine.ports import TokenCounter
from comptroller.testing.counter import WordCounter

ENCODING = "o200k_base"


def loaded(port: TokenCounter) -> Callable[[str], int]:
    """What a caller gets in the end that asks again and again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        count = port.counter(ENCODING)
        if count is not None:
            return count
        time.sleep(0.005)
    raise AssertionError("it was never loaded")


COUNTS = {
    "real": loaded(OpenAITokenizers()),
    "fake": loaded(WordCounter(ENCODING)),
}


@pytest.fixture(params=["real", "fake"])
def port(request: pytest.FixtureRequest) -> TokenCounter:
    return OpenAITokenizers() if request.param == "real" else WordCounter(ENCODING)


def test_what_is_not_known_is_never_counted(port: TokenCounter) -> None:
    """An unknown tokenizer has no counter, however often it is asked for."""
    assert port.counter("p50k_base") is None
    assert port.counter("p50k_base") is None


def test_the_first_ask_does_not_wait_for_the_loading(port: TokenCounter) -> None:
    """It begins to load, and a later ask gets it."""
    assert port.counter(ENCODING) is None
    assert loaded(port)("hello") == 1


@pytest.mark.parametrize("kind", COUNTS)
@given(text=st.text(max_size=200))
def test_a_token_is_at_least_a_byte(kind: str, text: str) -> None:
    """So that the bytes are always an upper bound; and nothing has no token."""
    count = COUNTS[kind]
    assert count(text) <= len(text.encode())
    assert bool(count(text)) is bool(text)
    assert count(text) == count(text)
