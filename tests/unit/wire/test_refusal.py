from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.wire.refusal import cut_event, refusal_body
from comptroller.wire.routes import Dialect, Operation
from comptroller.wire.streams import data_of

MESSAGE = "the budget of checkout-assistant is spent; ask Grace Hopper"


def refusal(dialect: str, status: int) -> dict[str, Any]:
    body = refusal_body(dialect, status, "budget_spent", MESSAGE, "01J")
    document = json.loads(body)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
    ],
)
def test_openai_refusals(status: int, kind: str) -> None:
    """OpenAI's clients show `error.message` and keep `error.code`."""
    error = refusal("openai", status)["error"]
    assert error == {
        "message": MESSAGE,
        "type": kind,
        "code": "budget_spent",
        "param": None,
        "request_id": "01J",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (413, "request_too_large"),
        (502, "api_error"),
    ],
)
def test_anthropic_refusals(status: int, kind: str) -> None:
    """Anthropic's clients show `error.message` by its type."""
    document = refusal("anthropic", status)
    assert document["type"] == "error"
    assert document["request_id"] == "01J"
    assert document["error"] == {
        "type": kind,
        "message": MESSAGE,
        "code": "budget_spent",
    }


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"), (502, "INTERNAL")],
)
def test_gemini_refusals(status: int, name: str) -> None:
    """Google's clients show code, status and message, and our code as a reason."""
    error = refusal("gemini", status)["error"]
    assert (error["code"], error["status"], error["message"]) == (status, name, MESSAGE)
    assert error["details"][0]["reason"] == "BUDGET_SPENT"
    assert error["details"][0]["metadata"] == {"request_id": "01J"}


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_cut_ends_a_half_written_event_first(dialect: Dialect) -> None:
    """Wherever a stream is cut, the error is an event of its own."""
    cut = cut_event(dialect, Operation.CHAT, "revoked", MESSAGE)
    first, second, rest = (b"data: half" + cut).split(b"\n\n")
    assert first == b"data: half"
    assert rest == b""
    document = json.loads(data_of(second))
    assert document["error"]["message"] == MESSAGE


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [
        ("openai", "invalid_request_error"),
        ("anthropic", "invalid_request_error"),
        ("gemini", "INVALID_ARGUMENT"),
    ],
)
def test_a_cut_for_a_budget_is_of_the_kind_of_its_refusal(
    dialect: str, kind: str
) -> None:
    """Before a stream and within it, the same code is the same kind of error."""
    for code, expected in (("budget_exhausted", True), ("credential_revoked", False)):
        cut = cut_event(dialect, Operation.CHAT, code, MESSAGE)
        error = json.loads(data_of(cut.strip()))["error"]
        assert (error.get("status", error.get("type")) == kind) is expected


def test_a_cut_message_stream_has_an_error_event() -> None:
    """Anthropic's clients know the event by its name."""
    cut = cut_event("anthropic", Operation.MESSAGES, "revoked", MESSAGE)
    assert cut.lstrip().startswith(b"event: error\ndata: ")
    assert json.loads(data_of(cut.strip()))["type"] == "error"


def test_a_cut_response_fails_and_raises() -> None:
    """Codex shows the failed response, the SDKs raise for the error event."""
    cut = cut_event("openai", Operation.RESPONSES, "revoked", MESSAGE)
    failed, error = (json.loads(data_of(e)) for e in cut.strip().split(b"\n\n"))
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {"code": "revoked", "message": MESSAGE}
    assert error["type"] == "error"
    assert error["error"]["message"] == MESSAGE
