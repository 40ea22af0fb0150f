"""Prompts made to be read in two ways, or not at all: every one is an error."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.errors import BadRequestError
from comptroller.testing.routes import route_of
from comptroller.wire.prompt_facts import read_prompt, read_prompt_and_texts
from comptroller.wire.request import read_facts
from comptroller.wire.routes import Route

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/gemini-2.5-flash:generateContent",
}


def route(name: str) -> Route:
    return route_of(PATHS[name])


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


CHAT = '{"model":"m","messages":[%s]}'
SAID = '{"role":"user","content":%s}'
COUNTED = '{"role":"user","content":"x","n":%s}'
TYPED = '{"model":"m","tools":[{"type":"%s"}]}'
TWO_FUNCTIONS = (
    '{"model":"m","tools":[{"type":"function","Function":{"name":"a"},'
    '"function":{"name":"b"}}]}'
)
HOSTILE: list[tuple[str, str]] = [
    ("chat", CHAT % '{"role":"user","role":"system","content":"x"}'),
    ("chat", CHAT % '{"role":"user","content":"x","content":"y"}'),
    (
        "chat",
        CHAT % '{"role":"user","content":[{"type":"text","text":"x","text":"y"}]}',
    ),
    ("chat", CHAT % '{"role":"user","Role":"system","content":"x"}'),
    ("chat", CHAT % '{"Role":"system","role":"user","content":"x"}'),
    ("chat", CHAT % '{"role":"System","content":"x"}'),
    ("chat", CHAT % '{"role":["system"],"content":"x"}'),
    ("chat", CHAT % '{"content":"x"}'),
    ("chat", CHAT % '"system"'),
    ("chat", CHAT % '{"role":"system","content":{"text":"x"}}'),
    ("chat", CHAT % '{"role":"system","content":7}'),
    ("chat", CHAT % '{"role":"system","content":[{"type":"image_url"}]}'),
    ("chat", CHAT % '{"role":"system","content":"\\ud800"}'),
    ("chat", CHAT % '{"role":"user","content":"x","n":NaN}'),
    ("chat", CHAT % (SAID % deep(70))),
    ("chat", CHAT % (SAID % deep(100_000))),
    ("chat", CHAT % (COUNTED % ("9" * 5000))),
    ("chat", '{"model":"m","messages":{"role":"system","content":"x"}}'),
    ("chat", '{"model":"m","messages":[],"Messages":[]}'),
    ("chat", '{"model":"m","messages":[],"messages":[]}'),
    ("chat", '{"model":"m","tools":{"type":"mcp"}}'),
    ("chat", '{"model":"m","tools":["mcp"]}'),
    ("chat", '{"model":"m","tools":[{"name":"x"}]}'),
    ("chat", '{"model":"m","tools":[{"type":"function"}]}'),
    ("chat", '{"model":"m","tools":[{"type":"function","function":{"name":7}}]}'),
    ("chat", '{"model":"m","tools":[{"type":"function","function":{"name":""}}]}'),
    ("chat", TWO_FUNCTIONS),
    ("chat", '{"model":"m","tools":[{"type":"a\\nb"}]}'),
    ("chat", TYPED % ("x" * 300)),
    ("chat", '{"model":"m","functions":[{"Name":"x"}]}'),
    ("responses", '{"model":"m","input":{"role":"user"}}'),
    ("responses", '{"model":"m","input":[{"type":7}]}'),
    ("responses", '{"model":"m","input":[{"content":"x"}]}'),
    ("responses", '{"model":"m","instructions":["x",7]}'),
    ("responses", '{"model":"m","instructions":"x","Instructions":"y"}'),
    ("responses", '{"model":"m","tools":[{"type":"namespace","tools":7}]}'),
    ("messages", '{"model":"m","system":[{"type":"image"}]}'),
    ("messages", '{"model":"m","system":[["x"]]}'),
    ("messages", '{"model":"m","System":"x","messages":[]}'),
    ("messages", '{"model":"m","messages":[{"role":"developer","content":"x"}]}'),
    ("messages", '{"model":"m","messages":[{"role":"user","content":["x"]}]}'),
    ("messages", '{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}'),
    ("messages", '{"model":"m","tools":[{"type":7,"name":"x"}]}'),
    ("messages", '{"model":"m","mcp_servers":{}}'),
    ("gemini", '{"systemInstruction":{},"system_instruction":{}}'),
    ("gemini", '{"systemInstruction":{"parts":[{"inlineData":{}}]}}'),
    ("gemini", '{"systemInstruction":7}'),
    ("gemini", '{"SystemInstruction":{"parts":[{"text":"x"}]}}'),
    ("gemini", '{"contents":[{"role":"boss","parts":[]}]}'),
    ("gemini", '{"contents":[{"role":["user"],"parts":[]}]}'),
    ("gemini", '{"contents":7}'),
    ("gemini", '{"tools":[{"functionDeclarations":[{"name":["x"]}]}]}'),
    ("gemini", '{"tools":[{"functionDeclarations":[],"function_declarations":[]}]}'),
    ("embeddings", '{"model":"m","input":1.5}'),
    ("embeddings", '{"model":"m","input":"x","Input":"y"}'),
]


@pytest.mark.parametrize(("name", "body"), HOSTILE)
def test_what_cannot_be_read_for_certain_is_an_error(name: str, body: str) -> None:
    """Two servers, or a server and we, might take it for different things."""
    with pytest.raises(BadRequestError):
        read_prompt(route(name), body.encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"x"', b"\xff\xfe{}", b'\xef\xbb\xbf{"model":"m"}', b"{}\x00"],
)
@pytest.mark.parametrize("name", PATHS)
def test_what_is_not_one_object_is_an_error(name: str, body: bytes) -> None:
    """In any dialect, and never an exception of another kind."""
    with pytest.raises(BadRequestError):
        read_prompt(route(name), body)


@pytest.mark.parametrize(
    "body",
    [
        CHAT % '{"role":"swordfish","content":"swordfish"}',
        CHAT % '{"role":"system","content":[{"swordfish":"swordfish"}]}',
        '{"model":"m","messages":"swordfish"}',
        CHAT % '{"role":"user","content":"swordfish",}',
    ],
)
def test_no_message_repeats_the_prompt(body: str) -> None:
    """What is wrong is said by the name of the field."""
    with pytest.raises(BadRequestError) as caught:
        read_prompt(route("chat"), body.encode())

    assert "swordfish" not in str(caught.value)


LARGE = {
    "long": CHAT % (SAID % json.dumps("a" * 8_000_000)),
    "many": CHAT % ",".join([SAID % '"a"'] * 60_000),
    "deep": CHAT % ("[" * 900 + "]" * 900),
    "tools": json.dumps(
        {"model": "m", "tools": [{"type": f"t{n}"} for n in range(50_000)]}
    ),
    "lists": CHAT % (SAID % ("[" + "[]," * 500_000 + "[]]")),
}


@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
def test_no_body_takes_long(body: str) -> None:
    """Megabytes are read, or refused, within a fraction of a second each."""
    begun = time.thread_time()
    with contextlib.suppress(BadRequestError):
        read_prompt_and_texts(route("chat"), body.encode())

    assert time.thread_time() - begun < 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "type",
                    "text",
                    "name",
                    "parts",
                    "tools",
                    "function",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(PATHS)),
    body=st.dictionaries(
        st.sampled_from(
            [
                "messages",
                "input",
                "contents",
                "system",
                "instructions",
                "tools",
                "systemInstruction",
                "functions",
                "plugins",
                "mcp_servers",
            ]
        ),
        VALUES,
    ),
)
def test_any_json_is_read_or_refused(name: str, body: dict[str, object]) -> None:
    """Never an exception of another kind, and the same facts each time."""
    data = json.dumps({**body, **({} if name == "gemini" else {"model": "m"})}).encode()
    try:
        found = read_prompt(route(name), data)
    except BadRequestError:
        return

    assert read_prompt_and_texts(route(name), data)[0] == found


def test_a_body_that_is_all_small_parts_is_refused_quickly() -> None:
    """What would keep the event loop for seconds is refused before it is parsed."""
    crowded = b'{"model":"m","messages":[],"x":[' + b"1," * 1_000_001 + b"1]}"
    said = SAID % json.dumps("word, " * 900_000)
    book = (CHAT % said).encode()

    for read in (read_facts, read_prompt):
        with pytest.raises(BadRequestError, match="too many parts"):
            read(route("chat"), crowded)
        read(route("chat"), book)
