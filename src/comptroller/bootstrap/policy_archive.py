"""Wiring of what was published: its history, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.place import Place


def told_history(data: Path) -> dict[str, Any]:
    """The history of a data directory's policies; see `policy_history`.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.journal.reader import DirectoryJournalReader
    from comptroller.engine.policy_history import policy_history

    with open_reports(data) as reports:
        reader = DirectoryJournalReader(Place(data).journal)
        try:
            return policy_history(reports, reader)
        finally:
            reader.close()


def kept_files(data: Path, revision: str) -> tuple[str, list[tuple[str, str]]]:
    """The whole revision that its beginning names, and its files' names and texts.

    Raises:
        NotFoundError: none was published that begins so.
        ConflictError: several begin so.
        ContentUnavailableError: what was kept is gone, or was changed.
    """
    from comptroller.adapters.policy.archive import PolicyArchive
    from comptroller.engine.policy_life import find_policy

    with open_reports(data) as reports:
        found = find_policy(reports.policies(), revision).revision
    files = PolicyArchive(Place(data).policies).files(found)
    return found, [
        (name, content.decode("utf-8-sig", "replace")) for name, content in files
    ]
