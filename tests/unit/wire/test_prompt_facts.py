from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

from comptroller.core.policy.prompt import Place, PromptFacts
from comptroller.testing.routes import route_of
from comptroller.wire.prompt_facts import read_prompt, read_prompt_and_texts
from comptroller.wire.routes import Route

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
    "count": "/v1beta/models/gemini-2.5-flash:countTokens",
}
PNG = "iVBORw0KGgo" * 100


def route(name: str) -> Route:
    return route_of(PATHS[name])


def written(name: str, body: Mapping[str, object]) -> bytes:
    named = {} if name in ("gemini", "count") else {"model": "m"}
    return json.dumps({**named, **body}).encode()


def facts(name: str, **body: object) -> PromptFacts:
    return read_prompt(route(name), written(name, body))


def texts(name: str, **body: object) -> dict[str, str]:
    _, found = read_prompt_and_texts(route(name), written(name, body))
    return {one.place.value: one.text for one in found}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SYSTEMS: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"messages": [{"role": "system", "content": "Be kind."}]}, "Be kind."),
    (
        "chat",
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "A"}]},
                {"role": "user", "content": "hi"},
                {"role": "system", "content": "B"},
            ]
        },
        "A\n\nB",
    ),
    ("responses", {"instructions": "A", "input": "hi"}, "A"),
    (
        "responses",
        {
            "instructions": "A",
            "input": [
                {"role": "developer", "content": "B"},
                {
                    "type": "message",
                    "role": "system",
                    "content": [{"type": "input_text", "text": "C"}],
                },
            ],
        },
        "A\n\nB\n\nC",
    ),
    ("messages", {"system": "Größe", "messages": []}, "Größe"),
    (
        "messages",
        {
            "system": [
                {"type": "text", "text": "A"},
                {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}},
            ],
            "messages": [{"role": "system", "content": "C"}],
        },
        "A\n\nB\n\nC",
    ),
    (
        "gemini",
        {"systemInstruction": {"parts": [{"text": "A"}, {"text": "B"}]}},
        "A\n\nB",
    ),
    ("gemini", {"system_instruction": {"parts": {"text": "A"}}}, "A"),
    ("gemini", {"contents": [{"role": "system", "parts": [{"text": "A"}]}]}, "A"),
    (
        "count",
        {"generateContentRequest": {"systemInstruction": {"parts": [{"text": "A"}]}}},
        "A",
    ),
]


@pytest.mark.parametrize(("name", "body", "text"), SYSTEMS)
def test_the_system_text_is_digested_in_one_form(
    name: str, body: dict[str, Any], text: str
) -> None:
    """All of it in order, an empty line between two texts, wherever it stands."""
    assert facts(name, **body).system_digest == digest(text)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("chat", {"messages": [{"role": "user", "content": "system"}]}),
        ("chat", {"messages": [{"role": "system", "content": ""}]}),
        ("responses", {"input": "hi", "instructions": None}),
        ("messages", {"messages": [], "system": []}),
        ("gemini", {"contents": [{"parts": [{"text": "hi"}]}]}),
        ("embeddings", {"input": "hi"}),
    ],
)
def test_no_system_text_has_no_digest(name: str, body: dict[str, Any]) -> None:
    """Absent, null and empty are the same."""
    assert facts(name, **body).system_digest is None


FUNCTION = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
TOOLS: list[tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ("chat", {"tools": [FUNCTION]}, ("look_up",), ()),
    ("chat", {"tools": [{"function": {"name": "f"}}]}, ("f",), ()),
    ("chat", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, ("c",), ()),
    ("chat", {"functions": [{"name": "old"}]}, ("old",), ()),
    ("chat", {"web_search_options": {}}, (), ("web_search",)),
    ("chat", {"plugins": [{"id": "web"}]}, (), ("web",)),
    ("chat", {"tools": [{"type": "code_interpreter"}]}, (), ("code_interpreter",)),
    ("responses", {"tools": [{"type": "function", "name": "f"}]}, ("f",), ()),
    (
        "responses",
        {"tools": [{"type": "mcp", "server_url": "x"}, {"type": "local_shell"}]},
        (),
        ("mcp", "local_shell"),
    ),
    (
        "responses",
        {
            "tools": [
                {
                    "type": "namespace",
                    "name": "crm",
                    "tools": [{"type": "function", "name": "inner"}, {"type": "mcp"}],
                }
            ]
        },
        ("inner",),
        ("mcp",),
    ),
    (
        "responses",
        {
            "input": [
                {"type": "additional_tools", "tools": [{"type": "web_search"}]},
            ]
        },
        (),
        ("web_search",),
    ),
    ("messages", {"tools": [{"name": "f"}]}, ("f",), ()),
    (
        "messages",
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        (),
        ("web_search_20250305",),
    ),
    ("messages", {"mcp_servers": [{"url": "x"}]}, (), ("mcp",)),
    (
        "gemini",
        {"tools": [{"functionDeclarations": [{"name": "f"}], "googleSearch": {}}]},
        ("f",),
        ("google_search",),
    ),
    (
        "gemini",
        {"tools": {"function_declarations": {"name": "f"}, "code_execution": {}}},
        ("f",),
        ("code_execution",),
    ),
]


@pytest.mark.parametrize(("name", "body", "tools", "builtin"), TOOLS)
def test_tools_are_told_apart_by_who_defines_them(
    name: str, body: dict[str, Any], tools: tuple[str, ...], builtin: tuple[str, ...]
) -> None:
    """The client's by name, the provider's by type, in every dialect's own form."""
    found = facts(name, **body)

    assert (found.tools, found.builtin_tools) == (tools, builtin)


@pytest.mark.parametrize(
    ("name", "body", "elsewhere"),
    [
        ("responses", {"prompt": {"id": "p"}}, ("prompt",)),
        ("responses", {"previous_response_id": "r"}, ("previous_response_id",)),
        ("responses", {"conversation": "c"}, ("conversation",)),
        (
            "responses",
            {"input": [{"type": "item_reference", "id": "i"}]},
            ("item_reference",),
        ),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"file_id": "f"}]}]},
            ("file",),
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "url", "url": "https://x.example"},
                            }
                        ],
                    }
                ]
            },
            ("file",),
        ),
        ("messages", {"container": "c"}, ("container",)),
        ("gemini", {"cachedContent": "c"}, ("cached_content",)),
        ("embeddings", {"input": [1, 2, 3]}, ("tokens",)),
        ("embeddings", {"input": [[1], [2]]}, ("tokens",)),
    ],
)
def test_what_the_body_does_not_hold_is_named(
    name: str, body: dict[str, Any], elsewhere: tuple[str, ...]
) -> None:
    """By the field that brings it in, so that a restriction can refuse it."""
    assert facts(name, **body).elsewhere == elsewhere


def test_models_inside_the_body_are_named() -> None:
    """Fallbacks and advisors, as the reader of models finds them."""
    advisor = {"type": "advisor_20260301", "name": "advisor", "model": "big"}

    found = facts("messages", tools=[advisor], fallbacks=[{"model": "small"}])

    assert found.other_models == ("small", "big")


MEDIA: list[tuple[str, dict[str, Any]]] = [
    (
        "chat",
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{PNG}"},
        },
    ),
    ("chat", {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}),
    (
        "messages",
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
        },
    ),
]


@pytest.mark.parametrize(("name", "part"), MEDIA)
def test_media_are_neither_weighed_nor_scanned(name: str, part: dict[str, Any]) -> None:
    """An image is not prompt text, however many bytes it takes."""
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What?"}]}]
    found = texts(name, messages=messages)

    assert PNG not in found["user"]
    assert "What?" in found["user"]
    assert facts(name, messages=messages).prompt_bytes < 250


@pytest.mark.parametrize(
    "part",
    [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "abc"},
        },
        # Not base64, so it is no image, whatever it says.
        {"type": "image", "source": {"type": "base64", "data": "a secret of ours"}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"data": "QUJD"}},
    ],
)
def test_text_that_looks_like_media_is_scanned(part: dict[str, Any]) -> None:
    """Nothing is left out but what can only be an image, audio or a file."""
    found = texts("messages", messages=[{"role": "user", "content": [part]}])
    data = {**part.get("source", {}), **part.get("input", {})}["data"]

    assert data in "\n".join(found.values())


def test_texts_are_sorted_by_whose_they_are() -> None:
    """Every string of the body is in one of the places, in the order of the body."""
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{2}"},
    }
    found = texts(
        "chat",
        messages=[
            {"role": "system", "content": "s1"},
            {"role": "user", "content": "u1"},
            {"role": "assistant", "content": "a1", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "t1"},
            {"role": "user", "content": [{"type": "text", "text": "u2"}]},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d1"}}],
        user="someone",
    )

    assert found["system"].split("\n")[0] == "s1"
    assert found["user"].index("u1") < found["user"].index("u2")
    assert "a1" in found["assistant"]
    assert "{2}" in found["tool"]
    assert "t1" in found["tool"]
    assert "d1" in found["definitions"]
    assert "someone" in found["other"]
    assert set(found) == {place.value for place in Place}


def test_no_text_is_read_where_none_is_asked_for() -> None:
    """The facts hold no word of the prompt."""
    found = facts("chat", messages=[{"role": "system", "content": "quicksilver"}])

    assert "quicksilver" not in repr(found)


def test_the_size_is_that_of_the_body_as_sent() -> None:
    """With all its fields, since any of them may hold text."""
    body = b'{ "model": "m", "input": "hello" }'

    assert read_prompt(route("embeddings"), body).prompt_bytes == len(body)
