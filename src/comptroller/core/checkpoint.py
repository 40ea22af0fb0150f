"""Checkpoints of the trail: signed notes of a tree's size and root.

Formats: C2SP signed-note and tlog-checkpoint. Nothing here signs or verifies;
that is done by whoever stands behind `Signer` and `Verifier`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from comptroller.core.errors import NoteError
from comptroller.core.merkle import HASH_BYTES, SIZE_MAX, TreeHead

ED25519: Final = 0x01
COSIGNATURE_ED25519: Final = 0x04
NOTE_BYTES_MAX: Final = 256 * 1024
SIGNATURES_MAX: Final = 64
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— ".encode()
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL: Final = re.compile(rb"[\x00-\x09\x0b-\x1f]")


class NoteSignature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A text and who signed it; nothing of it is verified yet."""

    body: bytes
    """Ends with a newline; the blank line after it is not part of it."""
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key as its owner publishes it: a `vkey`."""

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell it from other keys of its name."""
        seed = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return sha256(seed).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        encoded = b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


class Signer(Protocol):
    """Whoever has a private key."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        ...

    def sign(self, body: bytes) -> bytes:
        """Signs the text of a note; returns the bare signature."""
        ...


class Verifier(Protocol):
    """Whoever can tell a key's signatures from others."""

    @property
    def key(self) -> VerifierKey:
        """The key."""
        ...

    def verify(self, body: bytes, signature: bytes) -> bool:
        """Whether this is the key's signature of the text of a note."""
        ...


class Checkpoint(NamedTuple):
    """What a log says of itself: its name, and its tree."""

    origin: str
    head: TreeHead

    @property
    def body(self) -> bytes:
        """The text that is signed."""
        root = b64encode(self.head.root).decode()
        return f"{self.origin}\n{self.head.size}\n{root}\n".encode()


def parse_vkey(text: str) -> VerifierKey:
    """Reads a `vkey`.

    Raises:
        NoteError: it is none, or its key id is that of another key.
    """
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise NoteError(f"{text!r} is not a key: NAME+ID+BASE64 is expected")
    encoded = _decoded(parts[2], "the key")
    if not encoded:
        raise NoteError(f"{text!r} has no key in it")
    key = VerifierKey(parts[0], encoded[0], encoded[1:])
    if key.algorithm in {ED25519, COSIGNATURE_ED25519} and len(key.public) != 32:
        raise NoteError(f"{text!r}: an Ed25519 key has 32 bytes")
    if key.key_id.hex() != parts[1]:
        raise NoteError(
            f"{text!r} is damaged: the id of that key is {key.key_id.hex()}"
        )
    return key


def check_name(name: str) -> str:
    """Returns a name that a key may have.

    Raises:
        NoteError: it is empty, or has spaces or a plus sign in it.
    """
    if not _NAME.fullmatch(name):
        raise NoteError(f"{name!r} cannot name a log: no spaces, no plus sign")
    return name


def format_note(note: Note) -> bytes:
    """Writes a note."""
    lines = [note.body, b"\n"]
    for name, key_id, signature in note.signatures:
        lines += [_DASH, name.encode(), b" ", b64encode(key_id + signature), b"\n"]
    return b"".join(lines)


def parse_note(data: bytes) -> Note:
    """Reads a note without verifying it.

    Raises:
        NoteError: it is not a note, or larger than any of ours.
    """
    if len(data) > NOTE_BYTES_MAX:
        raise NoteError(f"a note has at most {NOTE_BYTES_MAX} bytes")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise NoteError("a note is UTF-8 text") from None
    if _CONTROL.search(data):
        raise NoteError("a note holds no control characters")
    body, blank, signed = data.rpartition(b"\n\n")
    if not blank or not signed.endswith(b"\n"):
        raise NoteError("a note ends with a blank line and lines of signatures")
    lines = signed[:-1].split(b"\n")
    if len(lines) > SIGNATURES_MAX:
        raise NoteError(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(body + b"\n", tuple(map(_signature, lines)))


def _signature(line: bytes) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).decode().partition(" ")
    if not line.startswith(_DASH) or not _NAME.fullmatch(name):
        raise NoteError(f"{line.decode()!r} is not a line with a signature")
    decoded = _decoded(encoded, "the signature")
    if len(decoded) <= _KEY_ID_BYTES:
        raise NoteError(f"the signature of {name} is too short")
    return NoteSignature(name, decoded[:_KEY_ID_BYTES], decoded[_KEY_ID_BYTES:])


def verified(data: bytes, verifiers: Iterable[Verifier]) -> tuple[Note, Sequence[str]]:
    """Reads a note that at least one known key has signed.

    Returns:
        The note, and the `vkey` of each known key that signed it.

    Raises:
        NoteError: it is not a note, no known key signed it, or the signature of
            one that is known is wrong.
    """
    note = parse_note(data)
    known = {(one.key.name, one.key.key_id): one for one in verifiers}
    signers = []
    for name, key_id, signature in note.signatures:
        verifier = known.get((name, key_id))
        if verifier is None:
            continue  # others may sign, too; what they say is unknown
        if not verifier.verify(note.body, signature):
            raise NoteError(f"the signature of {name}+{key_id.hex()} is wrong")
        signers.append(str(verifier.key))
    if not signers:
        raise NoteError("the note is not signed by a key that is known")
    return note, signers


def parse_checkpoint(body: bytes) -> Checkpoint:
    """Reads the text of a checkpoint; extension lines are passed over.

    Raises:
        NoteError: the text is no checkpoint.
    """
    lines = body.decode(errors="replace").split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise NoteError("a checkpoint is an origin, a size and a root, each on a line")
    if not _NUMBER.fullmatch(lines[1]) or int(lines[1]) > SIZE_MAX:
        raise NoteError(f"{lines[1]!r} is not the size of a tree")
    root = _decoded(lines[2], "the root")
    if len(root) != HASH_BYTES:
        raise NoteError(f"the root of a tree has {HASH_BYTES} bytes")
    return Checkpoint(lines[0], TreeHead(int(lines[1]), root))


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Signs a checkpoint; the caller has verified that it may be signed."""
    body = checkpoint.body
    key = signer.key
    line = NoteSignature(key.name, key.key_id, signer.sign(body))
    return format_note(Note(body, (line,)))


def _decoded(text: str, what: str) -> bytes:
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        raise NoteError(f"{what} is not base64: {text!r}") from None
    if b64encode(decoded).decode() != text:
        raise NoteError(f"{what} has more than one form in base64: {text!r}")
    return decoded
