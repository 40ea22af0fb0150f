"""What a witness is asked, what it signs, and what that is worth.

Formats: C2SP tlog-witness and tlog-cosignature (Ed25519, `cosignature/v1`).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from comptroller.core.checkpoint import (
    COSIGNATURE_ED25519,
    ED25519,
    NOTE_BYTES_MAX,
    Note,
    NoteSignature,
    Verifier,
    parse_checkpoint,
)
from comptroller.core.errors import NoteError
from comptroller.core.merkle import HASH_BYTES
from comptroller.core.timestamps import rfc3339

TIME_BYTES: Final = 8
TIME_MAX: Final = 2**63 - 1
PROOF_LINES_MAX: Final = 63
SUBMISSION_BYTES_MAX: Final = NOTE_BYTES_MAX + 4096
OUTSIDERS_ONLY: Final = "tamper-evident against outsiders only"
_COSIGNATURE_BYTES: Final = TIME_BYTES + 64
_OLD: Final = re.compile(rb"old (0|[1-9][0-9]{0,18})")


class Submission(NamedTuple):
    """The body of a request to `add-checkpoint`; nothing of it is verified yet."""

    old_size: int
    path: tuple[bytes, ...]
    """The consistency proof from the old size to that of the checkpoint."""
    checkpoint: bytes
    """The signed note."""


class Cosignature(NamedTuple):
    """A witness saw a tree, and everything that it had seen before was in it."""

    witness: str
    size: int
    time_s: int
    """When, by the witness's clock; seconds since the Unix epoch."""

    @property
    def time(self) -> str:
        """The same, as records write times."""
        return rfc3339(self.time_s * 10**9)


def format_submission(submission: Submission) -> bytes:
    """Writes a request's body."""
    lines = [b"old %d" % submission.old_size, *map(b64encode, submission.path)]
    return b"\n".join(lines) + b"\n\n" + submission.checkpoint


def parse_submission(data: bytes) -> Submission:
    """Reads a request's body.

    Raises:
        NoteError: it is not of the form.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    first, *hashes = head.split(b"\n")
    old = _OLD.fullmatch(first)
    if not blank or old is None:
        raise NoteError("a request is `old SIZE`, a proof, a blank line, a checkpoint")
    if len(hashes) > PROOF_LINES_MAX:
        raise NoteError(f"a proof has at most {PROOF_LINES_MAX} lines")
    return Submission(int(old[1]), tuple(map(_hash, hashes)), checkpoint)


def cosigned_text(body: bytes, time_s: int) -> bytes:
    """What a witness signs: a checkpoint's text, and the time."""
    return b"cosignature/v1\ntime %d\n" % time_s + body


def cosignature_time(signature: bytes) -> int:
    """The time that a cosignature says, in seconds since the Unix epoch.

    Raises:
        NoteError: it is no Ed25519 cosignature.
    """
    time_s = int.from_bytes(signature[:TIME_BYTES])
    if len(signature) != _COSIGNATURE_BYTES or time_s > TIME_MAX:
        raise NoteError("a cosignature is a time and an Ed25519 signature")
    return time_s


def signed_by(note: Note, verifiers: Iterable[Verifier]) -> list[NoteSignature]:
    """The signatures of a note that are right, by keys that are known."""
    known = {(one.key.name, one.key.key_id): one for one in verifiers}
    found = []
    for one in note.signatures:
        verifier = known.get((one.name, one.key_id))
        if verifier is not None and verifier.verify(note.body, one.signature):
            found.append(one)
    return found


def cosignatures(note: Note, witnesses: Iterable[Verifier]) -> list[Cosignature]:
    """Who of the trusted witnesses has signed a checkpoint, and when.

    Raises:
        NoteError: the note is no checkpoint.
    """
    kept = [one for one in witnesses if one.key.algorithm == COSIGNATURE_ED25519]
    size = parse_checkpoint(note.body).head.size
    return [
        Cosignature(one.name, size, cosignature_time(one.signature))
        for one in signed_by(note, kept)
    ]


def assurance(found: Sequence[Cosignature], size: int, others: Sequence[str]) -> str:
    """What a trail of some size is worth, in a sentence.

    Args:
        found: what trusted witnesses have signed of this log, of any size.
        size: how many records the trail has.
        others: names whose signatures could not be verified.
    """
    if not found:
        why = "no witness has signed it, so whoever holds its key could rewrite it"
        if others:
            named = ", ".join(sorted(set(others)))
            why = (
                f"{named} signed it, too, which was not verified here: comptroller"
                " audit verify --witness-key does"
            )
        return f"{OUTSIDERS_ONLY}: {why}"
    best = max(found, key=lambda one: (one.size, one.time_s))
    names = sorted({one.witness for one in found if one.size == best.size})
    since = size - best.size
    rest = "" if since <= 0 else f"; of the {since} records since, against outsiders"
    return (
        f"tamper-evident against whoever holds the trail's key, too, for the first"
        f" {best.size} records: {', '.join(names)} signed that at"
        f" {best.time}{rest}"
    )


def assurance_here(
    kept: Sequence[Cosignature], size: int, others: Sequence[str]
) -> str:
    """The same where the witnesses' keys are only those that are kept with the trail.

    Whoever could rewrite the trail could have put them there.

    Args:
        kept: what those witnesses have signed of this log, of any size.
        size: how many records the trail has.
        others: names whose signatures could not be verified.
    """
    if not kept:
        return assurance([], size, others)
    best = max(kept, key=lambda one: (one.size, one.time_s))
    names = ", ".join(sorted({one.witness for one in kept if one.size == best.size}))
    return (
        f"{OUTSIDERS_ONLY}, as far as this can say: {names} signed the first"
        f" {best.size} of {size} records at {best.time}, by the key that is kept here;"
        " with the key from the witness itself, comptroller audit verify --witness-key"
        " says more"
    )


def check_log_key(algorithm: int, name: str) -> None:
    """Checks that a key is one of a log.

    Raises:
        NoteError: it is that of a witness, or of a kind that is not known here.
    """
    if algorithm == COSIGNATURE_ED25519:
        raise NoteError(f"{name}: that is the key of a witness, not of a log")
    if algorithm != ED25519:
        raise NoteError(f"{name}: keys of type {algorithm:#04x} are not known here")


def check_witness_key(algorithm: int, name: str) -> None:
    """Checks that a key is one of a witness.

    Raises:
        NoteError: it is that of a log, or of a kind that is not known here.
    """
    if algorithm == ED25519:
        raise NoteError(f"{name}: that is the key of a log, not of a witness")
    if algorithm != COSIGNATURE_ED25519:
        raise NoteError(f"{name}: keys of type {algorithm:#04x} are not known here")


def _hash(line: bytes) -> bytes:
    try:
        decoded = b64decode(line, validate=True)
    except ValueError:
        raise NoteError(f"{line!r} is not base64") from None
    if b64encode(decoded) != line or len(decoded) != HASH_BYTES:
        raise NoteError(f"{line!r} is not a hash in base64")
    return decoded
