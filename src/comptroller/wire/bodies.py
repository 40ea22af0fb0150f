"""The body meter: reads a reply that is one JSON document, at its end."""

from __future__ import annotations

from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.reader import Reader
from comptroller.wire.streams import StreamMeter

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a longer body nothing is read; large embeddings stay below."""


class BodyMeter:
    """Collects a body while it passes, and reads it when it has ended.

    Args:
        reader: what the body means.
        body_bytes_max: how much is collected at the most.
    """

    __slots__ = ("_body_bytes_max", "_bytes", "_parts", "_reader")

    def __init__(self, reader: Reader, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._reader = reader
        self._body_bytes_max = body_bytes_max
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Keeps the bytes and passes them on."""
        self._bytes += len(data)
        if self._bytes <= self._body_bytes_max:
            self._parts.append(data)
        else:
            self._parts.clear()
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Reads the whole body."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        if data.startswith((b"data:", b"event:", b":")):
            # An event stream whose content type says otherwise.
            stream = StreamMeter(self._reader)
            stream.feed(data)
            return b"", stream.finish()[1]
        if data:
            self._reader.body(data)
        return b"", self._reader.reading()
