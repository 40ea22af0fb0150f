"""One request of a client, over a socket, and the id of what became of it."""

from __future__ import annotations

import http.client
import json

TIMEOUT_S = 20.0


def chat(port: int, key: str, *, status: int = 200, **members: object) -> str:
    """Asks for a chat, and reads the answer to its end.

    Args:
        port: of a gateway on this machine.
        key: the credential's secret.
        status: of the answer; another is an error.
        members: of the body, beside or in place of the model `chat` and a message.

    Returns:
        The request's id, as records write it.

    Raises:
        AssertionError: the answer has another status.
    """
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": "chat", "messages": messages, **members})
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        link.request("POST", "/v1/chat/completions", body, {"x-api-key": key})
        reply = link.getresponse()
        answer = reply.read()
    finally:
        link.close()
    if reply.status != status:
        raise AssertionError(f"{reply.status}: {answer!r}")
    return str(reply.headers["x-comptroller-request-id"]).upper()
