"""Times as people say them, in the organization's time zone."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from comptroller.core import quantities
from comptroller.core.errors import InvalidArgumentError
from comptroller.engine.ports import Clock, Reports
from comptroller.engine.registry_fold import fold


def said_ns(option: str, text: str, reports: Reports, clock: Clock) -> int:
    """A time as an option has it: how long ago, a day, or a moment.

    Args:
        option: by which it is said, for the message.
        text: such as `24h`, `7d`, or a day of the organization.
        reports: of the store, which knows where the organization's day begins.
        clock: from which times are counted back.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    try:
        return quantities.since_ns(text, clock.now_ns(), _zone(reports))
    except quantities.QuantityError as error:
        raise InvalidArgumentError(f"{option}: {error}") from error


def _zone(reports: Reports) -> tzinfo:
    """Where the organization's day begins; UTC before anything was applied."""
    registry = fold(reports.registry_objects())
    try:
        return UTC if registry is None else ZoneInfo(registry.timezone)
    except ZoneInfoNotFoundError:
        return UTC
