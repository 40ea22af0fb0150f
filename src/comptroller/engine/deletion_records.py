"""Records of journals that are deleted; see `engine.records` for the envelope."""

from __future__ import annotations

from typing import Final

import msgspec

JOURNAL_DELETED: Final = "comptroller.journal.deleted.v1"


class JournalDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `journal.deleted`: the trail alone has a journal's records from now on.

    Durable before the first file goes, so that files may stand there for a while.
    """

    source: str
    """Of the journal."""
    bytes: int
    """Of its whole records, with their line feeds."""
    records: int
    size: int
    """Of the checkpoint under which each of them was found."""
    witnesses: list[str]
    """The names of those who signed a checkpoint of that size or a larger one."""
