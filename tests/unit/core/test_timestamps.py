"""Times as records write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.timestamps import nanoseconds, rfc3339


@given(st.integers(0, 250_000_000_000_000_000))
def test_a_time_survives_writing_to_the_microsecond(microseconds: int) -> None:
    """What is written is read back; below a microsecond is cut off."""
    time_ns = microseconds * 1000
    assert nanoseconds(rfc3339(time_ns)) == time_ns
    assert rfc3339(time_ns + 999) == rfc3339(time_ns)


def test_a_time_reads_as_utc() -> None:
    """The form is RFC 3339 with six digits and Z; other zones are converted."""
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert nanoseconds("1970-01-01T01:00:00+01:00") == 0


def test_a_time_without_a_zone_is_refused() -> None:
    """A local time is no point in time."""
    with pytest.raises(ValueError, match="no time zone"):
        nanoseconds("2026-01-01T00:00:00")
