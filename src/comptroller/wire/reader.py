"""Readers: what a dialect's replies mean. The meters feed them whole documents."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from comptroller.core.usage import Reading
from comptroller.wire.counts import UNREADABLE, repaired


class Reader(Protocol):
    """Reads one reply of one dialect, from its events or from its body."""

    def event(self, payload: bytes) -> bool:
        """Takes one server-sent event's data, whole.

        Returns:
            True when it is nothing but the usage of a stream that was asked
            for it, so that it may be taken out.
        """

    def body(self, data: bytes) -> None:
        """Takes the whole body of a reply that is not an event stream."""

    def reading(self) -> Reading:
        """What has been read."""


def decode(data: bytes, *decoders: msgspec.json.Decoder[Any]) -> Any:  # noqa: ANN401  one of the decoders' types
    """Decodes with the first decoder that can; None: none could.

    Args:
        data: one JSON document.
        decoders: the precise one first; the last asks for next to nothing.
    """
    for decoder in decoders:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError:
            continue
        except UNREADABLE:
            break
    fixed = repaired(data)
    if fixed is None:
        return None
    for decoder in decoders:
        try:
            return decoder.decode(fixed)
        except UNREADABLE:
            continue
    return None
