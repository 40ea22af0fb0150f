"""Which meter reads a reply."""

from __future__ import annotations

from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.anthropic_messages import MessagesReader
from comptroller.wire.bodies import BodyMeter
from comptroller.wire.gemini_content import ContentReader
from comptroller.wire.meter import Meter
from comptroller.wire.openai_chat import ChatReader
from comptroller.wire.openai_embeddings import EmbeddingsReader
from comptroller.wire.openai_responses import ResponsesReader
from comptroller.wire.reader import Reader
from comptroller.wire.routes import Operation, Route
from comptroller.wire.streams import StreamMeter
from comptroller.wire.unlabelled import UnlabelledMeter


class Unmetered:
    """Passes everything on and reads nothing: the operation consumes nothing."""

    def feed(self, data: bytes) -> bytes:
        """Returns the bytes as they came."""
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply; there is no usage."""
        return b"", Reading((), None, None, None, (), None, 0, complete=True)


_READERS: Final[dict[Operation, type[Reader]]] = {
    Operation.CHAT: ChatReader,
    Operation.RESPONSES: ResponsesReader,
    Operation.EMBEDDINGS: EmbeddingsReader,
    Operation.MESSAGES: MessagesReader,
    Operation.GENERATE_CONTENT: ContentReader,
    Operation.STREAM_GENERATE_CONTENT: ContentReader,
}


def meter_for(
    route: Route, *, streaming: bool, content_type: bytes, strip_usage: bool
) -> Meter:
    """Chooses the meter of a reply.

    Args:
        route: the request's route.
        streaming: whether the request asked for a stream; then the bytes decide
            where the content type does not say that it is one.
        content_type: of the reply; empty when it has none.
        strip_usage: whether the usage chunk of a chat stream is taken out, as
            `request.prepare` said.
    """
    reader = _READERS.get(route.operation)
    if reader is None:
        return Unmetered()
    if is_event_stream(content_type):
        return StreamMeter(reader(), strip_usage=strip_usage)
    if streaming:
        return UnlabelledMeter(reader(), strip_usage=strip_usage)
    return BodyMeter(reader())


def is_event_stream(content_type: bytes) -> bool:
    """Whether a reply says that it is a stream of server-sent events."""
    return b"text/event-stream" in content_type.lower()
