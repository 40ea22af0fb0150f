"""Windows: the spans of a calendar that limits hold for.

By the clocks of the organization's zone. The spans of one kind of window follow each
other without a gap or an overlap, whatever the clocks do: a day may have 23 or 25
hours, or none where a zone skipped a date.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from comptroller.core.account import PARALLEL, PARALLEL_LABEL

_S: Final = 1_000_000_000
_SECOND: Final = timedelta(seconds=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """One window in time, half open."""

    label: str
    """`2026-11`, `2026-W47`, `2026-11-21`, `2026-11-21T13Z` or `all`."""
    starts_ns: int
    """Its first nanosecond since the epoch; 0 where it has no beginning."""
    ends_ns: int | None
    """The first one after it; None: it never ends."""


def span_at(window: str, zone: ZoneInfo, now_ns: int) -> Span:
    """The window of a kind that a time lies in.

    Args:
        window: `hour`, `day`, `week` (from Monday, by ISO 8601), `month`, `total`,
            or core.account.PARALLEL, which like `total` never ends.
        zone: whose calendar it is.
        now_ns: nanoseconds since the epoch.

    Raises:
        ValueError: there is no such kind of window.
    """
    if window == "total":
        return Span("all", 0, None)
    if window == PARALLEL:
        return Span(PARALLEL_LABEL, 0, None)
    now = _EPOCH + now_ns // _S * _SECOND
    day = _day(zone, now)
    if window == "hour":
        return _hour(zone, day, now)
    if window == "day":
        return _span(zone, day.isoformat(), day, day + _DAY)
    if window == "week":
        monday = day - day.weekday() * _DAY
        year, week, _ = day.isocalendar()
        return _span(zone, f"{year:04}-W{week:02}", monday, monday + 7 * _DAY)
    if window == "month":
        first = day.replace(day=1)
        next_first = (first + 31 * _DAY).replace(day=1)
        return _span(zone, f"{day:%Y-%m}", first, next_first)
    raise ValueError(f"{window!r} is not a window")


def _span(zone: ZoneInfo, label: str, first: date, after: date) -> Span:
    return Span(label, _ns(_starts(zone, first)), _ns(_starts(zone, after)))


def _hour(zone: ZoneInfo, day: date, now: datetime) -> Span:
    """Whole hours from the start of the local day; its last one may be cut.

    So a change of the clocks by half an hour leaves no gap either, and hours of
    zones with offsets of 30 or 45 minutes begin when their clocks show it.
    """
    midnight = _starts(zone, day)
    starts = midnight + (now - midnight) // _HOUR * _HOUR
    ends = min(starts + _HOUR, _starts(zone, day + _DAY))
    minute = f"{starts:%M}" if starts.minute else ""
    return Span(f"{starts:%Y-%m-%dT%H}{minute}Z", _ns(starts), _ns(ends))


def _day(zone: ZoneInfo, now: datetime) -> date:
    """The day a time lies in: the last one that has begun.

    Not simply what the calendar on the wall says: clocks that are set back from
    0:01 to 23:01 show yesterday's date again, and the day has begun nevertheless.
    """
    day = now.astimezone(zone).date()
    while _starts(zone, day + _DAY) <= now:
        day += _DAY
    while _starts(zone, day) > now:
        day -= _DAY
    return day


def _starts(zone: ZoneInfo, day: date) -> datetime:
    """When a day begins, in UTC.

    The first midnight where there are two. Where clocks jump over it, the jump:
    zoneinfo takes the time before the change for what does not exist.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // _SECOND * _S
