"""Coded replies: a provider that compresses although it was asked not to.

The client gets the bytes as they came; the meter gets them decoded.
"""

from __future__ import annotations

import zlib
from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.meter import Meter

DECODED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Beyond this nothing more is decoded: the usage is then estimated."""


class DecodingMeter:
    """Passes coded bytes on and meters what they decode to."""

    def __init__(self, meter: Meter, window_bits: int) -> None:
        self._meter = meter
        self._inflate = zlib.decompressobj(window_bits)
        self._left = DECODED_BYTES_MAX
        self._readable = True

    def feed(self, data: bytes) -> bytes:
        """Returns the bytes as they came."""
        if self._readable and self._left > 0:
            try:
                plain = self._inflate.decompress(data, self._left)
            except zlib.error:
                self._readable = False
            else:
                self._left -= len(plain)
                self._meter.feed(plain)
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply; nothing was held back."""
        _, reading = self._meter.finish()
        if not self._readable:
            reading = reading._replace(complete=False)
        return b"", reading


class OpaqueMeter:
    """A coding that we cannot read: the caller estimates and flags."""

    def __init__(self) -> None:
        self._bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Returns the bytes as they came."""
        self._bytes += len(data)
        return data

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply; how much was generated is taken from its size."""
        return b"", Reading((), None, None, None, (), None, self._bytes, complete=False)


def decoding(coding: bytes, meter: Meter) -> Meter:
    """The meter for a reply with this content coding."""
    name = coding.strip().lower()
    if name in (b"", b"identity"):
        return meter
    if name in (b"gzip", b"x-gzip"):
        return DecodingMeter(meter, zlib.MAX_WBITS | 16)
    if name == b"deflate":
        return DecodingMeter(meter, zlib.MAX_WBITS)
    return OpaqueMeter()
