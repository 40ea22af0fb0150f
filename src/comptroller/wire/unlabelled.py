"""The unlabelled meter: reads a reply whose content type does not tell its form.

Providers stream events as `application/json` or without any type, and answer a
request for a stream with one JSON document. The first byte tells: no event begins
with a bracket.
"""

from __future__ import annotations

from comptroller.core.usage import Reading
from comptroller.wire.bodies import BodyMeter, is_document
from comptroller.wire.meter import Meter
from comptroller.wire.reader import Reader
from comptroller.wire.streams import StreamMeter


class UnlabelledMeter:
    """Reads an event stream or a body, whichever the reply turns out to be.

    Args:
        reader: what the reply means.
        strip_usage: as for `StreamMeter`, should it be a stream.
    """

    __slots__ = ("_meter", "_reader", "_strips")

    def __init__(self, reader: Reader, *, strip_usage: bool) -> None:
        self._reader = reader
        self._strips = strip_usage
        self._meter: Meter | None = None

    def feed(self, data: bytes) -> bytes:
        """Chooses at the first byte that is no space; then does as chosen."""
        meter = self._meter
        if meter is None:
            if not data.strip():
                return data  # Means nothing, in events as in JSON.
            if is_document(data):
                meter = BodyMeter(self._reader)
            else:
                meter = StreamMeter(self._reader, strip_usage=self._strips)
            self._meter = meter
        return meter.feed(data)

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply."""
        if self._meter is None:
            return b"", self._reader.reading()
        return self._meter.finish()
