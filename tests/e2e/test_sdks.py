"""The official OpenAI, Anthropic and Google clients through the gateway, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from openai.types.chat import ChatCompletionUserMessageParam

from comptroller.testing.provider import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, run_command, told

PROVIDER_KEY = "provider-key"
MODELS = {
    "gpt-5-mini": "price: {input: 1, output: 2}",
    "claude-sonnet-5": "price: {input: 3, output: 5}",
    "gemini-flash": "price: {input: 1, output: 4}",
}
HELLO = ChatCompletionUserMessageParam(role="user", content="Hello")


class Gateway(NamedTuple):
    """A served gateway, and a credential for it."""

    folder: Path
    origin: str
    key: str

    def booked(self) -> dict[str, Any]:
        """The last request as the books have it."""
        found: dict[str, Any] = told(self.folder, "requests", "--limit", "1")[0]
        return found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("sdks")
    with running_provider("--key", PROVIDER_KEY) as origin:
        (folder / "provider-key").write_text(PROVIDER_KEY)
        speaks = "speaks: [openai, anthropic, gemini], credential: file:provider-key"
        text = small_configuration(f"{{base_url: {origin}, {speaks}}}", MODELS)
        (folder / "comptroller.yaml").write_text(text)
        run_command(folder, "apply", "--yes")
        issued = told(folder, "key", "issue", "checkout", "--for", "ada")
        tree = ServeTree(folder, workers=1)
        try:
            base = f"http://127.0.0.1:{tree.port}"
            yield Gateway(folder, base, issued["secret"])
        finally:
            assert tree.stop() == 0, tree.log()


@contextmanager
def openai_client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    base = f"{gateway.origin}/v1"
    with openai.OpenAI(base_url=base, api_key=gateway.key, max_retries=0) as client:
        yield client


@contextmanager
def anthropic_client(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=gateway.origin, api_key=gateway.key, max_retries=0
    ) as client:
        yield client


@contextmanager
def google_client(gateway: Gateway) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=gateway.origin, timeout=10_000)
    client = genai.Client(api_key=gateway.key, http_options=options)
    yield client
    client.close()


def test_openai_chat_is_answered_and_booked(gateway: Gateway) -> None:
    """A chat costs what the reply's own usage says."""
    with openai_client(gateway) as client:
        reply = client.chat.completions.create(model="gpt-5-mini", messages=[HELLO])

    booked = gateway.booked()

    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert sum(booked["usage"].values()) == reply.usage.total_tokens
    assert booked["usage_source"] == "provider"
    assert booked["service"] == "checkout"
    assert booked["cost_nano_usd"] > 0


def test_openai_streams_show_no_chunk_that_was_not_asked_for(gateway: Gateway) -> None:
    """The usage is injected for the books and taken out again for the client."""
    with openai_client(gateway) as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini", messages=[HELLO], stream=True
        )
        chunks = list(stream)

    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert gateway.booked()["usage_source"] == "provider"


def test_openai_streams_state_their_usage_when_asked(gateway: Gateway) -> None:
    """A client that asks for the usage gets it, and the same is booked."""
    with openai_client(gateway) as client:
        stream = client.chat.completions.create(
            model="gpt-5-mini",
            messages=[HELLO],
            stream=True,
            stream_options={"include_usage": True},
        )
        stated = [chunk.usage for chunk in stream if chunk.usage is not None]

    assert len(stated) == 1
    assert sum(gateway.booked()["usage"].values()) == stated[0].total_tokens


def test_openai_responses_and_embeddings_are_booked(gateway: Gateway) -> None:
    """Responses, whole and streamed, and embeddings are metered like chats."""
    with openai_client(gateway) as client:
        whole = client.responses.create(model="gpt-5-mini", input="Hello")
        assert whole.usage is not None
        booked = gateway.booked()
        assert sum(booked["usage"].values()) == whole.usage.total_tokens
        events = client.responses.create(model="gpt-5-mini", input="Hello", stream=True)
        assert [event.type for event in events][-1] == "response.completed"
        assert gateway.booked()["usage_source"] == "provider"
        vectors = client.embeddings.create(model="gpt-5-mini", input=["a", "b"])
        assert len(vectors.data) == 2
        assert gateway.booked()["usage"] == {"input": vectors.usage.total_tokens}


def test_openai_lists_what_the_service_may_use(gateway: Gateway) -> None:
    """The model list is the service's own, in every client's form."""
    names = ["gpt-5-mini", "claude-sonnet-5", "gemini-flash"]
    with openai_client(gateway) as client:
        assert [model.id for model in client.models.list()] == names
        assert client.models.retrieve("gpt-5-mini").id == "gpt-5-mini"
    with anthropic_client(gateway) as other:
        assert [model.id for model in other.models.list()] == names


def test_openai_shows_a_refusal_and_does_not_try_again(gateway: Gateway) -> None:
    """A refusal says what may be used and whom to ask."""
    with openai_client(gateway) as client, pytest.raises(openai.BadRequestError) as no:
        client.chat.completions.create(model="gpt-none", messages=[HELLO])

    assert "gpt-5-mini" in no.value.message
    assert "ada@acme.example" in no.value.message
    assert gateway.booked()["decision"] == "deny"


def test_anthropic_messages_are_answered_and_booked(gateway: Gateway) -> None:
    """Messages, whole and streamed, are booked by their own usage."""
    asked: dict[str, Any] = {
        "model": "claude-sonnet-5",
        "max_tokens": 300,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    with anthropic_client(gateway) as client:
        reply = client.messages.create(**asked)
        assert reply.content
        assert gateway.booked()["usage"]["output"] == reply.usage.output_tokens
        with client.messages.stream(**asked) as stream:
            assert "".join(stream.text_stream)
            final = stream.get_final_message()
        assert gateway.booked()["usage"]["output"] == final.usage.output_tokens


def test_anthropic_counts_tokens_free_of_charge(gateway: Gateway) -> None:
    """Counting tokens is a decision like any other, and costs nothing."""
    with anthropic_client(gateway) as client:
        counted = client.messages.count_tokens(
            model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}]
        )

    booked = gateway.booked()

    assert counted.input_tokens > 0
    assert booked["state"] == "settled"
    assert booked["cost_nano_usd"] == 0


def test_google_content_is_answered_and_booked(gateway: Gateway) -> None:
    """Generated content, whole and streamed, is booked by its own usage."""
    with google_client(gateway) as client:
        reply = client.models.generate_content(model="gemini-flash", contents="Hello")
        assert reply.text
        stated = reply.usage_metadata
        assert stated is not None
        assert sum(gateway.booked()["usage"].values()) == stated.total_token_count
        parts = client.models.generate_content_stream(
            model="gemini-flash", contents="Hello"
        )
        assert "".join(part.text or "" for part in parts)
        assert gateway.booked()["usage_source"] == "provider"
