"""Times as people say them to commands."""

from __future__ import annotations

import time

from comptroller.core.errors import InvalidArgumentError
from comptroller.core.quantities import QuantityError, since_ns


def before_ns(text: str) -> int:
    """The time of `--before TIME`; see `time_ns`."""
    return time_ns(text, "--before")


def time_ns(text: str, option: str) -> int:
    """A time as an option has it: how long ago, a day, or a moment; in UTC.

    Returns:
        Nanoseconds since the Unix epoch.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    now_ns = time.time_ns()  # noqa: TID251  a person's "90 days ago" counts from now
    try:
        return since_ns(text, now_ns)
    except QuantityError as error:
        raise InvalidArgumentError(f"{option}: {error}") from error
