"""Coded replies: a provider that compresses although it was asked not to.

The client gets the bytes as they came and the meter gets them decoded; but where
a chunk is to be taken out, the client gets them decoded, too.
"""

from __future__ import annotations

import zlib
from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.meter import Meter

DECODED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Beyond this nothing more is decoded: the usage is then estimated."""

_MAGIC: Final = b"\x1f\x8b"
"""What gzip begins with."""


class CodingError(Exception):
    """The provider's reply is not what its Content-Encoding says."""


class DecodingMeter:
    """Meters what coded bytes decode to.

    Args:
        meter: of the decoded reply.
        window_bits: of `zlib.decompressobj`.
        undo: whether the client gets the decoded bytes as the meter passes them
            on; else it gets the bytes as they came.
    """

    def __init__(self, meter: Meter, window_bits: int, *, undo: bool = False) -> None:
        self._meter = meter
        self._window_bits = window_bits
        self._undo = undo
        self._inflate = zlib.decompressobj(window_bits)
        self._begun = b""
        self._is_plain: bool | None = None if window_bits > zlib.MAX_WBITS else False
        self._is_between = False
        """Whether a member has ended and no other has begun."""
        self._left = DECODED_BYTES_MAX
        self._readable = True

    def feed(self, data: bytes) -> bytes:
        """Takes the next coded bytes; returns what to forward now.

        Raises:
            CodingError: they are to be decoded for the client, and cannot be.
        """
        out = self._meter.feed(self._plain(data)) if self._readable else b""
        if not self._undo:
            return data
        if not self._readable:
            raise CodingError("the reply is not what its Content-Encoding says")
        return out

    def finish(self) -> tuple[bytes, Reading]:
        """Ends the reply."""
        out = b""
        if self._is_plain is None:  # shorter than the mark of its coding
            out = self._meter.feed(self._begun)
        rest, reading = self._meter.finish()
        if not self._readable:
            reading = reading._replace(complete=False)
        return out + rest if self._undo else b"", reading

    def _plain(self, data: bytes) -> bytes:
        if self._is_plain is None:
            # Some proxies decode a reply and leave its label on.
            data = self._begun + data
            self._begun = data
            if len(data) < len(_MAGIC):
                return b""
            self._is_plain = not data.startswith(_MAGIC)
            self._begun = b""
        return data if self._is_plain else self._inflated(data)

    def _inflated(self, data: bytes) -> bytes:
        parts = []
        if self._is_between:
            data = data.lstrip(b"\0")
        try:
            while data and self._left > 0:
                part = self._inflate.decompress(data, self._left)
                parts.append(part)
                self._left -= len(part)
                data = self._inflate.unconsumed_tail
                self._is_between = self._inflate.eof
                if self._is_between:
                    # gzip may have many members, and padding behind the last.
                    data = self._inflate.unused_data.lstrip(b"\0")
                    self._inflate = zlib.decompressobj(self._window_bits)
        except zlib.error:
            self._readable = False
        if data:
            self._readable = False
        return b"".join(parts)


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


def decoding(coding: bytes, meter: Meter, *, undo: bool) -> tuple[Meter, bytes]:
    """The meter for a reply with a content coding.

    Args:
        coding: as the reply's head names it.
        meter: of the decoded reply.
        undo: whether the client is to get it decoded.

    Returns:
        The meter, and the coding in which the client gets the reply; none: empty.
    """
    name = coding.strip().lower()
    if name in (b"", b"identity"):
        return meter, coding
    if name in (b"gzip", b"x-gzip"):
        window_bits = zlib.MAX_WBITS | 16
    elif name == b"deflate":
        window_bits = zlib.MAX_WBITS
    else:
        return OpaqueMeter(), coding
    return DecodingMeter(meter, window_bits, undo=undo), b"" if undo else coding
