"""The body meter: reads a reply that is one JSON document, at its end."""

from __future__ import annotations

from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.reader import Reader
from comptroller.wire.streams import StreamMeter

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a longer body nothing is read; large embeddings stay below."""

_BRACKETS: Final = (b"{", b"[")
_BEFORE: Final = b" \t\r\n\xef\xbb\xbf"
"""Spaces, and the bytes of a byte order mark."""


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
        if is_document(data):
            self._reader.body(data)
            reading = self._reader.reading()
        else:
            # Perhaps an event stream, whose content type says otherwise.
            stream = StreamMeter(self._reader)
            stream.feed(data)
            reading = stream.finish()[1]
        if not (reading.passes or reading.complete or reading.output_bytes):
            # Nothing of it can be read: what it weighs is all there is to go by.
            reading = reading._replace(output_bytes=self._bytes)
        return b"", reading


def is_document(data: bytes) -> bool:
    """Whether a reply that begins so is JSON, and no event stream."""
    return data[:1] in _BRACKETS or data.lstrip(_BEFORE).startswith(_BRACKETS)
