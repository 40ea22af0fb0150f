"""Who a request's end user is, by the fields that providers have for that."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from comptroller.wire.routes import Dialect, Route

END_USER_CHARS_MAX: Final = 512
"""Twice what any provider takes. What is longer is no id, and is not read as one."""


class _OpenAI(msgspec.Struct):
    safety_identifier: Any = None
    user: Any = None
    """Its older name."""


class _Anthropic(msgspec.Struct):
    metadata: Any = None


_openai: Final = msgspec.json.Decoder(_OpenAI).decode
_anthropic: Final = msgspec.json.Decoder(_Anthropic).decode


def end_user(route: Route, body: bytes) -> str | None:
    """The end user as a request names it: OpenAI's and Anthropic's fields.

    Args:
        route: of the request.
        body: whole and decoded.

    Returns:
        The id as given; None: the request names none, or none that can be one.
    """
    try:
        if route.dialect is Dialect.OPENAI:
            said = _openai(body)
            found = said.safety_identifier
            if not isinstance(found, str) or not found:
                found = said.user
        elif route.dialect is Dialect.ANTHROPIC:
            metadata = _anthropic(body).metadata
            found = metadata.get("user_id") if isinstance(metadata, dict) else None
        else:
            return None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(found, str) or not 0 < len(found) <= END_USER_CHARS_MAX:
        return None
    return found
