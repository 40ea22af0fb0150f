"""Which meter reads a reply."""

from __future__ import annotations

from comptroller.core.usage import Reading
from comptroller.wire.meter import Meter
from comptroller.wire.openai_chat import ChatBody
from comptroller.wire.routes import Operation, Route


class Unmetered:
    """Passes everything on and reads nothing."""

    def feed(self, data: bytes) -> bytes:
        """Returns the bytes as they came."""
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply; there is no usage."""
        return b"", Reading((), None, None, None, (), None, 0, complete=True)


def meter_for(
    route: Route, *, streaming: bool, content_type: bytes, strip_usage: bool
) -> Meter:
    """Chooses the meter of a reply.

    Args:
        route: the request's route.
        streaming: whether the request asked for a stream; decides only where the
            content type does not.
        content_type: of the reply; empty when it has none.
        strip_usage: whether the usage chunk of a chat stream is taken out.
    """
    del streaming, content_type, strip_usage
    if route.operation is Operation.CHAT:
        return ChatBody()
    return Unmetered()
