"""Wiring of readings: recorded by whichever process may write, before the answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from comptroller.bootstrap.administering import open_administrator
from comptroller.core.errors import (
    ControlUnavailableError,
    JournalUnavailableError,
    StoreUnavailableError,
)


def record_reading(
    data: Path,
    what: str,
    scope: Mapping[str, str | int | list[str] | None],
    by: str | None,
) -> None:
    """Records that somebody is about to be shown what records say.

    Args:
        data: the data directory.
        what: the command, such as `explain`.
        scope: of what: ids, times and counts, never what somebody disclosed.
        by: the declared person who reads, where one is named.

    Raises:
        NotFoundError: that person is not declared.
        InvalidArgumentError: what is asked for is too long to be recorded.
        ControlUnavailableError: nobody could record it: show nothing.
        JournalUnavailableError: likewise.
        StoreUnavailableError: likewise.
    """
    try:
        with open_administrator(data, by) as administrator:
            administrator.note_reading(what, scope)
    except (
        ControlUnavailableError,
        JournalUnavailableError,
        StoreUnavailableError,
    ) as error:
        raise type(error)(
            f"nothing is shown, since this reading cannot be recorded: {error.message}"
        ) from error
