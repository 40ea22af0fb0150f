"""Wiring of `comptroller audit reads`: the readings that are in the trail."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.bootstrap.place import Place
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import TrailUnavailableError
from comptroller.core.timestamps import rfc3339
from comptroller.engine.access import ACCESS_READ, AccessRead

_MARK: Final = f'"type":"{ACCESS_READ}"'.encode()


class _Record(msgspec.Struct, frozen=True):
    """What of a record is shown."""

    type: str
    time: str
    data: AccessRead


def recorded_readings(data: Path, since_ns: int | None) -> list[dict[str, Any]]:
    """The readings in the trail as it is published, in the trail's order.

    Args:
        data: the data directory.
        since_ns: from when on; None: all that were not pruned.

    Raises:
        TrailDamagedError: a file is not there, or not what was written.
        TrailUnavailableError: there is no trail, or it cannot be read.
    """
    place = Place(data)
    note = read_checkpoint(place.trail)
    if note is None:
        raise TrailUnavailableError(f"{data} has no trail yet")
    reader = TreeReader(place.trail, parse_checkpoint(parse_note(note).body).head.size)
    begin = reader.minimum()
    since = "" if since_ns is None else rfc3339(since_ns)
    found = []
    for index, line in enumerate(reader.records(begin), begin):
        if _MARK not in line:
            continue
        with suppress(msgspec.DecodeError):  # others may hold that text, too
            record = msgspec.json.decode(line, type=_Record)
            if record.type == ACCESS_READ and record.time >= since:
                told: dict[str, Any] = msgspec.to_builtins(record.data)
                found.append({"index": index, "time": record.time} | told)
    return found
