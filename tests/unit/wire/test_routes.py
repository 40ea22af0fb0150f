from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.wire.routes import (
    DEFAULT_PREFIXES,
    LOCAL_OPERATIONS,
    Dialect,
    Operation,
    dialect_of,
    match,
    operation_action,
    upstream_path,
)

SERVED = [
    (b"POST", b"/v1/chat/completions", Dialect.OPENAI, Operation.CHAT, True),
    (b"POST", b"/v1/responses", Dialect.OPENAI, Operation.RESPONSES, True),
    (b"POST", b"/v1/embeddings", Dialect.OPENAI, Operation.EMBEDDINGS, True),
    (b"POST", b"/v1/messages", Dialect.ANTHROPIC, Operation.MESSAGES, True),
    (
        b"POST",
        b"/v1/messages/count_tokens",
        Dialect.ANTHROPIC,
        Operation.COUNT_TOKENS,
        False,
    ),
    (b"GET", b"/v1/models", Dialect.OPENAI, Operation.MODELS, False),
    (b"GET", b"/v1beta/models", Dialect.GEMINI, Operation.MODELS, False),
    (b"GET", b"/healthz", Dialect.OPENAI, Operation.HEALTHZ, False),
    (b"GET", b"/readyz", Dialect.OPENAI, Operation.READYZ, False),
    (b"HEAD", b"/", Dialect.OPENAI, Operation.ROOT, False),
]


@pytest.mark.parametrize(("method", "path", "dialect", "operation", "metered"), SERVED)
def test_served_paths_have_their_route(
    method: bytes, path: bytes, dialect: Dialect, operation: Operation, metered: bool
) -> None:
    """Every path that the gateway serves has its operation, labelled by its path."""
    route = match(method, path)
    assert route is not None
    assert (route.dialect, route.operation) == (dialect, operation)
    assert route.metered is metered
    assert route.label == path.decode()
    assert route.path_model is None


@pytest.mark.parametrize(
    ("action", "operation", "metered"),
    [
        ("generateContent", Operation.GENERATE_CONTENT, True),
        ("streamGenerateContent", Operation.STREAM_GENERATE_CONTENT, True),
        ("countTokens", Operation.GEMINI_COUNT_TOKENS, False),
    ],
)
def test_gemini_paths_name_the_model(
    action: str, operation: Operation, metered: bool
) -> None:
    """A Gemini path gives the model, which its label leaves out."""
    route = match(b"POST", f"/v1beta/models/gemini-2.5-pro:{action}".encode())
    assert route is not None
    assert route.operation is operation
    assert route.path_model == "gemini-2.5-pro"
    assert route.suffix == f"/models/gemini-2.5-pro:{action}"
    assert route.label == f"/v1beta/models/{{model}}:{action}"
    assert route.metered is metered
    assert operation_action(operation) == action


def test_only_gemini_actions_have_a_verb() -> None:
    """Asking for the verb of another operation is a mistake, and raises."""
    with pytest.raises(ValueError, match="chat"):
        operation_action(Operation.CHAT)


@pytest.mark.parametrize("path", [b"/v1/models/gpt-5", b"/v1beta/models/gemini-3"])
def test_one_model_is_answered_here(path: bytes) -> None:
    """A single model's page is a local route with the model's name."""
    route = match(b"GET", path)
    assert route is not None
    assert route.operation in LOCAL_OPERATIONS
    assert route.path_model == path.decode().rpartition("/")[2]
    assert route.label.endswith("/models/{model}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"GET", b"/v1/chat/completions"),
        (b"POST", b"/v1/chat/completions/"),
        (b"POST", b"//v1/chat/completions"),
        (b"POST", b"/v1/../v1/chat/completions"),
        (b"POST", b"/v1/chat%2Fcompletions"),
        (b"POST", b"/V1/chat/completions"),
        (b"POST", b"/v1/files"),
        (b"POST", b"/v1/images/generations"),
        (b"POST", b"/v1beta/models/g:batchGenerateContent"),
        (b"POST", b"/v1beta/models/:generateContent"),
        (b"POST", b"/v1beta/models/../x:generateContent"),
        (b"POST", b"/v1beta/models/a//b:generateContent"),
        (b"POST", b"/v1beta/models/a%2e:generateContent"),
        (b"POST", b"/v1beta/models/" + b"a" * 300 + b":generateContent"),
        (b"POST", b"/v1beta/models/gemini-2.5-pro"),
        (b"GET", b"/v1/models/"),
        (b"GET", b"/v1/models/.."),
        (b"GET", b"/v1/models/a%20b"),
        (b"DELETE", b"/v1/models/ft:gpt"),
        (b"POST", b"/"),
        (b"", b""),
    ],
)
def test_other_paths_have_no_route(method: bytes, path: bytes) -> None:
    """What is not served, encoded or not normal is refused, never guessed."""
    assert match(method, path) is None


@given(st.binary(max_size=60))
def test_matching_never_raises_and_never_passes_a_dot_dot(tail: bytes) -> None:
    """No bytes make the match fail, or give a model that climbs out of its path."""
    route = match(b"POST", b"/v1beta/models/" + tail + b":generateContent")
    if route is not None:
        assert ".." not in route.suffix.split("/")
        assert "%" not in route.suffix


def test_the_upstream_path_carries_the_upstream_name() -> None:
    """Prefix and suffix make the path; Gemini's names the provider's model."""
    chat = match(b"POST", b"/v1/chat/completions")
    gemini = match(b"POST", b"/v1beta/models/alias:countTokens")
    assert chat is not None
    assert gemini is not None
    assert upstream_path(chat, "/api/v1", "x") == "/api/v1/chat/completions"
    path = upstream_path(gemini, DEFAULT_PREFIXES[Dialect.GEMINI], "gemini é/x?")
    assert path == "/v1beta/models/gemini%20%C3%A9/x%3F:countTokens"


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        (b"/v1/messages/batches", Dialect.ANTHROPIC),
        (b"/v1beta/files", Dialect.GEMINI),
        (b"/v1/files", Dialect.OPENAI),
        (b"/", Dialect.OPENAI),
    ],
)
def test_unknown_paths_are_refused_in_their_dialect(
    path: bytes, dialect: Dialect
) -> None:
    """The path tells in whose error shape to say that it is not served."""
    assert dialect_of(path) is dialect


@pytest.mark.parametrize(
    ("method", "tail", "operation", "label"),
    [
        ("GET", "", Operation.GET_RESPONSE, "/v1/responses/{id}"),
        ("DELETE", "", Operation.DELETE_RESPONSE, "/v1/responses/{id}"),
        (
            "POST",
            "/cancel",
            Operation.CANCEL_RESPONSE,
            "/v1/responses/{id}/cancel",
        ),
        (
            "GET",
            "/input_items",
            Operation.RESPONSE_INPUT_ITEMS,
            "/v1/responses/{id}/input_items",
        ),
    ],
)
def test_a_stored_response_is_named_by_its_path(
    method: str, tail: str, operation: Operation, label: str
) -> None:
    """Its id is in no label; the provider's path is the suffix and the tail."""
    route = match(method.encode(), f"/v1/responses/resp_1{tail}".encode())

    assert route is not None
    assert (route.operation, route.label) == (operation, label)
    assert (route.object_id, route.metered) == ("resp_1", False)
    path = upstream_path(route, "/openai/v1", "m") + route.tail
    assert path == f"/openai/v1/responses/resp_1{tail}"


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("GET", "."),
        ("GET", ".."),
        ("GET", "resp_1/"),
        ("GET", "resp_1/cancel"),
        ("POST", "resp_1"),
        ("PUT", "resp_1"),
        ("DELETE", "resp_1/input_items"),
        ("GET", "../files"),
        ("GET", "resp_1/../resp_2"),
        ("GET", "resp%5F1"),
        ("GET", "resp_1\n"),
        ("GET", "x" * 257),
    ],
)
def test_nothing_else_of_a_response_is_served(method: str, rest: str) -> None:
    """No listing, no other action, no path that another server reads otherwise."""
    assert match(method.encode(), f"/v1/responses/{rest}".encode()) is None
