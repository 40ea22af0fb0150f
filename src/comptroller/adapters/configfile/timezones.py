"""Timezones by their IANA names."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from comptroller.core.problem import nearest


def timezone_problem(name: str) -> tuple[str, str] | None:
    """Says what is wrong with a timezone's name, and what was meant; None: nothing."""
    if name == "UTC":
        return None
    # Offsets and abbreviations have no summer time: nobody's calendar.
    if "/" in name and _is_known(name):
        return None
    known = available_timezones()
    what = f'"{name}" is not an IANA timezone'
    if not known:
        return what, 'this machine has no timezone data: install "tzdata", or use UTC'
    cities = {zone.rpartition("/")[2]: zone for zone in sorted(known, reverse=True)}
    place = name.rpartition("/")[2].replace(" ", "_")
    near = nearest(name, (zone for zone in known if "/" in zone))
    city = nearest(place, cities)
    meant = cities[city] if city is not None and "/" in cities[city] else near
    rule = 'write region and city, such as "Europe/Amsterdam", or "UTC"'
    return what, f'did you mean "{meant}"?' if meant else rule


def _is_known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
