"""Records that prune the trail, seen from whoever reads its entries.

That the first entries are not kept any more is an administrative act, so only the
journal of a process that administers says it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.engine.trail_ports import Pruning
from comptroller.engine.trail_records import TRAIL_PRUNED

BUNDLE_RECORDS: Final = 256
"""Records are kept or removed in bundles of so many (C2SP tlog-tiles)."""
ADMINISTRATORS: Final = frozenset({"control", "cli"})
"""The middle part of the source of a journal that holds administrative acts."""
HEAD_BYTES: Final = 400
"""The type of a record is within its first bytes: before `data`."""
_MARK: Final = b'"' + TRAIL_PRUNED.encode() + b'"'


class _Head(msgspec.Struct, frozen=True):
    type: str


class _Said(msgspec.Struct, frozen=True):
    below: int


class _Pruned(msgspec.Struct, frozen=True):
    data: _Said


_read_head: Final = msgspec.json.Decoder(_Head).decode
_read: Final = msgspec.json.Decoder(_Pruned).decode


def is_administrative(source: str) -> bool:
    """Whether a journal is one in which administrative acts stand."""
    parts = source.split("/")
    return len(parts) == 4 and parts[2] in ADMINISTRATORS


def pruning_of(line: bytes, index: int) -> Pruning | str | None:
    """What a record of an administrative journal does to the log.

    Args:
        line: the record.
        index: where it is in the log.

    Returns:
        None: it is of another type. Text: why it cannot be followed.
    """
    if _MARK not in line[:HEAD_BYTES]:
        return None
    try:
        if _read_head(line).type != TRAIL_PRUNED:
            return None
        below = _read(line).data.below
    except (msgspec.DecodeError, RecursionError) as error:
        # Nesting that was just bearable where the line was judged may not be here.
        return f"record {index} prunes the trail, and is not followed: {error}"
    if below <= 0 or below % BUNDLE_RECORDS or below > index:
        return (
            f"record {index} prunes the trail below {below}, and is not followed:"
            f" that must be a multiple of {BUNDLE_RECORDS}, and not more than {index}"
        )
    return Pruning(index, below)
