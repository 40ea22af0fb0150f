"""Every recorded exchange of our dialects, read by the meters alone.

The same exchanges go through a real gateway process elsewhere; this run needs
seconds, and says whether a difference lies in the meters.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import cycle

import pytest
from tests.acceptance.exchanges import (
    DIFFERENCES,
    PATHS,
    Differences,
    Exchange,
    compare,
    recorded,
    reviewed,
)

from comptroller.core.usage import Reading, merge
from comptroller.wire.meters import meter_for
from comptroller.wire.routes import Route, match


def read(exchange: Exchange) -> Reading:
    """Feeds a reply in pieces of odd sizes, and holds the meter to its bytes."""
    route = match(b"POST", PATHS[exchange.wire].format(model="m").encode())
    assert isinstance(route, Route)
    kind = b"text/event-stream" if exchange.is_event_stream else b"application/json"
    meter = meter_for(
        route, streaming=exchange.stream, content_type=kind, strip_usage=False
    )
    data = exchange.reply
    sizes = cycle(
        size * size // 16 + 1 for size in hashlib.sha256(exchange.id.encode()).digest()
    )
    passed = []
    at = 0
    while at < len(data):
        size = next(sizes)
        passed.append(meter.feed(data[at : at + size]))
        at += size
    rest, reading = meter.finish()
    assert b"".join((*passed, rest)) == data
    return reading


def differences(exchange: Exchange) -> Differences:
    """Field by field, what was expected and what the meter read."""
    reading = read(exchange)
    if exchange.expected is None:
        return {"passes": [0, len(reading.passes)]} if reading.passes else {}
    usage = merge(reading.passes)
    return compare(
        exchange, usage, reading.stated_cost_nano_usd, reading.model_answered
    )


@pytest.mark.timeout(300)
def test_every_recorded_exchange_is_metered_as_expected() -> None:
    """All that two parsers agree on is exact, and every difference was reviewed."""
    found: dict[str, Differences] = {}
    tally: Counter[str] = Counter()
    for exchange in recorded():
        tally["replayed"] += 1
        tally["rebuilt from the usage alone"] += exchange.body is None
        differing = differences(exchange)
        tally["different" if differing else "exact"] += 1
        if differing:
            found[exchange.id] = differing
    print(dict(tally))
    listed = reviewed(DIFFERENCES)
    assert tally["replayed"] > 3_000
    assert found == {name: entry["differences"] for name, entry in listed.items()}
