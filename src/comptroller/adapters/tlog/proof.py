"""The proof of one record, in a file of its own (C2SP tlog-proof).

It holds no record: whoever has the exact bytes, the proof and the keys they trust
verifies it without the log.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.core.checkpoint import (
    NOTE_BYTES_MAX,
    Checkpoint,
    Verifier,
    parse_checkpoint,
    parse_note,
    verified,
)
from comptroller.core.errors import ProofError, TrailDamagedError
from comptroller.core.merkle import (
    HASH_BYTES,
    PATH_HASHES_MAX,
    leaf_hash,
    root_from_inclusion,
    verify_inclusion,
)

SUFFIX: Final = ".tlog-proof"
PROOF_BYTES_MAX: Final = NOTE_BYTES_MAX + 128 * 1024
_HEADER: Final = b"c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(rb"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class RecordProof:
    """What the file holds; nothing of it is verified yet."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, as the log published it."""
    extra: bytes | None = None
    """Anything; not authenticated, whoever signed the rest."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof proves: this record is that one, of this log."""

    index: int
    checkpoint: Checkpoint
    signers: Sequence[str]
    """The `vkey` of each known key that signed the checkpoint."""


def format_proof(proof: RecordProof) -> bytes:
    """Writes the file."""
    lines = [_HEADER]
    if proof.extra is not None:
        lines.append(b"extra " + b64encode(proof.extra))
    lines.append(b"index %d" % proof.index)
    lines += map(b64encode, proof.path)
    return b"\n".join(lines) + b"\n\n" + proof.checkpoint


def parse_proof(data: bytes) -> RecordProof:
    """Reads the file without verifying it.

    Raises:
        ProofError: it is not of the format, or larger than any proof.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise ProofError(f"a proof has at most {PROOF_BYTES_MAX} bytes")
    head, blank, checkpoint = data.partition(b"\n\n")
    lines = head.split(b"\n")
    if not blank or lines.pop(0) != _HEADER:
        raise ProofError(f"a proof begins with a line {_HEADER.decode()}")
    extra = None
    if lines and lines[0].startswith(b"extra "):
        extra = _decoded(lines.pop(0)[len(b"extra ") :])
    index = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if index is None:
        raise ProofError("the proof does not say the record's index")
    if len(lines) > PATH_HASHES_MAX:
        raise ProofError(f"a proof has at most {PATH_HASHES_MAX} hashes")
    path = tuple(map(_decoded, lines))
    if any(len(one) != HASH_BYTES for one in path):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")
    return RecordProof(int(index[1]), path, checkpoint, extra)


def prove(
    folder: Path, index: int, note: bytes | None = None, line: bytes | None = None
) -> tuple[bytes, bytes]:
    """Makes the proof of a record out of a log and one of its checkpoints.

    Args:
        folder: the log's.
        index: of the record.
        note: a checkpoint that was signed over it; None: the last one.
        line: the record, where it is known: it may have been pruned from the log.

    Returns:
        The record's exact bytes, and the content of the proof's file.

    Raises:
        ProofError: no published checkpoint has such a record yet.
        NoteError: the checkpoint is damaged.
        TrailPrunedError: the record was pruned, and no line is given.
        TrailDamagedError: a file is missing, or the tiles are not those of the
            checkpoint, or not over this line: then there is no proof.
        TrailUnavailableError: a file cannot be read.
    """
    note = note or read_checkpoint(folder)
    if note is None:
        raise ProofError(f"{folder} has no checkpoint yet")
    head = parse_checkpoint(parse_note(note).body).head
    reader = TreeReader(folder, head.size)
    record = reader.record(index) if line is None else line
    path = reader.inclusion(index)
    if root_from_inclusion(index, head.size, leaf_hash(record), path) != head.root:
        raise TrailDamagedError(
            f"the tiles over record {index} are not those of the checkpoint"
        )
    return record, format_proof(RecordProof(index, tuple(path), note))


def verify_proof(
    data: bytes, record: bytes, origin: str, verifiers: Iterable[Verifier]
) -> Proven:
    """Verifies that a record is in a log.

    Args:
        data: The content of the proof's file.
        record: The record's exact bytes.
        origin: The log that is meant: a key may sign for several.
        verifiers: The keys that are trusted; at least one must have signed.

    Raises:
        NoteError: the checkpoint is not signed by a known key, or is another's.
        ProofError: the file is not a proof, or not of this record.
    """
    proof = parse_proof(data)
    note, signers = verified(proof.checkpoint, verifiers)
    checkpoint = parse_checkpoint(note.body)
    if checkpoint.origin != origin:
        raise ProofError(f"the proof is of the log {checkpoint.origin}, not {origin}")
    verify_inclusion(proof.index, leaf_hash(record), checkpoint.head, proof.path)
    return Proven(proof.index, checkpoint, signers)


def _decoded(text: bytes) -> bytes:
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        raise ProofError(f"{text!r} is not base64") from None
    if b64encode(decoded) != text:
        raise ProofError(f"{text!r} has more than one form in base64")
    return decoded
