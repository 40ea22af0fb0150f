"""Incoming: what the head of a provider's reply decides about the rest of it."""

from __future__ import annotations

from typing import NamedTuple

from comptroller.engine.verdicts import Admitted
from comptroller.gateway import heads
from comptroller.gateway.coding import decoding
from comptroller.gateway.outward import without
from comptroller.wire.meter import Meter
from comptroller.wire.meters import is_event_stream, meter_for
from comptroller.wire.rate_headers import rate_headers


class Incoming(NamedTuple):
    """How a reply is read, and what of its head goes on to the client."""

    meter: Meter
    head: bytes
    """Header lines for the client, without a status line."""
    is_stream: bool
    takes_events: bool
    """Whether the reply is made of events, so that one more can end it."""


def incoming(
    admitted: Admitted, status: int, headers: list[tuple[bytes, bytes]], now_ns: int
) -> Incoming:
    """Chooses the meter, and the headers to pass on.

    Args:
        admitted: the request that it replies to.
        status: of the reply.
        headers: as the provider sent them.
        now_ns: the time.
    """
    head = heads.reply_head(headers)
    content_type, coding = head.content_type, head.coding
    entitlement = admitted.entitlement
    route = entitlement.route
    # Some providers do not label their streams; what is asked for tells, too.
    is_stream = is_event_stream(content_type) or (
        admitted.facts.stream and status < 400
    )
    strip = admitted.strip_usage
    meter = meter_for(
        route, streaming=is_stream, content_type=content_type, strip_usage=strip
    )
    if coding:
        meter, coding = decoding(coding, meter, undo=strip and is_stream)
        head = heads.reply_head(headers, keep_coding=bool(coding))
    takes_events = is_stream and not coding and b"json" not in content_type
    lines = without(entitlement.key, head.lines)
    stands = admitted.rates()
    if stands:
        lines = heads.with_rates(lines, rate_headers(route.dialect, stands, now_ns))
    if admitted.notes:
        lines = admitted.notes + lines
    return Incoming(meter, lines, is_stream, takes_events)
