"""Times as records write them: RFC 3339, UTC, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def rfc3339(time_ns: int) -> str:
    """Writes nanoseconds since the epoch, cut to the microsecond, with `Z`."""
    time = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return time.isoformat(timespec="microseconds")[:-6] + "Z"


def nanoseconds(text: str) -> int:
    """Reads an RFC 3339 time with a zone as nanoseconds since the epoch.

    Raises:
        ValueError: it is not such a time, or names no zone.
    """
    if len(text) == 27 and text[19] == "." and text[26] == "Z":
        # Our own form: most times share their second with the one before.
        return _whole_second(text[:19]) + int(text[20:26]) * 1000
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return (time - _EPOCH) // _MICROSECOND * 1000


@lru_cache(maxsize=64)
def _whole_second(text: str) -> int:
    return nanoseconds(text + "+00:00")
