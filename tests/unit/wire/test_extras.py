from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.bound import PLAIN_OVERHEAD_TOKENS, PROMPT_OVERHEAD_TOKENS
from comptroller.testing.routes import CHAT, EMBEDDINGS, GEMINI, MESSAGES, RESPONSES
from comptroller.wire.extras import (
    ANTHROPIC_LOOPS_MAX,
    IMAGE_TOKENS_ANTHROPIC,
    IMAGE_TOKENS_GEMINI,
    IMAGE_TOKENS_OPENAI,
    IMAGE_TOKENS_TILED,
    Extras,
    read_extras,
)
from comptroller.wire.routes import Route

ROUTES = (CHAT, RESPONSES, EMBEDDINGS, MESSAGES, GEMINI)


def written(body: object) -> bytes:
    return json.dumps(body).encode()


def extras_of(route: Route, upstream: str = "m", **body: object) -> Extras:
    return read_extras(route, written(body), upstream)


def user(*parts: object) -> list[object]:
    return [{"role": "user", "content": list(parts)}]


PDF = " DATA:application/pdf;base64,AAAA"
FUNCTION = {"type": "function", "function": {"name": "get", "parameters": {}}}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
        (CHAT, {"messages": user({"type": "text", "text": "x"}), "tools": [FUNCTION]}),
        (CHAT, {"messages": None, "best_of": 1, "tools": None, "n": 4}),
        (CHAT, {"enable_search": False, "deferred": False, "n_predict": None}),
        (RESPONSES, {"input": "x", "tools": [{"type": "function", "name": "f"}]}),
        (RESPONSES, {"input": [{"role": "user", "content": "x"}], "prompt": None}),
        (RESPONSES, {"input": [{"type": "reasoning", "encrypted_content": "x"}]}),
        (RESPONSES, {"tools": [{"type": "namespace", "tools": [{"type": "custom"}]}]}),
        (MESSAGES, {"messages": user({"type": "text", "text": "x"}), "tools": [{}]}),
        (MESSAGES, {"context_management": {"edits": [{"type": "clear_tool_uses_1"}]}}),
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}]}),
        (GEMINI, {"contents": {"parts": {"functionCall": {}, "thoughtSignature": ""}}}),
        (GEMINI, {"tools": [{"functionDeclarations": []}], "cachedContent": None}),
        (EMBEDDINGS, {"input": ["x"]}),
    ],
)
def test_ordinary_requests_are_bounded_by_their_bytes(
    route: Route, body: dict[str, object]
) -> None:
    """Text, and tools that the client runs, are within the body.

    Where tools or functions are spoken of, the provider may add instructions.
    """
    speaks = any(word in json.dumps(body) for word in ("tool", "function"))
    overhead = PROMPT_OVERHEAD_TOKENS if speaks else PLAIN_OVERHEAD_TOKENS
    size = len(written(body))
    assert read_extras(route, written(body), "m") == Extras(size, overhead=overhead)


@pytest.mark.parametrize(
    ("route", "body", "why"),
    [
        (CHAT, {"tools": [{"type": "openrouter:web_search"}]}, "openrouter:web_search"),
        (CHAT, {"prediction": {}}, "prediction"),
        (CHAT, {"search_parameters": {}}, "searches"),
        (CHAT, {"plugins": []}, "plugins"),
        (CHAT, {"enable_search": True}, "searches"),
        (CHAT, {"preset": "@preset/x"}, "preset"),
        (CHAT, {"deferred": True}, "later"),
        (CHAT, {"max_tokens": 1, "n_predict": -1}, "another name"),
        (MESSAGES, {"max_tokens": 1, "max_new_tokens": 10**6}, "another name"),
        (RESPONSES, {"max_output_tokens": 1, "n_predict": 10**6}, "another name"),
        (CHAT, {"best_of": 2}, "use 'n'"),
        (CHAT, {"models": ["a"]}, "other models"),
        (RESPONSES, {"prompt": {"id": "p"}}, "stored prompt"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "'max_tool_calls'"),
        (RESPONSES, {"tools": [{"type": "mcp"}], "max_tool_calls": 1}, "'mcp'"),
        (RESPONSES, {"tools": [{"type": "shell"}]}, "'shell'"),
        (RESPONSES, {"tools": [{"type": "code_interpreter"}]}, "'code_interpreter'"),
        (RESPONSES, {"reasoning": {"mode": "pro"}}, "more than once"),
        (RESPONSES, {"context_management": [{}]}, "compaction"),
        (
            RESPONSES,
            {"input": [{"type": "additional_tools", "tools": [{"type": "mcp"}]}]},
            "'mcp'",
        ),
        (MESSAGES, {"tools": [{"type": "web_search_20250305"}]}, "'max_uses'"),
        (
            MESSAGES,
            {"tools": [{"type": "web_search_20250305", "max_uses": None}]},
            "'max_uses'",
        ),
        (MESSAGES, {"tools": [{"type": "code_execution_2"}]}, "'code_execution_2'"),
        (MESSAGES, {"tools": [{"type": "x\ny"}]}, "a tool runs"),
        (MESSAGES, {"mcp_servers": [{}]}, "MCP"),
        (MESSAGES, {"fallbacks": ["a"]}, "other models"),
        (
            MESSAGES,
            {"context_management": {"edits": [{"type": "compact_20260112"}]}},
            "compaction",
        ),
        (GEMINI, {"tools": [{"googleSearch": {}}]}, "'googleSearch'"),
        (GEMINI, {"tools": {"code_execution": {}}}, "'code_execution'"),
        (GEMINI, {"cachedContent": "c"}, "cached content"),
        (CHAT, {"messages": [[{"content": 1}], {"content": [{"type": 3}]}]}, None),
        (CHAT, {"best_of": "many"}, "not of the form"),
    ],
)
def test_what_has_no_bound_says_what_to_do(
    route: Route, body: dict[str, object], why: str | None
) -> None:
    """What the provider does as often as it likes is refused, with a way out."""
    unbounded = read_extras(route, written(body), "m").unbounded
    if why is None:
        assert unbounded is None
    else:
        assert unbounded is not None
        assert why in unbounded


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (CHAT, {"messages": user({"type": "file", "file": {"file_id": "f"}})}),
        (CHAT, {"messages": user({"type": "video_url"})}),
        (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": PDF}})}),
        (RESPONSES, {"input": user({"type": "input_image", "image_url": PDF})}),
        (EMBEDDINGS, {"input": [{"image": "https://acme.example/a.png"}]}),
        (EMBEDDINGS, {"messages": user({"type": "image_url"})}),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "a"}}]}),
        (RESPONSES, {"previous_response_id": "r"}),
        (RESPONSES, {"conversation": "c"}),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "i"}]}),
        (RESPONSES, {"input": [{"type": "reasoning", "id": "r", "summary": []}]}),
        (RESPONSES, {"input": user({"type": "input_file", "file_id": "f"})}),
        (MESSAGES, {"messages": user({"type": "document", "source": {}})}),
        (MESSAGES, {"messages": user({"type": "container_upload"})}),
        (MESSAGES, {"messages": user({"type": "what is this"})}),
        (
            MESSAGES,
            {
                "messages": user(
                    {"type": "tool_result", "content": [{"type": "document"}]}
                )
            },
        ),
        (GEMINI, {"contents": [{"parts": [{"fileData": {"mimeType": "image/png"}}]}]}),
        (
            GEMINI,
            {
                "contents": [
                    {"parts": [{"inlineData": {"mimeType": "application/pdf"}}]}
                ]
            },
        ),
    ],
)
def test_what_is_elsewhere_is_bounded_by_the_window(
    route: Route, body: dict[str, object]
) -> None:
    """Files, stored conversations, and whatever is not known, are not in the body."""
    extras = read_extras(route, written(body), "m")
    assert extras.is_by_reference
    assert extras.unbounded is None


@pytest.mark.parametrize(
    ("route", "part", "field", "tokens"),
    [
        (CHAT, {"type": "image_url"}, "image_url", IMAGE_TOKENS_OPENAI),
        (RESPONSES, {"type": "input_image"}, "image_url", IMAGE_TOKENS_OPENAI),
        (MESSAGES, {"type": "image"}, "source", IMAGE_TOKENS_ANTHROPIC),
    ],
)
def test_an_image_counts_as_what_it_is_billed_at_the_most(
    route: Route, part: dict[str, object], field: str, tokens: int
) -> None:
    """Neither the bytes of a large one nor the few of its URL say what it costs."""
    name = "input" if route is RESPONSES else "messages"
    for data in ("https://acme.example/a.png", "data:image/png;base64," + "A" * 9000):
        body = written({name: user({**part, field: {"url": data}})})
        size = len(json.dumps({"url": data}))
        extras = read_extras(route, body, "m")
        size = len(body) - size + tokens
        assert extras == Extras(size, overhead=PLAIN_OVERHEAD_TOKENS)


def test_images_inside_a_document_count_as_images() -> None:
    """A document's content is made of blocks: a URL of some bytes is thousands."""
    image = {"type": "image", "source": {"type": "url", "url": "https://a.example/b"}}
    source = {"type": "content", "content": [image] * 10}

    found = extras_of(MESSAGES, messages=user({"type": "document", "source": source}))

    assert found.input_bytes > 10 * (IMAGE_TOKENS_ANTHROPIC - 100)
    assert not found.is_by_reference


def test_images_of_known_models_and_of_gemini() -> None:
    """OpenAI's tiled models, and Gemini's inline data, have their own most."""
    image = {"type": "image_url", "image_url": "x"}
    for upstream, tokens in (
        ("gpt-4o-2024-08-06", IMAGE_TOKENS_TILED),
        ("gpt-4o-mini", IMAGE_TOKENS_OPENAI),
        ("gpt-5.4", IMAGE_TOKENS_OPENAI),
    ):
        body = written({"messages": user(image)})
        found = read_extras(CHAT, body, upstream).input_bytes
        assert found == len(body) - len('"x"') + tokens
    data = {"mimeType": "image/png", "data": "A" * 5000}
    body = written({"contents": [{"parts": [{"inlineData": data}]}]})
    size = len(json.dumps(data))
    found = read_extras(GEMINI, body, "m").input_bytes
    assert found == len(body) - size + IMAGE_TOKENS_GEMINI


def test_uses_of_hosted_tools_multiply_the_passes() -> None:
    """Each use is one more pass over the prompt; searches are billed besides."""
    tools = [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "web_fetch_20250910", "max_uses": 2},
    ]
    extras = extras_of(MESSAGES, tools=tools)
    assert (extras.passes, extras.searches, extras.is_by_reference) == (6, 3, True)
    extras = extras_of(MESSAGES, tools=[{"type": "tool_search_tool_bm25_20251119"}])
    assert extras.passes == ANTHROPIC_LOOPS_MAX + 1
    assert not extras.is_by_reference
    web = [{"type": "web_search"}, {"type": "web_search_preview"}]
    extras = extras_of(RESPONSES, tools=web, max_tool_calls=4)
    assert (extras.passes, extras.searches) == (5, 4)
    extras = extras_of(CHAT, web_search_options={})
    assert (extras.passes, extras.searches, extras.unbounded) == (2, 1, None)
    assert extras_of(CHAT, "gpt-4o-search-preview").searches == 1


def test_models_that_are_agents_have_no_bound() -> None:
    """They search by themselves, whatever the request says."""
    for upstream in ("compound-beta", "groq/compound", "o3-deep-research"):
        assert extras_of(CHAT, upstream).unbounded is not None
    assert extras_of(CHAT, "compounding").unbounded is None


def test_other_classes_and_tiers_are_named() -> None:
    """What is billed apart from text needs a price of its own."""
    assert extras_of(CHAT, modalities=["text", "audio"]).classes == ("output_audio",)
    heard = user({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})
    assert extras_of(CHAT, messages=heard).classes == ("input_audio",)
    config = {"responseModalities": ["TEXT", "IMAGE"]}
    assert extras_of(GEMINI, generationConfig=config).classes == ("output_image",)
    assert extras_of(GEMINI, "gemini-2.5-flash-image").classes == ("output_image",)
    video = [{"parts": [{"inlineData": {"mimeType": "video/mp4"}}]}]
    assert extras_of(GEMINI, contents=video).classes == ("input_audio",)
    assert extras_of(MESSAGES, speed="fast").tier == "fast"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "content", "parts", "tools", "source", "output", "inlineData"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(
    ["messages", "input", "contents", "tools", "generationConfig", "reasoning"]
)


@given(st.sampled_from(ROUTES), st.dictionaries(names, values))
def test_any_body_is_bounded_or_refused(route: Route, body: dict[str, object]) -> None:
    """Whatever the body holds, the reading ends in one or the other."""
    extras = read_extras(route, written(body), "m")
    assert extras.passes >= 1
    assert extras.unbounded is None or extras.unbounded
