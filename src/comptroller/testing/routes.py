"""Routes for tests, one a kind of request."""

from __future__ import annotations

from typing import Final

from comptroller.wire.routes import Route, match


def route_of(path: str) -> Route:
    """The route of what is posted to a path.

    Raises:
        ValueError: the gateway does not serve it.
    """
    route = match(b"POST", path.encode())
    if route is None:
        raise ValueError(f"nothing is served at {path}")
    return route


CHAT: Final = route_of("/v1/chat/completions")
RESPONSES: Final = route_of("/v1/responses")
EMBEDDINGS: Final = route_of("/v1/embeddings")
MESSAGES: Final = route_of("/v1/messages")
GEMINI: Final = route_of("/v1beta/models/gemini-2.5-pro:generateContent")
