from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comptroller.core.timestamps import nanoseconds
from comptroller.core.window import Span, span_at

S = 1_000_000_000
HOUR = 3600 * S
ZONES = (
    "UTC",
    "Europe/Amsterdam",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)
WINDOWS = ("hour", "day", "week", "month")


def at(window: str, zone: str, time: str) -> Span:
    return span_at(window, ZoneInfo(zone), nanoseconds(time))


@pytest.mark.parametrize(
    ("window", "zone", "now", "label", "starts", "ends"),
    [
        ("month", "Europe/Amsterdam", "2026-11-21T12:00Z", "2026-11",
         "2026-11-01T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("month", "Europe/Amsterdam", "2026-10-31T23:00Z", "2026-11",
         "2026-11-01T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("month", "Europe/Amsterdam", "2026-10-31T22:59:59.999Z", "2026-10",
         "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00"),
        ("week", "Europe/Amsterdam", "2026-11-21T12:00Z", "2026-W47",
         "2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00"),
        ("week", "UTC", "2027-01-01T12:00Z", "2026-W53",
         "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        ("day", "Asia/Kolkata", "2026-11-21T18:30Z", "2026-11-22",
         "2026-11-22T00:00+05:30", "2026-11-23T00:00+05:30"),
        ("hour", "Europe/Amsterdam", "2026-11-21T13:59:59Z", "2026-11-21T13Z",
         "2026-11-21T13:00Z", "2026-11-21T14:00Z"),
        ("hour", "Asia/Kolkata", "2026-11-21T13:59:59Z", "2026-11-21T1330Z",
         "2026-11-21T13:30Z", "2026-11-21T14:30Z"),
        ("hour", "Asia/Kathmandu", "2026-11-21T13:14:59Z", "2026-11-21T1215Z",
         "2026-11-21T12:15Z", "2026-11-21T13:15Z"),
    ],
)  # fmt: skip
def test_window_by_the_calendar(
    window: str, zone: str, now: str, label: str, starts: str, ends: str
) -> None:
    """A window begins and ends by the clocks of the organization's zone."""
    expected = Span(label, nanoseconds(starts), nanoseconds(ends))
    assert at(window, zone, now) == expected


@pytest.mark.parametrize("window", ["total", "parallel"])
def test_a_window_without_an_end(window: str) -> None:
    """A total budget, and requests under way, have one window for ever."""
    label = {"total": "all", "parallel": "now"}[window]
    assert at(window, "UTC", "2026-11-21T12:00Z") == Span(label, 0, None)


def test_an_unknown_window_is_refused() -> None:
    """A word that is no window is an error, not some span."""
    with pytest.raises(ValueError, match="'year' is not a window"):
        at("year", "UTC", "2026-11-21T12:00Z")


@pytest.mark.parametrize(
    ("zone", "now", "label", "hours"),
    [
        ("Europe/Amsterdam", "2026-03-29T12:00Z", "2026-03-29", 23.0),
        ("Europe/Amsterdam", "2026-10-25T12:00Z", "2026-10-25", 25.0),
        ("Australia/Lord_Howe", "2026-10-03T20:00Z", "2026-10-04", 23.5),
        ("America/Havana", "2026-11-01T12:00Z", "2026-11-01", 25.0),
        ("Africa/Cairo", "2026-04-24T12:00Z", "2026-04-24", 23.0),
        ("America/St_Johns", "2006-10-29T12:00Z", "2006-10-29", 25.0),
    ],
)
def test_days_when_clocks_change(zone: str, now: str, label: str, hours: float) -> None:
    """A day is as long as its date lasts there, not 24 hours."""
    span = at("day", zone, now)
    assert span.ends_ns is not None
    assert (span.label, span.ends_ns - span.starts_ns) == (label, hours * HOUR)


def test_a_day_shown_again_is_not_lived_again() -> None:
    """Clocks set back from 0:01 to 23:01 do not bring yesterday's budget back."""
    begins = nanoseconds("2006-10-29T02:30Z")
    zone = ZoneInfo("America/St_Johns")
    labels = [
        span_at("day", zone, begins + minutes * 60 * S).label
        for minutes in (-1, 0, 1, 30, 60, 61)
    ]
    assert datetime(2006, 10, 29, 2, 32, tzinfo=UTC).astimezone(zone).day == 28
    assert labels == ["2006-10-28"] + ["2006-10-29"] * 5


def test_a_date_that_was_skipped_is_no_window() -> None:
    """In Apia the 31st of December 2011 came after the 29th."""
    day = at("day", "Pacific/Apia", "2011-12-30T09:59:59Z")
    assert day.label == "2011-12-29"
    assert day.ends_ns is not None
    after = span_at("day", ZoneInfo("Pacific/Apia"), day.ends_ns)
    assert after.label == "2011-12-31"
    assert after.starts_ns == day.ends_ns == nanoseconds("2011-12-30T10:00Z")


def test_an_hour_is_cut_where_clocks_move_by_half_an_hour() -> None:
    """On Lord Howe the last hour of the day of the change has 30 minutes."""
    last = at("hour", "Australia/Lord_Howe", "2026-10-04T12:45Z")
    assert last == Span(
        "2026-10-04T1230Z",
        nanoseconds("2026-10-04T12:30Z"),
        nanoseconds("2026-10-04T13:00Z"),
    )


def changes(name: str) -> list[int]:
    """Every time between 1975 and 2037 at which a zone's clocks change, in s."""
    zone = ZoneInfo(name)
    found = []
    time = datetime(1975, 1, 1, tzinfo=UTC)
    while time.year < 2037:
        later = time + timedelta(days=7)
        if time.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            found.append(_change_between(zone, time, later))
        time = later
    return found


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> int:
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // timedelta(seconds=2) * timedelta(seconds=1)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return int(high.timestamp())


CHANGES = {zone: changes(zone) or [0] for zone in ZONES}


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, int]:
    """A zone and a time there, most often near a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    if draw(st.integers(0, 3)):
        near = draw(st.sampled_from(CHANGES[zone])) * S
        time = near + draw(st.integers(-49 * HOUR, 49 * HOUR))
    else:
        time = draw(st.integers(0, 4_102_444_800 * S))
    return zone, max(0, time)


@settings(max_examples=800, deadline=None)
@given(window=st.sampled_from(WINDOWS), moment=moments())
@example("day", ("Pacific/Apia", 1_325_239_200 * S - 1))
@example("hour", ("Australia/Lord_Howe", 1_791_118_800 * S))
def test_windows_tile_time(window: str, moment: tuple[str, int]) -> None:
    """Every time is in exactly one window: each ends where the next one begins."""
    name, now = moment
    zone = ZoneInfo(name)
    span = span_at(window, zone, now)
    assert span.ends_ns is not None
    assert span.starts_ns <= now < span.ends_ns
    for inside in (span.starts_ns, span.ends_ns - 1, (span.starts_ns + now) // 2):
        assert span_at(window, zone, inside) == span
    after = span_at(window, zone, span.ends_ns)
    before = span_at(window, zone, span.starts_ns - 1)
    assert after.starts_ns == span.ends_ns
    assert before.ends_ns == span.starts_ns
    assert before.label < span.label < after.label
    assert not {"@", "/"} & set(span.label)


@settings(max_examples=300, deadline=None)
@given(moment=moments())
def test_smaller_windows_nest_in_larger(moment: tuple[str, int]) -> None:
    """An hour lies in one day, a day in one week and in one month."""
    name, now = moment
    zone = ZoneInfo(name)
    for inner, outer in [("hour", "day"), ("day", "week"), ("day", "month")]:
        small, large = span_at(inner, zone, now), span_at(outer, zone, now)
        assert small.ends_ns is not None
        assert large.ends_ns is not None
        assert large.starts_ns <= small.starts_ns
        assert small.ends_ns <= large.ends_ns


@settings(max_examples=300, deadline=None)
@given(moment=moments())
def test_a_window_begins_when_the_clocks_show_it(moment: tuple[str, int]) -> None:
    """A day begins at its date's first moment, a month on a first, a week on Monday."""
    name, now = moment
    zone = ZoneInfo(name)

    def shown(time_ns: int) -> datetime:
        return datetime.fromtimestamp(time_ns // S, zone)

    day = span_at("day", zone, now)
    assert shown(day.starts_ns).date().isoformat() == day.label
    assert shown(day.starts_ns - 1).date().isoformat() < day.label
    assert shown(span_at("month", zone, now).starts_ns).day == 1
    assert shown(span_at("week", zone, now).starts_ns).weekday() == 0
