"""The stream meter: cuts a reply into server-sent events while it passes.

Events are found as https://html.spec.whatwg.org/multipage/server-sent-events.html
defines them: LF, CRLF or CR, comments, data on several lines, a byte order mark.
"""

from __future__ import annotations

import re
from typing import Final

from comptroller.core.usage import Reading
from comptroller.wire.reader import Reader

EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
"""A longer event is passed on unread."""

# Atomic, so that the LF of one CRLF is not taken for a line end of its own.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_TAIL_BYTES: Final = 3
_BOM: Final = b"\xef\xbb\xbf"


class StreamMeter:
    """Reads an event stream.

    Args:
        reader: what the events mean.
        strip_usage: whether to take the event out that only states the usage.
        event_bytes_max: how much of one event is kept at the most.
    """

    __slots__ = (
        "_event_bytes_max",
        "_held",
        "_held_bytes",
        "_is_skipping",
        "_reader",
        "_skipped_bytes",
        "_strips",
        "_tail",
    )

    def __init__(
        self,
        reader: Reader,
        *,
        strip_usage: bool = False,
        event_bytes_max: int = EVENT_BYTES_MAX,
    ) -> None:
        self._reader = reader
        self._strips = strip_usage
        self._event_bytes_max = event_bytes_max
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._tail = b""
        self._is_skipping = False
        self._skipped_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Reads the events that end in these bytes; see `wire.meter.Meter`."""
        if self._is_skipping:
            passed = self._skip(data)
        elif self._held:
            passed = self._resume(data)
        else:
            if data.startswith(b"data: ") and data.endswith(b"\n\n"):
                payload = data[6:-2]
                if b"\n" not in payload and b"\r" not in payload:
                    # Exactly one event, as most providers send them.
                    is_usage = self._reader.event(payload)
                    return b"" if is_usage and self._strips else data
            passed = self._take(data)
        return passed if self._strips else data

    def finish(self) -> tuple[bytes, Reading]:
        """Reads what is left as an event: some streams end without a blank line."""
        rest = b"".join(self._held)
        self._held = []
        is_dropped = False
        if rest.lstrip(b"\r\n").startswith(b"{"):
            self._reader.body(rest)
        elif rest:
            is_dropped = self._read(data_of(rest))
        keeps = self._strips and not is_dropped
        reading = self._reader.reading()
        if self._skipped_bytes and not reading.passes:
            # Unread, and yet generated: for an estimate it counts as text.
            seen = reading.output_bytes + self._skipped_bytes
            reading = reading._replace(output_bytes=seen)
        return rest if keeps else b"", reading

    def output_bytes(self) -> int:
        """Bytes of generated text until now: at least as many as tokens."""
        return self._reader.reading().output_bytes + self._skipped_bytes

    def _take(self, data: bytes) -> bytes:
        """Reads bytes that begin with an event; returns those that may pass."""
        if b"\r" in data:
            return self._take_mixed(data)
        events = data.split(b"\n\n")
        rest = events.pop()
        read = self._read
        dropped = [
            index
            for index, event in enumerate(events)
            if read(
                event[6:]
                if event.startswith(b"data: ") and b"\n" not in event
                else data_of(event)
            )
        ]
        late = self._hold(rest) if rest else b""
        if not dropped:
            return data[: len(data) - len(rest)] + late if rest else data
        kept = [e + b"\n\n" for i, e in enumerate(events) if i not in dropped]
        return b"".join((*kept, late))

    def _take_mixed(self, data: bytes) -> bytes:
        """As `_take`, where lines end with CR or CRLF, or a CR is in the text."""
        kept: list[bytes] = []
        start = 0
        for blank in _BLANK_LINE.finditer(data):
            end = blank.end()
            if end == len(data) and data.endswith(b"\r"):
                break  # The LF of this CR may still be under way.
            if not self._read(data_of(data[start : blank.start()])):
                kept.append(data[start:end])
            start = end
        rest = data[start:]
        if rest:
            kept.append(self._hold(rest))
        return b"".join(kept)

    def _resume(self, data: bytes) -> bytes:
        """Goes on with an event of which a part is held."""
        seam = self._tail + data
        if _ends_an_event(seam):
            whole = b"".join((*self._held, data))
            self._held = []
            self._held_bytes = 0
            return self._take(whole)
        return self._hold(data)

    def _skip(self, data: bytes) -> bytes:
        """Passes the rest of an event that is too big to be read."""
        seam = self._tail + data
        if not _ends_an_event(seam):
            self._tail = seam[-_TAIL_BYTES:]
            self._skipped_bytes += len(data)
            return data
        blank = _BLANK_LINE.search(seam)
        end = blank.end() - len(self._tail) if blank is not None else len(data)
        end = max(end, 0)
        self._is_skipping = False
        self._skipped_bytes += end
        rest = data[end:]
        return data[:end] + (self._take(rest) if rest else b"")

    def _hold(self, data: bytes) -> bytes:
        """Keeps a part of an event, or gives it up; returns what may pass."""
        self._held.append(data)
        self._held_bytes += len(data)
        self._tail = (
            (self._tail + data)[-_TAIL_BYTES:]
            if self._held[1:]
            else (data[-_TAIL_BYTES:])
        )
        if self._held_bytes <= self._event_bytes_max:
            return b""
        passed = b"".join(self._held)
        self._skipped_bytes += len(passed)
        self._held = []
        self._held_bytes = 0
        self._is_skipping = True
        return passed

    def _read(self, payload: bytes) -> bool:
        """Reads one event's data; True: it is to be taken out."""
        return bool(payload) and self._reader.event(payload) and self._strips


def data_of(event: bytes) -> bytes:
    """The data of one event, its lines joined by LF; empty: it has none."""
    if event.startswith(b"event: "):
        line = event.find(b"\n") + 1
        if line and event.startswith(b"data: ", line) and b"\r" not in event:
            end = event.find(b"\n", line)
            if end < 0:
                return event[line + 6 :]
    lines = event.removeprefix(_BOM).splitlines()
    return b"\n".join(
        line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")
    )


def _ends_an_event(seam: bytes) -> bool:
    blank = _BLANK_LINE.search(seam)
    if blank is None:
        return False
    return not (blank.end() == len(seam) and seam.endswith(b"\r"))
