"""Upstream buckets: a provider that says 429 is left alone for as long as it says.

They are apart from our own limits: what a provider refuses charges nobody's rate.
Each worker learns by itself; what one has learnt is at most so old as it said.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

CLOSED_S_MAX: Final = 60.0
"""A provider that asks for more is asked again after this."""
BUCKETS_MAX: Final = 10_000


class UpstreamBuckets:
    """Which providers' models take no requests at present."""

    def __init__(self) -> None:
        self.closed: dict[tuple[str, str], int] = {}
        """Provider and its name of the model, until when."""

    def refused(self, bucket: tuple[str, str], retry_after: bytes, now_ns: int) -> None:
        """A provider refused a request for its rate.

        Args:
            bucket: provider and its name of the model.
            retry_after: the header, seconds or a date (RFC 9110 §10.2.3).
            now_ns: the time.
        """
        wait_s = seconds_of(retry_after, now_ns)
        if wait_s > 0 and len(self.closed) < BUCKETS_MAX:
            self.closed[bucket] = now_ns + int(min(wait_s, CLOSED_S_MAX) * 1e9)

    def wait_s(self, bucket: tuple[str, str], now_ns: int) -> float:
        """How long a provider's model is to be left alone; 0: not at all."""
        until_ns = self.closed.get(bucket)
        if until_ns is None:
            return 0.0
        if now_ns >= until_ns:
            del self.closed[bucket]
            return 0.0
        return (until_ns - now_ns) / 1e9


def seconds_of(retry_after: bytes, now_ns: int) -> float:
    """The seconds that a Retry-After header asks for; 0: it cannot be read."""
    text = retry_after.decode("latin-1").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_ns / 1e9)
