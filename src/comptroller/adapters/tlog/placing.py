"""Whose an entry of the log is, as the entries themselves say it."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import TrailDamagedError
from comptroller.engine import trail_records
from comptroller.engine.records import RECORD_BYTES_MAX
from comptroller.engine.trail_records import TrailGap


class Head(msgspec.Struct, frozen=True):
    """What is read of an entry to find it."""

    source: str
    type: str
    sequence: str


class _Gap(msgspec.Struct, frozen=True):
    data: TrailGap


_head: Final = msgspec.json.Decoder(Head).decode
_gap: Final = msgspec.json.Decoder(_Gap).decode


class Placed(NamedTuple):
    """An entry, and the journal that it is of."""

    source: str
    line: bytes


def placed(line: bytes, owner: str | None) -> tuple[Placed, str | None]:
    """Whose an entry is, and whose the next one is where this one says so.

    Args:
        line: the entry.
        owner: whose it is, where the entry before said so.

    Raises:
        TrailDamagedError: it is no record, and no gap says so.
    """
    if owner is not None:
        return Placed(owner, line), None  # it is no record of that journal
    try:
        head = _head(line)
    except (ValueError, RecursionError) as error:
        raise TrailDamagedError(
            f"an entry is not a record, and no gap says so: {error}"
        ) from error
    if head.source == trail_records.TRAIL_SOURCE:
        gap = gap_of(line) if head.type == trail_records.TRAIL_GAP else None
        if gap is not None and gap.reason == trail_records.BROKEN and follows(gap):
            return Placed(head.source, line), gap.source
    return Placed(head.source, line), None


def head_of(line: bytes) -> Head | None:
    """The head of an entry; None: it is no record."""
    try:
        return _head(line)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        return None


def is_record(line: bytes, source: str, sequence: int) -> bool:
    """Whether an entry is a journal's record with this sequence."""
    if f'"sequence":"{sequence}"'.encode() not in line or source.encode() not in line:
        return False
    head = head_of(line)
    return head is not None and (head.source, head.sequence) == (source, str(sequence))


def gap_of(line: bytes) -> TrailGap | None:
    """What a gap record says; None: it is another record of the trail.

    Raises:
        TrailDamagedError: it cannot be understood.
    """
    if _head(line).type != trail_records.TRAIL_GAP:
        return None
    try:
        return _gap(line).data
    except msgspec.ValidationError as error:
        raise TrailDamagedError(f"a gap cannot be understood: {error}") from error


def follows(gap: TrailGap) -> bool:
    """Whether what was found in place of a record is the next entry."""
    return 0 < found_bytes(gap) <= RECORD_BYTES_MAX


def found_bytes(gap: TrailGap) -> int:
    """How long the line was that is no record; 0 where none is said."""
    size = str(gap.found).partition(" ")[0]
    return int(size) if size.isdecimal() else 0
