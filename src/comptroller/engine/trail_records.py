"""Records that the sequencer itself writes into the trail."""

from __future__ import annotations

import re
from typing import Final

import msgspec

TRAIL_SOURCE: Final = "/trail"
"""CloudEvents `source` of these records; no journal has a name of one part."""
TRAIL_STARTED: Final = "comptroller.trail.started.v1"
TRAIL_GAP: Final = "comptroller.trail.gap.v1"
TRAIL_WITNESS_REFUSED: Final = "comptroller.trail.witness_refused.v1"
TRAIL_PRUNED: Final = "comptroller.trail.pruned.v1"
"""An administrative act: it comes out of a control journal, not from the sequencer."""

SEQUENCE: Final = "sequence"
DUPLICATE: Final = "duplicate"
BROKEN: Final = "broken"
TORN: Final = "torn"
SHRUNK: Final = "shrunk"
MISSING: Final = "missing"


class RecordHead(msgspec.Struct, frozen=True):
    """What of a record is looked at before it becomes an entry."""

    id: str
    source: str
    sequence: str


read_head: Final = msgspec.json.Decoder(RecordHead).decode
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")


def number_of(head: RecordHead) -> int:
    """The sequence of a record, in the one form that is written.

    Raises:
        ValueError: it is in none, or larger than any file of ours holds.
    """
    if not _NUMBER.fullmatch(head.sequence):
        raise ValueError("not a sequence")
    return int(head.sequence)


class TrailStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `trail.started`: a process goes on with the log."""

    origin: str
    size: int
    """Entries before this one."""


class TrailGap(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `trail.gap`: a journal is not as its process promised to write it."""

    source: str
    reason: str
    """`sequence`: records are missing, or come twice. `duplicate`: an id comes a
    second time. `broken`: a line is no record of that journal. `torn`: a process
    died within a record. `shrunk`: the journal is shorter than what is in the trail.
    `missing`: it is gone, and not known to have ended."""
    expected: int
    """Sequence of the record that should have come."""
    found: int | str
    """The sequence that came instead, or what there is, in words."""
    at: int
    """Offset in the journal's stream."""


class TrailWitnessRefused(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `trail.witness_refused`: a witness did not sign a checkpoint.

    409 and 422 mean that the trail is not what the witness saw.
    """

    witness: str
    status: int
    """Of its HTTP answer; 200: the answer was not signed by its key."""
    size: int
    """Of the tree that it was shown."""
    known: int | None
    """Of the tree that it signed last, as far as it said."""
    why: str
