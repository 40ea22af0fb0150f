from __future__ import annotations

import json
import time
from typing import Any

import pytest

from comptroller.core.errors import BadRequestError
from comptroller.testing.routes import CHAT, EMBEDDINGS, GEMINI, MESSAGES, RESPONSES
from comptroller.wire.references import (
    REFERENCES_MAX,
    ObjectKind,
    is_plain_id,
    references,
)
from comptroller.wire.routes import Route

K = ObjectKind


def found(route: Route, body: object) -> list[tuple[ObjectKind, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [(one.kind, one.id) for one in references(route, data)]


def item(**members: object) -> dict[str, object]:
    return {"model": "m", "input": [members]}


def part(**members: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": [members]}]}


def gemini(**members: object) -> dict[str, object]:
    return {"contents": [{"parts": [members]}]}


NAMED: list[tuple[Route, dict[str, Any], list[tuple[ObjectKind, str]]]] = [
    (RESPONSES, {"previous_response_id": "resp_1"}, [(K.RESPONSE, "resp_1")]),
    (RESPONSES, {"input": {"id": "msg_1"}}, [(K.ITEM, "msg_1")]),
    (
        RESPONSES,
        {"input": [[{"type": "item_reference", "id": "msg_1"}]]},
        [(K.ITEM, "msg_1")],
    ),
    (CHAT, {"previous_response_id": "resp_1"}, [(K.RESPONSE, "resp_1")]),
    (RESPONSES, {"request_id": "resp_1"}, [(K.RESPONSE, "resp_1")]),
    (RESPONSES, {"conversation": "conv_1"}, [(K.CONVERSATION, "conv_1")]),
    (RESPONSES, {"conversation": {"id": "conv_1"}}, [(K.CONVERSATION, "conv_1")]),
    (RESPONSES, {"prompt": {"id": "pmpt_1"}}, [(K.PROMPT, "pmpt_1")]),
    (
        RESPONSES,
        {"prompt": {"id": "p", "variables": {"x": {"file_id": "file-1"}}}},
        [(K.PROMPT, "p"), (K.FILE, "file-1")],
    ),
    (
        RESPONSES,
        item(content=[{"type": "input_file", "file_id": "file-1"}]),
        [(K.FILE, "file-1")],
    ),
    (
        RESPONSES,
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]},
        [(K.VECTOR_STORE, "vs_1"), (K.VECTOR_STORE, "vs_2")],
    ),
    (
        RESPONSES,
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
        [(K.CONTAINER, "cntr_1")],
    ),
    (
        RESPONSES,
        {"tools": [{"container": {"type": "auto", "file_ids": ["file-1"]}}]},
        [(K.FILE, "file-1")],
    ),
    (RESPONSES, item(type="item_reference", id="msg_1"), [(K.ITEM, "msg_1")]),
    (RESPONSES, item(id="msg_1"), [(K.ITEM, "msg_1")]),
    (RESPONSES, item(id="msg_1", type=None), [(K.ITEM, "msg_1")]),
    (RESPONSES, item(ID="msg_1", Type="item_reference"), [(K.ITEM, "msg_1")]),
    (RESPONSES, item(id="x_1", type="of_tomorrow"), [(K.ITEM, "x_1")]),
    (RESPONSES, item(id="msg_1", role="assistant"), [(K.ITEM, "msg_1")]),
    (RESPONSES, item(id="ig_1", type="image_generation_call"), [(K.ITEM, "ig_1")]),
    (RESPONSES, item(type="reasoning", id="rs_1", summary=[]), [(K.ITEM, "rs_1")]),
    (
        RESPONSES,
        item(type="code_interpreter_call", id="ci_1", container_id="cntr_1"),
        [(K.ITEM, "ci_1"), (K.CONTAINER, "cntr_1")],
    ),
    (CHAT, part(type="file", file={"file_id": "file-1"}), [(K.FILE, "file-1")]),
    (
        CHAT,
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        [(K.AUDIO, "audio_1")],
    ),
    (
        MESSAGES,
        part(type="document", source={"type": "file", "file_id": "file_1"}),
        [(K.FILE, "file_1")],
    ),
    (MESSAGES, part(type="container_upload", file_id="file_1"), [(K.FILE, "file_1")]),
    (MESSAGES, {"container": "container_1"}, [(K.CONTAINER, "container_1")]),
    (
        MESSAGES,
        {
            "container": {
                "id": "container_1",
                "skills": [
                    {"type": "anthropic", "skill_id": "pptx"},
                    {"type": "custom", "skill_id": "skill_1"},
                ],
            }
        },
        [(K.CONTAINER, "container_1"), (K.SKILL, "skill_1")],
    ),
    (GEMINI, {"cachedContent": "cached/1"}, [(K.CACHED_CONTENT, "cached/1")]),
]
STORE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


@pytest.mark.parametrize(("route", "body", "expected"), NAMED)
def test_each_kind_of_reference_is_found(
    route: Route, body: dict[str, Any], expected: list[tuple[ObjectKind, str]]
) -> None:
    """Wherever a provider looks something up, the body is known to name it."""
    assert found(route, body) == expected


@pytest.mark.parametrize(
    ("uri", "is_stored"),
    [
        (STORE, True),
        (STORE.upper(), True),
        (f"https://x@{STORE[8:]}", True),
        ("https://generativelanguage.googleapis.com.:443/v1beta/files/abc", True),
        ("files/abc", True),
        ("gs://bucket/object", True),
        (STORE.replace("/v1beta/", "\\") + "@example.com/", True),
        (STORE[:41] + "?@example.com/", True),
        (STORE.replace(".com", "%2Ecom"), True),
        (STORE.replace(".com", "\u3002com"), True),
        ("https://storage.cloud.google.com/bucket/object", True),
        ("https://[2001:db8::1]:443/a", False),
        ("https://www.youtube.com/watch?v=abc", False),
        ("https://example.com/googleapis.com/files/abc", False),
    ],
)
@pytest.mark.parametrize("name", ["fileUri", "file_uri"])
def test_a_uri_that_the_provider_alone_may_read_is_a_reference(
    uri: str, is_stored: bool, name: str
) -> None:
    """What anybody may read is not; what a credential opens is."""
    body = gemini(fileData={"mimeType": "text/plain", name: uri})

    assert found(GEMINI, body) == ([(K.FILE, uri)] if is_stored else [])


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (RESPONSES, {"previous_response_id": None, "conversation": None}),
        (RESPONSES, {"metadata": {"request_id": "r-1"}, "x": {"request_id": "r-2"}}),
        (RESPONSES, item(role="user", content="the file_id is in container")),
        (RESPONSES, item(type="message", id="msg_1", content=[])),
        (RESPONSES, item(type="function_call", id="fc_1", arguments='{"file_id":"a"}')),
        (RESPONSES, item(type="reasoning", id="rs_1", encrypted_content="abc")),
        (
            RESPONSES,
            item(content=[{"type": "output_text", "annotations": [{"file_id": "f"}]}]),
        ),
        (
            CHAT,
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "read",
                            "parameters": {
                                "properties": {"file_id": {"type": "string"}},
                                "default": {"file_id": "x"},
                            },
                        },
                    }
                ]
            },
        ),
        (MESSAGES, part(type="tool_use", name="read", input={"file_id": "1"})),
        (MESSAGES, part(type="bash_code_execution_output", file_id="file_1")),
        (GEMINI, gemini(functionCall={"name": "f", "args": {"fileUri": "files/a"}})),
        (GEMINI, gemini(functionResponse={"response": {"cachedContent": "c"}})),
        (EMBEDDINGS, {"input": "file_id"}),
    ],
)
def test_what_no_provider_looks_up_is_not_a_reference(
    route: Route, body: dict[str, Any]
) -> None:
    """A client's own tools may have ids of their own, and speak of ours."""
    assert found(route, body) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","previous_response\\u005fid":"resp_1"}',
        b'{"model":"m","\\u0070revious_response_id":"resp_1"}',
        b'{"model":"m","Previous_Response_ID":"resp_1"}',
        b'{"model":"m","previousResponseId":"resp_1"}',
        '{"model":"m","previou\u017f_response_id":"resp_1"}'.encode(),
        b'{"model":"m","previou\\u017f_re\\u017Fponse_id":"resp_1"}',
        b'{"model":"m", "previous_response_id" : "resp_1"}',
    ],
)
def test_a_name_written_otherwise_is_found(body: bytes) -> None:
    """A server that takes names more leniently than JSON has them is not fooled."""
    assert found(RESPONSES, body) == [(K.RESPONSE, "resp_1")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":[{"content":[{"file_id":"a","file_id":"b"}]}]}',
        b'{"previous_response_id":"a","x":[1,NaN]}',
        b'{"previous_response_id":"a","x":"\xff"}',
        b'{"previous_response_id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """Where something is named, the provider's parser must read the same name."""
    with pytest.raises(BadRequestError):
        references(RESPONSES, body)


FILE_OF_ANOTHER = {"messages": [{"content": [{"source": {"file_id": "file_1"}}]}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "code_execution_output", **FILE_OF_ANOTHER}, (K.FILE, "file_1")),
        (part(type="tool_use", input={"file_id": "file_1"}), (K.FILE, "file_1")),
        ({"type": "anthropic", "container": "c_1"}, (K.CONTAINER, "c_1")),
    ],
)
def test_a_type_where_it_means_nothing_hides_nothing(
    body: dict[str, Any], expected: tuple[ObjectKind, str]
) -> None:
    """A server that takes what it does not know would still read the rest."""
    assert found(MESSAGES, body) == [expected]


@pytest.mark.parametrize("audio", [{"Audio": {"ID": "a_1"}}, {"audio": {"id": "a_1"}}])
@pytest.mark.parametrize("role", ["role", "Role"])
def test_audio_of_an_earlier_reply_is_found(audio: dict[str, Any], role: str) -> None:
    """In any case of its letters."""
    assert found(CHAT, {"messages": [{role: "assistant", **audio}]}) == [
        (K.AUDIO, "a_1")
    ]


def test_a_data_store_is_found_in_either_spelling() -> None:
    """Google's servers take names in both."""
    for name in ("dataStore", "data_store", "datastore"):
        body = {"tools": [{"retrieval": {"specs": [{name: "projects/p"}]}}]}
        assert found(GEMINI, body) == [(K.VECTOR_STORE, "projects/p")]


def test_so_many_references_and_no_more() -> None:
    """A body cannot ask for more than is looked up."""
    ids = [f"vs_{number}" for number in range(REFERENCES_MAX + 1)]
    tool = {"type": "file_search", "vector_store_ids": ids[:-1]}
    assert len(found(RESPONSES, {"tools": [tool]})) == REFERENCES_MAX
    with pytest.raises(BadRequestError, match="more than 200"):
        found(RESPONSES, {"tools": [{**tool, "vector_store_ids": ids}]})


def test_the_same_object_is_named_once() -> None:
    """However often a body names it."""
    content = [{"type": "input_file", "file_id": "file-1"}] * 3
    assert found(RESPONSES, item(content=content)) == [(K.FILE, "file-1")]


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("resp_68af4030", True),
        ("resp_bG9uZw==", True),
        ("chatcmpl-1:2.3", True),
        ("", False),
        ("..", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("x" * 257, False),
    ],
)
def test_an_id_may_stand_in_a_path_or_is_none(text: str, is_plain: bool) -> None:
    """What is remembered can be written anywhere as it is."""
    assert is_plain_id(text) is is_plain


def test_a_long_prompt_without_references_is_not_parsed() -> None:
    """A megabyte is searched in a small part of the time that its parse takes."""
    text = 'say "file_id", or id. ' * 50_000
    body = json.dumps(part(type="text", text=text)).encode()
    times = []
    for _ in range(5):
        began_s = time.perf_counter()
        assert references(MESSAGES, body) == ()
        times.append(time.perf_counter() - began_s)

    assert min(times) < 0.05
