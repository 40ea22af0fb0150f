"""The simulated provider as the official clients see it."""

from __future__ import annotations

import base64
import json
import struct
import urllib.request
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import openai
import pytest
from anthropic.types import CacheControlEphemeralParam
from google import genai
from google.genai import types

from comptroller.testing.provider import running_provider

KEY = "provider-key"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with running_provider("--key", KEY) as running:
        yield running


@pytest.fixture(scope="module")
def openai_client(origin: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{origin}/v1", api_key=KEY, max_retries=0, timeout=10
    ) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(origin: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=origin, api_key=KEY, max_retries=0, timeout=10
    ) as client:
        yield client


@pytest.fixture(scope="module")
def gemini_client(origin: str) -> Iterator[genai.Client]:
    client = genai.Client(
        api_key=KEY, http_options=types.HttpOptions(base_url=origin, timeout=10_000)
    )
    yield client
    client.close()


def stats(origin: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{origin}/__stats") as reply:  # noqa: S310  loopback
        found: dict[str, Any] = json.load(reply)
    return found


def bill(origin: str, model: str) -> dict[str, int]:
    found: dict[str, int] = stats(origin)["bill"].get(model, {})
    return found


def test_openai_chat_bills_what_its_reply_states(
    origin: str, openai_client: openai.OpenAI
) -> None:
    """A chat completion's usage is what the provider's books hold."""
    reply = openai_client.chat.completions.create(
        model="chat-a", messages=[{"role": "user", "content": "Hello " * 50}]
    )

    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert bill(origin, "chat-a") == {
        "requests": 1,
        "input": reply.usage.prompt_tokens,
        "output": reply.usage.completion_tokens,
    }


@pytest.mark.parametrize("wanted", [True, False])
def test_openai_chat_stream_states_usage_only_when_asked(
    wanted: bool, origin: str, openai_client: openai.OpenAI
) -> None:
    """`include_usage` adds one last chunk without choices, and nothing else does."""
    model = f"chat-stream-{wanted}"
    stream = openai_client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        stream_options={"include_usage": wanted},
        extra_headers={"x-simulate": "output=7"},
    )
    chunks = list(stream)
    text = [c.choices[0].delta.content for c in chunks if c.choices]

    assert sum(1 for piece in text if piece) == 7
    assert bill(origin, model)["output"] == 7
    usages = [c.usage for c in chunks if c.usage is not None]
    assert [u.completion_tokens for u in usages] == ([7] if wanted else [])
    assert bool(chunks[-1].choices) is not wanted


def test_openai_ceiling_cuts_every_choice(
    origin: str, openai_client: openai.OpenAI
) -> None:
    """A reply never exceeds the request's maximum, and says that it was cut."""
    reply = openai_client.chat.completions.create(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": "Hello"}],
        max_completion_tokens=10,
        n=2,
    )

    assert reply.usage is not None
    assert reply.usage.completion_tokens == 20
    assert [choice.finish_reason for choice in reply.choices] == ["length", "length"]


def test_openai_long_prompts_are_cached_the_second_time(
    openai_client: openai.OpenAI,
) -> None:
    """A prefix of 1,024 tokens or more is read from the cache when it comes again."""
    cached = []
    for question in ("first", "second"):
        reply = openai_client.chat.completions.create(
            model="chat-b",
            messages=[
                {"role": "system", "content": "Be brief. " * 1000},
                {"role": "user", "content": question},
            ],
        )
        assert reply.usage is not None
        assert reply.usage.prompt_tokens_details is not None
        cached.append(reply.usage.prompt_tokens_details.cached_tokens)

    assert cached == [0, 2432]


def test_openai_responses_answer_whole_and_streamed(
    origin: str, openai_client: openai.OpenAI
) -> None:
    """The SDK's own accumulation of the stream gives the text and the usage."""
    reply = openai_client.responses.create(model="gpt-5-mini", input="Hello")
    with openai_client.responses.stream(
        model="responses-b",
        input="Hello",
        max_output_tokens=5,
        extra_headers={"x-simulate": "output=9"},
    ) as stream:
        kinds = [event.type for event in stream]

    assert reply.output_text
    assert reply.usage is not None
    assert reply.usage.total_tokens == (
        reply.usage.input_tokens + reply.usage.output_tokens
    )
    assert kinds.count("response.output_text.delta") == 5
    assert kinds[-1] == "response.incomplete"
    assert bill(origin, "responses-b")["output"] == 5


def test_openai_embeddings_are_the_same_in_both_encodings(
    openai_client: openai.OpenAI,
) -> None:
    """Base64 and floats carry vectors of the size asked for, and state usage."""
    as_floats = openai_client.embeddings.create(
        model="embed", input=["a", "b"], dimensions=8, encoding_format="float"
    )
    raw = openai_client.embeddings.with_raw_response.create(
        model="embed", input=["a", "b"], dimensions=8, encoding_format="base64"
    )
    packed = json.loads(raw.http_response.content)["data"][0]["embedding"]

    assert [len(one.embedding) for one in as_floats.data] == [8, 8]
    assert len(struct.unpack("<8f", base64.b64decode(packed))) == 8
    assert as_floats.usage.prompt_tokens == 2


def test_models_are_listed_for_both_kinds_of_client(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    """One list satisfies the OpenAI and the Anthropic client."""
    listed = {model.id for model in openai_client.models.list()}

    assert "gpt-5-mini" in listed
    assert {model.id for model in anthropic_client.models.list()} == listed
    assert openai_client.models.retrieve("gpt-5-mini").id == "gpt-5-mini"


def test_anthropic_messages_bill_what_they_state(
    origin: str, anthropic_client: anthropic.Anthropic
) -> None:
    """A message's usage is what the provider's books hold."""
    reply = anthropic_client.messages.create(
        model="messages-a",
        max_tokens=5000,
        messages=[{"role": "user", "content": "Hello " * 30}],
    )

    assert reply.content[0].type == "text"
    assert bill(origin, "messages-a") == {
        "requests": 1,
        "input": reply.usage.input_tokens,
        "output": reply.usage.output_tokens,
    }


def test_anthropic_stream_accumulates_to_the_bill(
    origin: str, anthropic_client: anthropic.Anthropic
) -> None:
    """The SDK's final message holds the cumulative usage, cut at `max_tokens`."""
    with anthropic_client.messages.stream(
        model="messages-b",
        max_tokens=12,
        messages=[{"role": "user", "content": "Hello"}],
        extra_headers={"x-simulate": "output=40"},
    ) as stream:
        text = list(stream.text_stream)
        final = stream.get_final_message()

    assert len(text) == 12
    assert final.stop_reason == "max_tokens"
    assert final.usage.output_tokens == bill(origin, "messages-b")["output"] == 12


@pytest.mark.parametrize(
    ("ttl", "written"), [("5m", "cache_write_5m"), ("1h", "cache_write_1h")]
)
def test_anthropic_cache_is_written_then_read(
    ttl: Literal["5m", "1h"],
    written: str,
    origin: str,
    anthropic_client: anthropic.Anthropic,
) -> None:
    """A marked prefix is billed as written once and as read from then on."""
    marked: CacheControlEphemeralParam = {"type": "ephemeral", "ttl": ttl}
    for question in ("first", "second"):
        anthropic_client.messages.create(
            model=f"messages-{ttl}",
            max_tokens=50,
            system=[
                {"type": "text", "text": f"{ttl} " * 3000, "cache_control": marked}
            ],
            messages=[{"role": "user", "content": question}],
            extra_headers={"x-simulate": "output=1"},
        )
    line = bill(origin, f"messages-{ttl}")

    assert line[written] == line["cache_read"] > 1024


def test_anthropic_counts_tokens_without_billing(
    origin: str, anthropic_client: anthropic.Anthropic
) -> None:
    """`count_tokens` agrees with the message's own usage and costs nothing."""
    counted = anthropic_client.messages.count_tokens(
        model="messages-c", messages=[{"role": "user", "content": "Hello " * 9}]
    )
    assert bill(origin, "messages-c") == {}
    reply = anthropic_client.messages.create(
        model="messages-c",
        max_tokens=9,
        messages=[{"role": "user", "content": "Hello " * 9}],
    )

    assert counted.input_tokens == reply.usage.input_tokens


def test_gemini_generates_whole_streamed_and_counts(
    origin: str, gemini_client: genai.Client
) -> None:
    """All three operations agree on the prompt; usage of a stream is cumulative."""
    whole = gemini_client.models.generate_content(
        model="gemini-2.5-flash", contents="Hello " * 20
    )
    counted = gemini_client.models.count_tokens(
        model="gemini-2.5-flash", contents="Hello " * 20
    )
    chunks = list(
        gemini_client.models.generate_content_stream(
            model="gemini-b",
            contents="Hello " * 20,
            config=types.GenerateContentConfig(max_output_tokens=6),
        )
    )
    usages = [chunk.usage_metadata for chunk in chunks]

    assert whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata.prompt_token_count == counted.total_tokens
    assert [u.candidates_token_count for u in usages if u] == [1, 2, 3, 4, 5, 6]
    assert bill(origin, "gemini-b")["output"] == 6


def test_gemini_without_sse_streams_one_json_array(origin: str) -> None:
    """Without `alt=sse` the stream is a JSON array of the same values."""
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{origin}/v1beta/models/gemini-c:streamGenerateContent?key={KEY}",
        data=json.dumps({"contents": [{"parts": [{"text": "Hello"}]}]}).encode(),
        headers={"x-simulate": "output=3"},
    )
    with urllib.request.urlopen(request) as reply:  # noqa: S310  loopback
        values = json.load(reply)

    assert [v["usageMetadata"]["candidatesTokenCount"] for v in values] == [1, 2, 3]


def test_a_wrong_key_is_refused_in_every_dialect(origin: str) -> None:
    """Each client raises its own authentication error, and nothing is billed."""
    with (
        openai.OpenAI(base_url=f"{origin}/v1", api_key="no", max_retries=0) as one,
        pytest.raises(openai.AuthenticationError),
    ):
        one.chat.completions.create(
            model="refused", messages=[{"role": "user", "content": "Hello"}]
        )
    with (
        anthropic.Anthropic(base_url=origin, api_key="no", max_retries=0) as two,
        pytest.raises(anthropic.AuthenticationError),
    ):
        two.messages.create(
            model="refused",
            max_tokens=9,
            messages=[{"role": "user", "content": "Hello"}],
        )

    assert bill(origin, "refused") == {}


def test_one_seed_gives_the_same_answer_to_the_same_request() -> None:
    """Two providers of one seed agree on a drawn length; another seed differs."""
    lengths = []
    for seed in ("5", "5", "6"):
        with (
            running_provider("--seed", seed) as origin,
            openai.OpenAI(base_url=f"{origin}/v1", api_key="any") as client,
        ):
            reply = client.chat.completions.create(
                model="drawn", messages=[{"role": "user", "content": "Hello"}]
            )
            assert reply.usage is not None
            lengths.append(reply.usage.completion_tokens)

    assert lengths[0] == lengths[1] != lengths[2]


def test_openai_responses_are_stored(origin: str, openai_client: openai.OpenAI) -> None:
    """A response can be read, gone on from and deleted; none of that is billed."""
    first = openai_client.responses.create(model="stored", input="Hello")
    second = openai_client.responses.create(
        model="stored", input="Go on", previous_response_id=first.id
    )
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.total_tokens
    before = bill(origin, "stored")

    assert openai_client.responses.retrieve(first.id).output == first.output
    items = openai_client.responses.input_items.list(first.id).data
    assert [one.type for one in items] == ["message"]
    openai_client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        openai_client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        openai_client.responses.create(
            model="stored", input="Go on", previous_response_id=first.id
        )
    unstored = openai_client.responses.create(model="s", input="Hello", store=False)
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.retrieve(unstored.id)

    assert bill(origin, "stored") == before
