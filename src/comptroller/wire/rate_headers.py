"""Rate-limit headers, in the dialect of the caller.

OpenAI: `x-ratelimit-*` with durations such as `1m30s`
(platform.openai.com/docs/guides/rate-limits); Anthropic: `anthropic-ratelimit-*` with
RFC 3339 times (docs.claude.com/en/api/rate-limits). Gemini has none of its own, so
its callers get OpenAI's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from comptroller.core.timestamps import rfc3339
from comptroller.wire.routes import Dialect

_NS: int = 1_000_000_000


class RateState(NamedTuple):
    """How a rate limit stands."""

    unit: str
    """`requests` or `tokens`."""
    limit: int
    remaining: int
    reset_s: float
    """Until all of the limit is there again."""


def rate_headers(dialect: str, states: Sequence[RateState], now_ns: int) -> bytes:
    """Header lines, each with its line break.

    Args:
        dialect: of the route.
        states: of several limits on one unit the tightest is shown.
        now_ns: the time, for dialects that state when and not how long.
    """
    tightest: dict[str, RateState] = {}
    for state in states:
        known = tightest.get(state.unit)
        if known is None or state.remaining < known.remaining:
            tightest[state.unit] = state
    return b"".join(_lines(dialect, state, now_ns) for state in tightest.values())


def _lines(dialect: str, state: RateState, now_ns: int) -> bytes:
    unit = state.unit.encode()
    if dialect == Dialect.ANTHROPIC:
        moment = rfc3339(now_ns + ceil(state.reset_s) * _NS)[:19] + "Z"
        return (
            b"anthropic-ratelimit-%b-limit: %d\r\n"
            b"anthropic-ratelimit-%b-remaining: %d\r\n"
            b"anthropic-ratelimit-%b-reset: %b\r\n"
            % (unit, state.limit, unit, state.remaining, unit, moment.encode())
        )
    return (
        b"x-ratelimit-limit-%b: %d\r\n"
        b"x-ratelimit-remaining-%b: %d\r\n"
        b"x-ratelimit-reset-%b: %b\r\n"
        % (unit, state.limit, unit, state.remaining, unit, _duration(state.reset_s))
    )


def _duration(seconds: float) -> bytes:
    minutes, rest = divmod(ceil(seconds * 1000), 60_000)
    if minutes:
        return b"%dm%ds" % (minutes, -(-rest // 1000))
    if rest < 1000:
        return b"%dms" % rest
    return b"%d.%03ds" % divmod(rest, 1000)
