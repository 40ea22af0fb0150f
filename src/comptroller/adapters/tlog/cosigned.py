"""What witnesses have signed of a log, as its sequencer keeps it.

A folder a witness holds its `vkey` and the newest `checkpoint` that it has signed.
The keys are those that the log's operator was told, kept on the operator's machine:
whoever does not trust that brings keys along.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.reader import TreeReader, read_file
from comptroller.core.checkpoint import (
    NOTE_BYTES_MAX,
    Checkpoint,
    Note,
    Verifier,
    format_note,
    parse_checkpoint,
    parse_note,
    parse_vkey,
)
from comptroller.core.cosignature import (
    Cosignature,
    check_witness_key,
    cosignatures,
    signed_by,
)
from comptroller.core.errors import ComptrollerError, NoteError, TrailDamagedError
from comptroller.core.merkle import tree_root

CHECKPOINT: Final = "checkpoint"
VKEY: Final = "vkey"
VKEY_BYTES_MAX: Final = 4096


class CosignedNote(NamedTuple):
    """A checkpoint that some witness, or at least the log, has signed."""

    note: bytes
    """With the signatures of all witnesses of whom the same text is kept."""
    checkpoint: Checkpoint
    by: tuple[Cosignature, ...]
    """By known witnesses; verified."""


def kept_witnesses(folder: Path) -> list[Verifier]:
    """The witnesses whose keys are kept in a folder; one that is none is left out."""
    found = []
    for path in sorted(folder.glob(f"*/{VKEY}")):
        try:
            key = parse_vkey((read_file(path, VKEY_BYTES_MAX) or b"").decode().strip())
            check_witness_key(key.algorithm, key.name)
        except (ComptrollerError, UnicodeDecodeError):
            continue
        found.append(verifier(key))
    return found


def read_notes(paths: Iterable[Path]) -> list[Note]:
    """The checkpoints in files; what cannot be read is asked for anew.

    Those of the same text are one, with the signatures of all.
    """
    merged: dict[bytes, Note] = {}
    for path in paths:
        try:
            data = read_file(path, NOTE_BYTES_MAX)
            note = None if data is None else parse_note(data)
            if note is None:
                continue
            parse_checkpoint(note.body)
        except ComptrollerError:
            continue
        known = merged.get(note.body)
        # An Ed25519 signature of the log is the same each time: lines are sets.
        lines = () if known is None else known.signatures
        more = tuple(one for one in note.signatures if one not in lines)
        merged[note.body] = Note(note.body, (*lines, *more))
    return list(merged.values())


def kept_notes(trail: Path, witnessed: Path) -> list[Note]:
    """A log's own checkpoint, and those that witnesses have signed; see `read_notes`.

    Args:
        trail: the log's folder.
        witnessed: where is kept what witnesses have signed.
    """
    return read_notes([trail / CHECKPOINT, *sorted(witnessed.glob(f"*/{CHECKPOINT}"))])


def cosigned_notes(
    notes: Iterable[Note], witnesses: Sequence[Verifier]
) -> list[CosignedNote]:
    """Checkpoints, with the witnesses that have signed each."""
    return [_cosigned(note, witnesses) for note in notes]


def newest_over(found: Iterable[CosignedNote], index: int) -> CosignedNote | None:
    """The checkpoint to prove a record by; None: no witness has signed one over it.

    The more witnesses the better, then the newest.
    """
    over = [one for one in found if one.by and one.checkpoint.head.size > index]
    return max(over, key=_worth, default=None)


def compared(
    found: Iterable[CosignedNote], trail: Path, size: int
) -> tuple[list[CosignedNote], list[str]]:
    """Compares signed checkpoints with a log of some size.

    Args:
        found: what was signed; read before the size, or it may be newer.
        trail: the log's folder.
        size: how many records it has.

    Returns:
        Those that the log continues, and in words those that it contradicts.

    Raises:
        TrailDamagedError: a tile is not there, or cut.
        TrailUnavailableError: a file cannot be read.
    """
    tree = TreeReader(trail, size)
    fitting, wrong = [], []
    for one in found:
        head = one.checkpoint.head
        said = f"the log itself signed {head.size} records"
        if one.by:
            last = one.by[0]
            said = f"{last.witness} signed {head.size} records at {last.time}"
        if head.size > size:
            wrong.append(f"{said}; {size} are here: truncated")
        elif tree_root(head.size, tree.hash) != head.root:
            wrong.append(f"{said}; the trail has others: rewritten or forked")
        else:
            fitting.append(one)
    return fitting, wrong


def continued(
    found: Iterable[CosignedNote], origin: str, trail: Path, size: int
) -> list[Cosignature]:
    """How far each witness has signed a log that continues all of it.

    Args:
        found: what was signed, see `compared`; of other logs, too.
        origin: the log's name.
        trail: its folder.
        size: how many records it has.

    Raises:
        TrailDamagedError: it contradicts what a witness has signed, or a tile is not
            there.
        TrailUnavailableError: a file cannot be read.
    """
    own = [one for one in found if one.by and one.checkpoint.origin == origin]
    fitting, wrong = compared(own, trail, size)
    if wrong:
        raise TrailDamagedError("; ".join(wrong))
    return newest_of_each(fitting)


def newest_of_each(found: Iterable[CosignedNote]) -> list[Cosignature]:
    """How far each witness has signed, by name."""
    newest: dict[str, Cosignature] = {}
    for cosignature in (each for one in found for each in one.by):
        known = newest.get(cosignature.witness)
        if known is None or known < cosignature:
            newest[cosignature.witness] = cosignature
    return [newest[name] for name in sorted(newest)]


def signed_by_log(
    found: Iterable[CosignedNote], keys: Sequence[Verifier]
) -> list[CosignedNote]:
    """Those that one of the log's keys has signed, or a witness: no garbage."""
    return [one for one in found if one.by or signed_by(parse_note(one.note), keys)]


def _worth(one: CosignedNote) -> tuple[int, int]:
    return len({each.witness for each in one.by}), one.checkpoint.head.size


def _cosigned(note: Note, witnesses: Sequence[Verifier]) -> CosignedNote:
    try:
        by = cosignatures(note, witnesses)
    except NoteError:
        by = []
    return CosignedNote(
        format_note(note), parse_checkpoint(note.body), tuple(sorted(by))
    )
