from __future__ import annotations

import json

import pytest

from comptroller.testing.routes import CHAT, EMBEDDINGS, MESSAGES, RESPONSES
from comptroller.wire.counting import (
    BODY_BYTES_MAX,
    MESSAGE_TOKENS,
    PROMPT_TOKENS,
    TOOLS_TOKENS,
    count_bound,
    encoding_of,
)
from comptroller.wire.routes import Route


def words(text: str) -> int:
    return len(text.split())


def counted(route: Route, body: dict[str, object], images: int = 0) -> int | None:
    data = json.dumps(body, separators=(",", ":")).encode()
    return count_bound(route, data, len(data) + images, words)


HI = {"role": "user", "content": "one two three"}


@pytest.mark.parametrize(
    ("route", "body", "tokens"),
    [
        (CHAT, {"model": "m", "messages": [HI, HI]}, 2 * (MESSAGE_TOKENS + 3)),
        (CHAT, {"messages": [HI], "max_tokens": 9, "seed": 1}, MESSAGE_TOKENS + 3),
        (
            CHAT,
            {"messages": [{**HI, "name": "ada"}]},
            MESSAGE_TOKENS + 3 + len('"ada"'),
        ),
        (
            CHAT,
            {"messages": [{"content": [{"type": "text", "text": "a b"}]}]},
            MESSAGE_TOKENS + 2 + 1,
        ),
        (
            CHAT,
            {"messages": [{"content": [{"type": "x", "y": [1]}]}]},
            MESSAGE_TOKENS + len("[1]"),
        ),
        (CHAT, {"messages": [], "what": "a b c"}, len('"a b c"')),
        (CHAT, {"messages": [], "tools": [1, 2]}, TOOLS_TOKENS + 1),
        (RESPONSES, {"input": "a b", "instructions": "c"}, 2 * MESSAGE_TOKENS + 3),
        (
            RESPONSES,
            {"input": [{"type": "function_call_output", "output": "a b"}]},
            MESSAGE_TOKENS + 2,
        ),
    ],
)
def test_texts_are_counted_and_the_rest_weighed(
    route: Route, body: dict[str, object], tokens: int
) -> None:
    """Text by its tokens, what is not understood by its bytes, the rest not at all."""
    assert counted(route, body) == PROMPT_TOKENS + tokens


def test_embeddings_are_counted_without_any_frame() -> None:
    """They are shown the text and nothing else."""
    assert counted(EMBEDDINGS, {"model": "m", "input": "a b c"}) == 3 + 1
    assert counted(EMBEDDINGS, {"input": ["a b", "c"]}) == 3 + 2


def test_images_count_as_in_the_bound_by_bytes() -> None:
    """What they are billed at above their bytes is added."""
    body: dict[str, object] = {"messages": [HI]}
    plain = counted(CHAT, body)
    assert plain is not None
    assert counted(CHAT, body, images=900) == plain + 900


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (MESSAGES, {"messages": [HI]}),
        (CHAT, {"messages": ["x"]}),
        (CHAT, {"messages": "x"}),
        (RESPONSES, {"input": [1]}),
        (EMBEDDINGS, {"input": [[1, 2]]}),
        (EMBEDDINGS, {}),
        (CHAT, {"messages": [{"content": "x" * BODY_BYTES_MAX}]}),
    ],
)
def test_what_is_not_understood_is_not_counted(
    route: Route, body: dict[str, object]
) -> None:
    """Other dialects, other forms and very long bodies keep their bytes."""
    assert counted(route, body) is None


def test_a_lone_surrogate_is_not_counted() -> None:
    """Text that no tokenizer takes keeps its bytes."""
    body = b'{"messages":[{"content":"\\ud800"}]}'
    assert count_bound(CHAT, body, len(body), lambda text: len(text.encode())) is None


@pytest.mark.parametrize(
    ("host", "upstream", "encoding"),
    [
        ("api.openai.com", "gpt-4o-mini", "o200k_base"),
        ("api.openai.com", "gpt-5.4-2026-03-05", "o200k_base"),
        ("api.openai.com", "ft:gpt-4.1-nano:acme::x", "o200k_base"),
        ("eu.api.openai.com", "o3-mini", "o200k_base"),
        ("api.openai.com", "chatgpt-4o-latest", "o200k_base"),
        ("acme.openai.azure.com", "gpt-35-turbo", "cl100k_base"),
        ("api.openai.com", "gpt-4-turbo", "cl100k_base"),
        ("api.openai.com", "text-embedding-3-small", "cl100k_base"),
        ("proxy.acme.example", "gpt-4o", None),
        ("api.openai.com.evil.example", "gpt-4o", None),
        ("api.openai.com", "davinci-002", None),
        ("api.openai.com", "gpt-4omni", None),
        ("acme.services.ai.azure.com", "grok-4", None),
    ],
)
def test_only_models_with_a_proven_tokenizer_have_one(
    host: str, upstream: str, encoding: str | None
) -> None:
    """A name alone proves nothing where another provider serves it."""
    assert encoding_of(host, upstream) == encoding
