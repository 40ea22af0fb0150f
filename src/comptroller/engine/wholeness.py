"""Wholeness: whether a store has what journals said that are deleted since.

A store is a fold of the journals. What is left of them makes no books where some are
deleted, and a store that is new, or an old copy, has not seen those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.ports import JournalReader
from comptroller.engine.projection import CHUNK_BYTES, is_administrative

_MARK: Final = f'"{JOURNAL_DELETED}"'.encode()


class _Line(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


def lacking(reader: JournalReader, position: Callable[[str], int]) -> list[str]:
    """The deleted journals that can never be projected into a store any more.

    A part of one may stand there again, out of an older copy, or because a kill
    interrupted its removal: that is not the journal.

    Only what is not projected yet is read. The last deletion of all stands in a
    journal that is there: so a store that lacks anything is found out.

    Args:
        reader: of the journals that there are.
        position: up to where the store has a journal.

    Raises:
        JournalUnavailableError: a journal cannot be read.
        StoreUnavailableError: the store does not answer.
    """
    sizes = {source: reader.size(source) for source in reader.sources()}
    return [
        one.source
        for source in filter(is_administrative, reader.sources())
        for one in _deletions(reader, source, position(source))
        if position(one.source) < one.bytes and sizes.get(one.source, 0) < one.bytes
    ]


def _deletions(
    reader: JournalReader, source: str, offset: int
) -> Iterator[JournalDeleted]:
    while run := reader.read(source, offset, CHUNK_BYTES):
        for record in run:
            if _MARK in record.line:
                yield from _deletion(record.line)
        offset = run[-1].offset + len(run[-1].line) + 1


def _deletion(line: bytes) -> Iterator[JournalDeleted]:
    """What a line says that mentions one; the projection meets it if it is broken."""
    try:
        envelope = msgspec.json.decode(line, type=_Line)
        if envelope.type == JOURNAL_DELETED:
            yield msgspec.json.decode(envelope.data, type=JournalDeleted)
    except msgspec.DecodeError:
        return
