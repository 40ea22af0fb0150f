"""Readings: what commands record before they show what records say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

Scope: TypeAlias = Mapping[str, str | int | list[str] | None]
"""Ids, times and counts; never what somebody disclosed."""
RecordReading: TypeAlias = Callable[[Path, str, Scope, str | None], None]
"""Takes the data directory, the command, the scope and who reads, if named."""


def record(data: Path, what: str, scope: Scope, by: str | None) -> None:
    """See `bootstrap.record_reading`, which is loaded when a command runs."""
    from comptroller import bootstrap

    bootstrap.record_reading(data, what, scope, by)
