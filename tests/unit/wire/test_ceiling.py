from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.testing.routes import CHAT, EMBEDDINGS, GEMINI, MESSAGES, RESPONSES
from comptroller.wire.ceiling import (
    OutputCeiling,
    ceiling_field,
    least_output,
    put_ceiling,
)
from comptroller.wire.preparing import prepare
from comptroller.wire.request import read_facts
from comptroller.wire.routes import Route

NEW = OutputCeiling(100, "max_completion_tokens")
OLD = OutputCeiling(100, "max_tokens")


def put(route: Route, body: bytes, ceiling: OutputCeiling = NEW) -> bytes:
    return put_ceiling(route, read_facts(route, body), body, ceiling)


@pytest.mark.parametrize(
    ("route", "body", "expected"),
    [
        (CHAT, b'{"model":"m"}', b'{"max_completion_tokens":100,"model":"m"}'),
        (RESPONSES, b'{ "model":"m"}', b'{"max_output_tokens":100, "model":"m"}'),
        (MESSAGES, b'{"model":"m"}', b'{"max_tokens":100,"model":"m"}'),
        (
            CHAT,
            b'{"model":"m","max_tokens":null}',
            b'{"max_completion_tokens":100,"model":"m","max_tokens":null}',
        ),
        (
            CHAT,
            b'{"model":"m","max_completion_tokens" : null }',
            b'{"model":"m","max_completion_tokens" : 100 }',
        ),
        (
            CHAT,
            b'{"model":"m", "max_\\u0074okens":101, "x":1e0}',
            b'{"model":"m", "max_\\u0074okens":100, "x":1e0}',
        ),
        (
            CHAT,
            b'{"model":"m","max_tokens":500,"max_completion_tokens":50}',
            b'{"model":"m","max_tokens":100,"max_completion_tokens":50}',
        ),
        (CHAT, b'{"model":"m","max_tokens":0}', b'{"model":"m","max_tokens":100}'),
        (GEMINI, b"{}", b'{"generationConfig":{"maxOutputTokens":100}}'),
        (
            GEMINI,
            b'{"contents":[]}',
            b'{"generationConfig":{"maxOutputTokens":100},"contents":[]}',
        ),
        (
            GEMINI,
            b'{"generationConfig": {"topK":1}, "x":2}',
            b'{"generationConfig": {"maxOutputTokens":100,"topK":1}, "x":2}',
        ),
        (
            GEMINI,
            b'{"generation_config":{"max_output_tokens":5000,"top_k":1}}',
            b'{"generation_config":{"max_output_tokens":100,"top_k":1}}',
        ),
        (
            GEMINI,
            b'{"generationConfig":null}',
            b'{"generationConfig":{"maxOutputTokens":100}}',
        ),
        (
            GEMINI,
            b'{"generationConfig":{"maxOutputTokens":null}}',
            b'{"generationConfig":{"maxOutputTokens":100}}',
        ),
    ],
)
def test_a_ceiling_is_put_where_the_dialect_has_it(
    route: Route, body: bytes, expected: bytes
) -> None:
    """Under its own name, in place where there is one; no other byte changes."""
    assert put(route, body) == expected


def test_servers_that_know_one_name_get_that_one() -> None:
    """Other providers of OpenAI's dialect get `max_tokens`."""
    assert put(CHAT, b'{"model":"m"}', OLD) == b'{"max_tokens":100,"model":"m"}'


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (CHAT, b'{"model":"m","max_tokens":100}'),
        (CHAT, b'{"model":"m","max_completion_tokens":7.0}'),
        (RESPONSES, b'{"model":"m","max_output_tokens":20}'),
        (MESSAGES, b'{"model":"m","max_tokens":0}'),
        (GEMINI, b'{"generationConfig":{"maxOutputTokens":99}}'),
        (EMBEDDINGS, b'{"model":"m"}'),
    ],
)
def test_a_lower_ceiling_is_left_alone(route: Route, body: bytes) -> None:
    """What asks for no more, or generates nothing, is passed on as it is."""
    assert put(route, body) is body


@given(
    st.sampled_from([CHAT, RESPONSES, MESSAGES, GEMINI]),
    st.one_of(st.none(), st.integers(0, 400)),
    st.integers(1, 300),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
)
def test_what_is_sent_never_asks_for_more(
    route: Route, own: int | None, tokens: int, other: dict[str, int]
) -> None:
    """Whatever a body says, the one that is sent states at most the ceiling."""
    body: dict[str, object] = {f"x{name}": value for name, value in other.items()}
    if route is GEMINI:
        body["generationConfig"] = {"maxOutputTokens": own}
    else:
        field = "max_output_tokens" if route is RESPONSES else "max_tokens"
        body |= {"model": "m", field: own}
    written = json.dumps(body).encode()

    sent = put(route, written, OutputCeiling(tokens, "max_tokens"))

    stated = read_facts(route, sent).max_output_tokens
    assert stated is not None
    assert stated <= tokens
    if own is not None and 0 < own <= tokens:
        assert sent is written


def test_preparing_puts_a_ceiling_beside_all_else() -> None:
    """An alias, a ceiling and the usage are put into one body."""
    body = b'{"model":"alias","stream":true}'
    sent, is_injected = prepare(CHAT, read_facts(CHAT, body), body, "m", NEW)
    assert is_injected
    assert json.loads(sent) == {
        "model": "m",
        "stream": True,
        "max_completion_tokens": 100,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("host", "prices", "upstream", "field"),
    [
        ("api.openai.com", None, "gpt-4o", "max_completion_tokens"),
        ("eu.api.openai.com", None, "gpt-4o", "max_completion_tokens"),
        ("acme.openai.azure.com", "azure", "our-deployment", "max_completion_tokens"),
        ("proxy.acme.example", "openai", "gpt-4o", "max_completion_tokens"),
        ("openrouter.ai", None, "openai/gpt-5-mini", "max_completion_tokens"),
        ("proxy.acme.example", None, "o4-mini", "max_completion_tokens"),
        ("api.mistral.ai", None, "mistral-large-latest", "max_tokens"),
        ("notapi.openai.com.evil.example", None, "gpt-4o", "max_tokens"),
        ("acme.services.ai.azure.com", "azure", "grok-4", "max_tokens"),
        ("127.0.0.1", None, "llama-3", "max_tokens"),
    ],
)
def test_a_providers_own_name_of_the_ceiling(
    host: str, prices: str | None, upstream: str, field: str
) -> None:
    """OpenAI's models take the new name; who speaks like them, the old one."""
    assert ceiling_field(host, prices, upstream) == field


def test_a_provider_takes_no_ceiling_below_its_least() -> None:
    """Lowering further would only make the provider refuse the request."""
    thinking = b'{"model":"m","thinking":{"type":"enabled","budget_tokens":2048}}'
    assert least_output(MESSAGES, thinking) == 2049
    assert least_output(MESSAGES, b'{"thinking":{"budget_tokens":"x"}}') == 1
    assert least_output(RESPONSES, b"{}") == 16
    assert least_output(CHAT, b"{}") == 1
