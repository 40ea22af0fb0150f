from __future__ import annotations

import json

import pytest

from comptroller.wire.end_user import END_USER_CHARS_MAX, end_user
from comptroller.wire.routes import match

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


def named(path: str, body: bytes) -> str | None:
    route = match(b"POST", path.encode())
    assert route is not None
    return end_user(route, body)


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/embeddings"])
def test_openai_names_its_end_user_by_either_field(path: str) -> None:
    """`safety_identifier` goes before `user`, its older name."""
    assert named(path, b'{"user":"ada","safety_identifier":"hash-1"}') == "hash-1"
    assert named(path, b'{"user":"ada"}') == "ada"
    assert named(path, b'{"user":"ada","safety_identifier":null}') == "ada"


def test_anthropic_names_its_end_user_in_the_metadata() -> None:
    """`metadata.user_id`; an OpenAI field in its dialect is none."""
    assert named(MESSAGES, b'{"metadata":{"user_id":"u-1"}}') == "u-1"
    assert named(MESSAGES, b'{"user":"ada"}') is None
    assert named(CHAT, b'{"metadata":{"user_id":"u-1"}}') is None


@pytest.mark.parametrize(
    "value", [None, 7, "", [], {}, "x" * (END_USER_CHARS_MAX + 1)], ids=repr
)
def test_what_cannot_be_an_id_is_none(value: object) -> None:
    """Neither another type nor a text too long for an id is taken for one."""
    assert named(CHAT, json.dumps({"user": value}).encode()) is None
    said = {"metadata": {"user_id": value}}
    assert named(MESSAGES, json.dumps(said).encode()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"metadata":7}', b'{"metadata":' + b"[" * 5000, b'{"user":"\xff"}'],
)
def test_a_body_that_cannot_be_read_names_nobody(body: bytes) -> None:
    """Whatever a client sends, nothing is raised."""
    assert named(CHAT, body) is None
    assert named(MESSAGES, body) is None
