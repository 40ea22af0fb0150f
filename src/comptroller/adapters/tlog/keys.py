"""Ed25519 keys of checkpoints: made, kept in a file, and known by their `vkey`.

The file holds one line, in the form of Go's note package:
`PRIVATE+KEY+NAME+ID+BASE64`, the base64 of an algorithm's byte and the seed.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from comptroller.adapters.tlog.files import sync_folder
from comptroller.core.checkpoint import (
    COSIGNATURE_ED25519,
    ED25519,
    Verifier,
    VerifierKey,
    check_name,
)
from comptroller.core.cosignature import TIME_BYTES, cosigned_text
from comptroller.core.errors import NoteError, TrailUnavailableError

_PREFIX: Final = "PRIVATE+KEY+"


class Ed25519Verifier:
    """Knows a log's signatures (signed-note, type 0x01)."""

    def __init__(self, key: VerifierKey) -> None:
        self.key = key
        self._public = Ed25519PublicKey.from_public_bytes(key.public)

    def verify(self, body: bytes, signature: bytes) -> bool:
        """Whether the key signed a note's text."""
        try:
            self._public.verify(signature, body)
        except InvalidSignature:
            return False
        return True


class CosignatureVerifier(Ed25519Verifier):
    """Knows a witness's signatures (tlog-cosignature, type 0x04)."""

    def verify(self, body: bytes, signature: bytes) -> bool:
        """Whether the witness signed a checkpoint, at the time that it says."""
        time_s = int.from_bytes(signature[:TIME_BYTES])
        return super().verify(cosigned_text(body, time_s), signature[TIME_BYTES:])


class TrailKey(Ed25519Verifier):
    """A private key and its name: signs what a log says of itself."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Takes a key.

        Raises:
            NoteError: no key can have this name.
        """
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        super().__init__(VerifierKey(check_name(name), ED25519, public))

    def sign(self, body: bytes) -> bytes:
        """Signs a note's text."""
        return self._private.sign(body)


class WitnessKey(CosignatureVerifier):
    """A witness's private key and its name: signs what others' logs say."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Takes a key.

        Raises:
            NoteError: no key can have this name.
        """
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        super().__init__(VerifierKey(check_name(name), COSIGNATURE_ED25519, public))

    def cosign(self, body: bytes, time_s: int) -> bytes:
        """Signs a checkpoint's text, with the time in it."""
        signature = self._private.sign(cosigned_text(body, time_s))
        return time_s.to_bytes(TIME_BYTES) + signature


_AnyKey = TypeVar("_AnyKey", TrailKey, WitnessKey)


def verifier(key: VerifierKey) -> Verifier:
    """What verifies a key's signatures.

    Raises:
        NoteError: its algorithm is not one of ours.
    """
    match key.algorithm:
        case 0x01:
            return Ed25519Verifier(key)
        case 0x04:
            return CosignatureVerifier(key)
        case other:
            raise NoteError(
                f"{key.name}: keys of type {other:#04x} cannot be verified; "
                f"{ED25519:#04x} and {COSIGNATURE_ED25519:#04x} can"
            )


def read_key(path: Path) -> TrailKey:
    """Reads a key that only its owner can read.

    Raises:
        TrailUnavailableError: it is not there, others can read it, or it is none.
    """
    return _read(path, TrailKey)


def _read(path: Path, kind: Callable[[str, bytes], _AnyKey]) -> _AnyKey:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise TrailUnavailableError(
            f"the key {path} cannot be read: {error.strerror}"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise TrailUnavailableError(
            f"others can read the key {path}: chmod 600, and take a new one"
        )
    wrong = TrailUnavailableError(f"{path} holds no key of this kind")
    parts = text.removeprefix(_PREFIX).split("+", 2)
    if not text.startswith(_PREFIX) or len(parts) != 3:
        raise wrong
    try:
        encoded = b64decode(parts[2], validate=True)
        key = kind(parts[0], encoded[1:])
    except (ValueError, NoteError):
        raise wrong from None
    if encoded[0] != key.key.algorithm or key.key.key_id.hex() != parts[1]:
        raise wrong
    return key


def open_key(path: Path, name: str) -> TrailKey:
    """Reads a key, and makes one where there is none yet.

    Args:
        path: The file; its folder is made, too.
        name: The name of a new key: the origin of the log that it signs. A key
            that is there keeps its own.

    Raises:
        NoteError: no key can have this name.
        TrailUnavailableError: it cannot be read or made.
    """
    return _open(path, name, TrailKey)


def open_witness_key(path: Path, name: str) -> WitnessKey:
    """Reads the key of a witness, and makes one where there is none yet.

    Raises:
        NoteError: no key can have this name.
        TrailUnavailableError: it cannot be read or made, or is not a witness's.
    """
    return _open(path, name, WitnessKey)


def _open(path: Path, name: str, kind: Callable[[str, bytes], _AnyKey]) -> _AnyKey:
    if not path.exists():
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        _make(path, seed, kind(name, seed).key)
    return _read(path, kind)


def _make(path: Path, seed: bytes, key: VerifierKey) -> None:
    encoded = b64encode(bytes([key.algorithm]) + seed).decode()
    line = f"{_PREFIX}{key.name}+{key.key_id.hex()}+{encoded}\n"
    unnamed = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with os.fdopen(os.open(unnamed, flags, 0o600), "wb") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unnamed, path)  # unlike a rename, this never replaces a key
        except FileExistsError:
            return  # another process was first; its key is the key
        finally:
            unnamed.unlink()
        sync_folder(path.parent)
        sync_folder(path.parent.parent)
    except OSError as error:
        raise TrailUnavailableError(
            f"the key {path} cannot be made: {error.strerror}"
        ) from error
