"""Rate-limit headers say the same in each dialect's own way."""

import pytest

from comptroller.wire.rate_headers import RateState, rate_headers
from comptroller.wire.routes import Dialect

NOON_NS = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z


def test_openai_callers_get_durations() -> None:
    """x-ratelimit-* with the limit, what remains, and how long until it is full."""
    state = RateState("requests", 600, 12, 90.2)
    assert rate_headers(Dialect.OPENAI, (state,), NOON_NS).split(b"\r\n") == [
        b"x-ratelimit-limit-requests: 600",
        b"x-ratelimit-remaining-requests: 12",
        b"x-ratelimit-reset-requests: 1m31s",
        b"",
    ]


def test_anthropic_callers_get_moments() -> None:
    """anthropic-ratelimit-* with an RFC 3339 time, never too early."""
    state = RateState("tokens", 1000, 0, 1.2)
    assert rate_headers(Dialect.ANTHROPIC, (state,), NOON_NS).split(b"\r\n") == [
        b"anthropic-ratelimit-tokens-limit: 1000",
        b"anthropic-ratelimit-tokens-remaining: 0",
        b"anthropic-ratelimit-tokens-reset: 2026-11-21T12:00:02Z",
        b"",
    ]


def test_the_tightest_limit_of_a_unit_is_shown() -> None:
    """Of two limits on requests, the one that will refuse first."""
    loose, tight = RateState("requests", 600, 99, 1.0), RateState("requests", 60, 3, 1)
    said = rate_headers(Dialect.OPENAI, (loose, tight), NOON_NS)
    assert b"limit-requests: 60\r\n" in said
    assert b"600" not in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, b"0ms"),
        (0.25, b"250ms"),
        (1.5, b"1.500s"),
        (60, b"1m0s"),
        (59.9999, b"1m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(
    seconds: float, said: bytes
) -> None:
    """Milliseconds, seconds, minutes and seconds; rounded up."""
    state = RateState("tokens", 1, 0, seconds)
    assert b"x-ratelimit-reset-tokens: " + said + b"\r\n" in rate_headers(
        Dialect.GEMINI, (state,), NOON_NS
    )
