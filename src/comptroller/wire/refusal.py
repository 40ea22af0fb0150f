"""Refusals in the caller's dialect: error bodies, and errors inside a stream."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.wire.routes import Dialect, Operation

_OPENAI_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GEMINI_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def refusal_body(
    dialect: str, status: int, code: str, message: str, request_id: str
) -> bytes:
    """Writes an error body that the dialect's clients show to a person.

    Args:
        dialect: `openai`, `anthropic` or `gemini`.
        status: the HTTP status it goes with.
        code: our stable code, such as `bad_request`.
        message: what is wrong and what to do.
        request_id: the id under which the request is recorded.
    """
    document: dict[str, Any]
    if dialect == Dialect.ANTHROPIC:
        document = {
            "type": "error",
            "error": {
                "type": _ANTHROPIC_TYPES.get(status, "api_error"),
                "message": message,
                "code": code,
            },
            "request_id": request_id,
        }
    elif dialect == Dialect.GEMINI:
        document = {
            "error": {
                "code": status,
                "message": message,
                "status": _GEMINI_STATUSES.get(status, "INTERNAL"),
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": code.upper(),
                        "domain": "comptroller",
                        "metadata": {"request_id": request_id},
                    }
                ],
            }
        }
    else:
        document = {
            "error": {
                "message": message,
                "type": _OPENAI_TYPES.get(status, "server_error"),
                "code": code,
                "param": None,
                "request_id": request_id,
            }
        }
    return msgspec.json.encode(document)


def cut_event(dialect: str, operation: str, code: str, message: str) -> bytes:
    """Writes what ends a stream before its time, as the client shows it.

    Args:
        dialect: `openai`, `anthropic` or `gemini`.
        operation: the route's operation; Responses has events of its own.
        code: our stable code, such as `revoked`.
        message: what happened and what to do.
    """
    # A cut may fall inside an event: the blank line ends that one first.
    return b"\n\n" + b"".join(
        (b"event: %b\n" % name if name else b"")
        + b"data: "
        + msgspec.json.encode(document)
        + b"\n\n"
        for name, document in _cut_documents(dialect, operation, code, message)
    )


def _cut_documents(
    dialect: str, operation: str, code: str, message: str
) -> list[tuple[bytes, dict[str, Any]]]:
    """The names and the data of the events that end a stream."""
    error: dict[str, Any]
    # As the same refusal is before a stream has begun.
    is_budget = code == "budget_exhausted"
    kind = "invalid_request_error" if is_budget else "permission_error"
    if dialect == Dialect.ANTHROPIC:
        error = {"type": kind, "message": message, "code": code}
        return [(b"error", {"type": "error", "error": error})]
    if dialect == Dialect.GEMINI:
        error = {"code": 403, "message": message, "status": "PERMISSION_DENIED"}
        if is_budget:
            error |= {"code": 400, "status": "INVALID_ARGUMENT"}
        return [(b"", {"error": error})]
    error = {
        "message": message,
        "type": kind,
        "code": code,
        "param": None,
    }
    if operation != Operation.RESPONSES:
        return [(b"", {"error": error})]
    # Codex shows the error of a failed response; the SDKs raise for `error`.
    failed = {
        "object": "response",
        "status": "failed",
        "error": {"code": code, "message": message},
    }
    stop = {"type": "error", "code": code, "message": message, "param": None}
    return [
        (b"response.failed", {"type": "response.failed", "response": failed}),
        (b"error", stop | {"error": error}),
    ]
