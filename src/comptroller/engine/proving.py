"""Where the records of a request are in the trail, and what that proves."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Mapping

from comptroller.core.cosignature import assurance_here
from comptroller.core.errors import (
    ComptrollerError,
    TrailDamagedError,
    TrailPrunedError,
)
from comptroller.core.timestamps import rfc3339
from comptroller.engine.explanation import Document, Standing
from comptroller.engine.trail_ports import TrailLookup


def proof_of(
    trail: TrailLookup | None, standings: Mapping[str, Standing | None]
) -> Document | None:
    """Where records are in the last checkpoint (`explain --json`, `proof`).

    Args:
        trail: None: there is none here.
        standings: by role; None: there is no such record.

    Returns:
        None: no checkpoint was published yet. What is wrong with the trail is in
        `problem`: it says nothing against the records themselves.
    """
    found: Document = dict.fromkeys(standings)
    found |= {"checkpoint": None, "witnesses": [], "cosigned": []}
    found |= {"strength": None, "problem": None}
    if trail is None:
        return None
    try:
        published = trail.published()
        if published is None:
            return None
        found["checkpoint"] = {
            "origin": published.origin,
            "size": published.size,
            "root": b64encode(published.root).decode(),
            "time": rfc3339(published.time_ns),
        }
        found["witnesses"] = list(published.witnesses)
        cosigned, others = published.cosigned, published.witnesses
        found["cosigned"] = [
            {"witness": one.witness, "size": one.size, "time": one.time}
            for one in cosigned
        ]
        found["strength"] = assurance_here(cosigned, published.size, others)
        for role, one in standings.items():
            if one is not None:
                found[role] = _index_of(trail, one)
    except ComptrollerError as error:
        found["problem"] = error.message
    return found


def _index_of(trail: TrailLookup, record: Standing) -> int | None:
    """Where a record is; None: not in the last checkpoint, nor is another for it.

    Raises:
        TrailDamagedError: the trail has another one.
    """
    source, sequence = record.source, int(record.envelope.sequence)
    index = trail.index_of(source, sequence, record.line)
    if index is not None:
        return index
    other = None
    with contextlib.suppress(TrailPrunedError):
        other = trail.index_at(source, sequence)
    if other is None:
        return None
    # A checkpoint that was published between the two may be the first that has it.
    index = trail.index_of(source, sequence, record.line)
    if index is None:
        raise TrailDamagedError(
            f"record {other} of the trail is not the one that the journal {source} has"
            " in its place: the journal was changed"
        )
    return index
