from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.errors import BadRequestError
from comptroller.testing.routes import (
    CHAT,
    EMBEDDINGS,
    GEMINI,
    MESSAGES,
    RESPONSES,
    route_of,
)
from comptroller.wire.preparing import prepare
from comptroller.wire.request import RequestFacts, read_facts
from comptroller.wire.routes import Route

COUNT = route_of("/v1/messages/count_tokens")
GEMINI_STREAM = route_of("/v1beta/models/gemini-2.5-pro:streamGenerateContent")


def facts_of(route: Route, **body: object) -> RequestFacts:
    return read_facts(route, json.dumps(body).encode())


def refused(route: Route, body: bytes) -> str:
    with pytest.raises(BadRequestError) as caught:
        read_facts(route, body)
    assert caught.value.code == "bad_request"
    return caught.value.message


def test_chat_facts() -> None:
    """A chat request's model, stream, ceiling, choices and tier are read."""
    facts = facts_of(
        CHAT,
        model="gpt-5",
        messages=[{"role": "user", "content": "hi", "model": "nested"}],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=10,
        max_completion_tokens=20,
        n=3,
        service_tier="flex",
    )
    assert facts == RequestFacts(
        model="gpt-5",
        stream=True,
        max_output_tokens=20,
        choices=3,
        include_usage=True,
        service_tier="flex",
        stream_options=b'{"include_usage": true}',
        ceiling_fields=("max_completion_tokens", "max_tokens"),
    )


def test_nulls_are_as_good_as_absent() -> None:
    """SDKs write null for what is not set; that sets nothing."""
    facts = facts_of(
        CHAT, model="m", stream=None, n=None, max_tokens=None, stream_options=None
    )
    assert facts == RequestFacts(
        "m", stream=False, stream_options=b"null", ceiling_fields=("max_tokens",)
    )


def test_responses_facts() -> None:
    """Responses: ceiling, background work, and a prompt that lies elsewhere."""
    facts = facts_of(
        RESPONSES,
        model="gpt-5",
        input="x",
        max_output_tokens=7,
        background=True,
        previous_response_id="resp_1",
    )
    assert facts.max_output_tokens == 7
    assert facts.is_background
    assert not facts_of(
        RESPONSES, model="m", background=True, stream=True
    ).is_background
    assert facts.has_context_elsewhere
    assert not facts_of(RESPONSES, model="m", conversation=None).has_context_elsewhere


def test_embeddings_facts() -> None:
    """Embeddings have a model and nothing else that decides."""
    assert facts_of(EMBEDDINGS, model="e", input=["a"], n="odd") == RequestFacts(
        "e", stream=False
    )


def test_messages_facts() -> None:
    """Messages: ceiling, tier, and the session that Claude Code asserts."""
    facts = facts_of(
        MESSAGES,
        model="claude-sonnet-5",
        max_tokens=64,
        stream=True,
        service_tier="auto",
        metadata={"user_id": "user_ab_account__session_0f1e-2d"},
    )
    assert facts == RequestFacts(
        "claude-sonnet-5",
        stream=True,
        max_output_tokens=64,
        session="0f1e-2d",
        service_tier="auto",
        ceiling_fields=("max_tokens",),
    )
    assert facts_of(COUNT, model="claude-sonnet-5").model == "claude-sonnet-5"


@pytest.mark.parametrize(
    "metadata",
    [None, {}, "x", {"user_id": 1}, {"user_id": "ada"}, {"user_id": "_session_\n"}],
)
def test_a_session_that_is_none_is_none(metadata: object) -> None:
    """A session is taken only where it stands, and is short and printable."""
    assert facts_of(MESSAGES, model="m", metadata=metadata).session is None


@pytest.mark.parametrize(
    "config",
    [
        {"maxOutputTokens": 9, "candidateCount": 2},
        {"max_output_tokens": 9, "candidate_count": 2},
    ],
)
@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_gemini_facts_in_both_spellings(name: str, config: dict[str, int]) -> None:
    """Gemini's API takes camel case and snake case, and so do we."""
    facts = facts_of(GEMINI, contents=[], **{name: config}, cachedContent="c/1")
    assert facts == RequestFacts(
        "gemini-2.5-pro",
        stream=False,
        max_output_tokens=9,
        choices=2,
        has_context_elsewhere=True,
    )


def test_gemini_streams_by_its_path() -> None:
    """The path decides whether Gemini streams, not the body."""
    assert facts_of(GEMINI_STREAM, contents=[]).stream
    assert not facts_of(GEMINI, contents=[], stream=True).stream
    assert facts_of(GEMINI, model="models/gemini-2.5-pro").model == "gemini-2.5-pro"
    assert "another model" in refused(GEMINI, b'{"model":"models/gemini-9"}')


def test_other_models_are_named() -> None:
    """Fallback lists, advisor tools and provider tools name more models."""
    facts = facts_of(
        MESSAGES,
        model="claude-sonnet-5",
        tools=[
            {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
            {"name": "get", "input_schema": {"properties": {"model": {}}}},
            {"type": "function", "parameters": {"model": "a schema's own key"}},
            {"type": "router:ask", "parameters": {"model": "claude-opus-5"}},
            {"type": "x", "parameters": "odd"},
        ],
        fallbacks=["claude-haiku-5", {"model": "claude-old"}],
    )
    assert facts.other_models == ("claude-haiku-5", "claude-old", "claude-opus-5")
    assert facts_of(CHAT, model="a", models=["b", "c"]).other_models == ("b", "c")
    assert facts_of(CHAT, model="a", tools=None).other_models == ()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"messages":[]}', "'model' is missing"),
        (b'{"model":""}', "'model' is missing"),
        (b'{"model":null}', "'model' is missing"),
        (b'{"model":7}', "'model' must be a string"),
        (b'{"model":["m"]}', "'model' must be a string"),
        (b'{"model":"a\\nb"}', "not the name of a model"),
        (b'{"model":"' + b"m" * 300 + b'"}', "not the name of a model"),
        (b'{"model":"m","stream":"true"}', "'stream' must be true or false"),
        (b'{"model":"m","stream":1}', "'stream' must be true or false"),
        (b'{"model":"m","max_tokens":"9"}', "'max_tokens' must be a whole number"),
        (b'{"model":"m","max_tokens":-1}', "'max_tokens' must be a whole number"),
        (b'{"model":"m","max_tokens":1.5}', "'max_tokens' must be a whole number"),
        (b'{"model":"m","max_tokens":true}', "'max_tokens' must be a whole number"),
        (b'{"model":"m","n":99999999999999999999}', "'n' must be a whole number"),
        (b'{"model":"m","service_tier":1}', "'service_tier' must be a string"),
        (b'{"model":"m","stream":true,"stream_options":[]}', "'stream_options'"),
        (b'{"model":"m","tools":{}}', "'tools' must be a list"),
        (b'{"model":"m","models":"x"}', "'models' must be a list"),
        (b'{"model":"a","model":"b"}', "'model' is given more than once"),
        (b'{"model":"a","\\u006dodel":"b"}', "'model' is given more than once"),
        (b'{"stream":false,"model":"a","stream":true}', "'stream' is given more"),
        (b'{"model":"a","max_tokens":1,"max_tokens":9}', "'max_tokens' is given more"),
        (
            b'{"stream":true,"stream_options":{"x":1,"x":0},"model":"a"}',
            "'x' is given more",
        ),
        (b'{"model":"a","Model":"b"}', "too much like 'model'"),
        (b'{"model":"a","MAX_TOKENS":9}', "too much like 'max_tokens'"),
        (b'{"model":"a","Plugins":[]}', "too much like 'plugins'"),
        (b'{"model":"a","messages":[],"Messages":[]}', "too much like 'messages'"),
        ('{"model":"a","\u017ftream":true}'.encode(), "too much like 'stream'"),
        (b'{"model":"a"', "not valid JSON"),
        (b'[{"model":"a"}]', "must be a JSON object"),
    ],
)
def test_ambiguous_chat_requests_are_refused(body: bytes, field: str) -> None:
    """What a provider's parser may read otherwise is refused, by name."""
    assert field in refused(CHAT, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"generationConfig":{},"generation_config":{}}',
        b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
        b'{"generationConfig":{"candidateCount":1,"candidate_count":9}}',
    ],
)
def test_gemini_ceilings_given_twice_are_refused(body: bytes) -> None:
    """Both spellings at once are the same field given twice."""
    assert "more than once" in refused(GEMINI, body)


def test_whole_floats_are_whole() -> None:
    """Clients that know only floats write 5.0 for five."""
    assert read_facts(CHAT, b'{"model":"m","max_tokens":5.0}').max_output_tokens == 5


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes make reading fail in any other way than by refusing."""
    for route in (CHAT, RESPONSES, MESSAGES, GEMINI):
        try:
            read_facts(route, body)
        except BadRequestError as error:
            assert error.message  # noqa: PT017  both outcomes are fine


def test_nothing_to_change_changes_nothing() -> None:
    """Without an alias or a stream, the very same bytes go upstream."""
    for route in (CHAT, RESPONSES, MESSAGES, EMBEDDINGS):
        body = b'{ "model" : "m", "stream":false }'
        sent, is_injected = prepare(route, read_facts(route, body), body, "m")
        assert sent is body
        assert not is_injected


def prepared(body: dict[str, Any], upstream: str = "m") -> tuple[dict[str, Any], bool]:
    written = json.dumps(body).encode()
    sent, is_injected = prepare(CHAT, read_facts(CHAT, written), written, upstream)
    return json.loads(sent), is_injected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        (
            {"stream_options": {"include_obfuscation": False}},
            {"include_usage": True, "include_obfuscation": False},
        ),
    ],
)
def test_usage_is_asked_for_on_the_clients_behalf(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A chat stream that did not ask for its usage is made to state it."""
    body = {"model": "m", "stream": True, "messages": []}
    sent, is_injected = prepared({**body, **options})
    assert is_injected
    assert sent == {**body, "stream_options": expected}


def test_a_client_that_asked_is_left_alone() -> None:
    """Usage that the client asked for itself is not ours to take out."""
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    assert prepared(body) == (body, False)


def test_other_dialects_streams_are_left_alone() -> None:
    """Only chat streams hide their usage; the others are not touched."""
    body = b'{"model":"m","stream":true}'
    for route in (RESPONSES, MESSAGES):
        assert prepare(route, read_facts(route, body), body, "m") == (body, False)


def test_an_alias_is_replaced_in_place() -> None:
    """The upstream's name takes the alias's place, and no other byte changes."""
    body = b'{"messages":[{"model":"house"}], "\\u006dodel" : "house" ,"x":1}'
    sent, _ = prepare(CHAT, read_facts(CHAT, body), body, 'a"b')
    assert sent == body.replace(b': "house" ', b': "a\\"b" ')


def test_gemini_bodies_are_never_touched() -> None:
    """Gemini's model stands in the path, so an alias leaves the body alone."""
    body = b'{"contents":[]}'
    assert prepare(GEMINI, read_facts(GEMINI, body), body, "other") == (body, False)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (CHAT, b'{"model":"m","n":1025}'),
        (CHAT, b'{"model":"m","n":9007199254740991}'),
        (GEMINI, b'{"generationConfig":{"candidateCount":1025}}'),
    ],
)
def test_absurdly_many_choices_are_refused(route: Route, body: bytes) -> None:
    """What multiplies a hold is bounded."""
    assert "at most 1024" in refused(route, body)
