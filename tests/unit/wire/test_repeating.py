"""Which calls may be made again elsewhere, and which not, each for its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.wire.repeating import why_not_elsewhere, why_not_repeated
from comptroller.wire.routes import Route, match

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
GEMINI = "/v1beta/models/m:generateContent"
HI = [{"role": "user", "content": "Hi"}]


def route(path: str, method: bytes = b"POST") -> Route:
    found = match(method, path.encode())
    assert found is not None
    return found


def body_of(path: str, **more: Any) -> bytes:  # noqa: ANN401  JSON
    """A plain body of a route, with what is said besides."""
    plain: dict[str, Any] = {
        CHAT: {"model": "m", "messages": HI},
        RESPONSES: {"model": "m", "input": "Hi"},
        MESSAGES: {"model": "m", "max_tokens": 9, "messages": HI},
        GEMINI: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    }
    return json.dumps({**plain[path], **more}).encode()


def why_not(path: str, status: int = 503, **more: Any) -> str | None:  # noqa: ANN401
    return why_not_repeated(route(path), status, body_of(path, **more))


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, GEMINI])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 520, 529])
def test_generating_a_reply_may_be_asked_again(path: str, status: int) -> None:
    """Nobody has read the first reply, and nothing else was done."""
    assert why_not(path, status) is None


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 408, 413, 504, 524])
def test_an_answer_stands_and_a_timeout_may_be_billed(status: int) -> None:
    """Only 429 and those 5xx whose call has ended lead elsewhere."""
    assert why_not(CHAT, status) is not None


@pytest.mark.parametrize("stored", [{}, {"store": True}, {"store": False}])
def test_a_response_that_is_stored_may_be_asked_again(stored: dict[str, bool]) -> None:
    """A second copy at worst, whose id nobody was told."""
    assert why_not(RESPONSES, **stored) is None


@pytest.mark.parametrize("background", [True, "yes"])
def test_what_goes_on_in_the_background_is_asked_once(background: object) -> None:
    """Streamed or not; anything that is not plainly false counts."""
    assert why_not(RESPONSES, background=background, stream=True) is not None
    assert why_not(RESPONSES, background=False, stream=True) is None


FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
NAMED = {"type": "function", "name": "f", "parameters": {}}
HARMLESS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"tools": [FUNCTION]}),
    (CHAT, {"web_search_options": {}}),
    (RESPONSES, {"tools": [NAMED, {"type": "web_search"}]}),
    (RESPONSES, {"tools": [{"type": "image_generation"}, {"type": "local_shell"}]}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": {}}]}),
    (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    (MESSAGES, {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    (GEMINI, {"tools": [{"functionDeclarations": [{"name": "f"}]}]}),
    (GEMINI, {"tools": [{"googleSearch": {}}, {"urlContext": {}}]}),
]
ACTING: list[tuple[str, dict[str, Any]]] = [
    (RESPONSES, {"tools": [{"type": "mcp", "server_label": "s"}]}),
    (RESPONSES, {"tools": [NAMED, {"type": "code_interpreter"}]}),
    (RESPONSES, {"tools": [{"type": "computer_use_preview"}]}),
    (RESPONSES, {"tools": [{"type": "brand_new"}]}),
    (RESPONSES, {"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}),
    (CHAT, {"tools": [{"type": "mcp"}]}),
    (CHAT, {"plugins": [{"id": "payments"}]}),
    (MESSAGES, {"tools": [{"type": "code_execution_20250522", "name": "c"}]}),
    (MESSAGES, {"tools": [{"type": "computer_20250124", "name": "computer"}]}),
    (MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://m.example"}]}),
    (GEMINI, {"tools": [{"codeExecution": {}}]}),
    (GEMINI, {"tools": [{"computerUse": {}}]}),
]


@pytest.mark.parametrize(("path", "more"), HARMLESS)
def test_tools_that_read_or_run_at_the_client_do_no_harm(
    path: str, more: dict[str, Any]
) -> None:
    """The client runs its own only once it has the reply; a search changes nothing."""
    assert why_not(path, **more) is None


@pytest.mark.parametrize(("path", "more"), ACTING)
def test_tools_that_may_act_at_the_provider_are_used_once(
    path: str, more: dict[str, Any]
) -> None:
    """Servers, code, a computer, and whatever is not known; but 429 did nothing."""
    assert why_not(path, **more) is not None
    assert why_not(path, 429, **more) is None


def test_what_cannot_be_read_for_certain_is_asked_once() -> None:
    """A tool given twice may be read as either; a body that is no JSON as nothing."""
    twice = b'{"model":"m","messages":[],"tools":[{"type":"f","type":"mcp"}]}'

    assert why_not_repeated(route(CHAT), 500, twice) is not None
    assert why_not_repeated(route(CHAT), 500, b"nonsense") is not None


def test_counts_and_embeddings_are_asked_again() -> None:
    """They can do nothing besides."""
    counting = route("/v1/messages/count_tokens")
    embedding = route("/v1/embeddings")

    assert why_not_repeated(counting, 500, body_of(MESSAGES)) is None
    assert why_not_repeated(embedding, 500, b'{"model":"m","input":"Hi"}') is None


ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    (RESPONSES, {"previous_response_id": "resp_1"}),
    (RESPONSES, {"conversation": "conv_1"}),
    (MESSAGES, {"container": "container_1"}),
    (GEMINI, {"cachedContent": "cachedContents/c1"}),
]


@pytest.mark.parametrize(("path", "more"), ELSEWHERE)
def test_what_is_stored_at_one_provider_no_other_one_can_answer(
    path: str, more: dict[str, Any]
) -> None:
    """Another provider does not have the object: its answer would mislead."""
    assert why_not_elsewhere(route(path), body_of(path, **more)) is not None
    assert why_not_elsewhere(route(path), body_of(path)) is None


def test_an_object_in_the_path_is_at_one_provider() -> None:
    """Reading or deleting a stored response leads nowhere else."""
    assert why_not_elsewhere(route("/v1/responses/resp_1", b"GET"), b"") is not None
