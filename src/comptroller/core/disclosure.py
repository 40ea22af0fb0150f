"""Commitments and disclosures in the form of SD-JWT (RFC 9901 §4.2).

A record holds the commitment, which says nothing by itself: it is the hash of a
disclosure, and that begins with 128 bits that nobody can guess. Whoever destroys
the disclosure leaves the record as it is, and nobody can tell any more of whom it
speaks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Final, NamedTuple

from comptroller.core.errors import RecordError

SALT_BYTES: Final = 16
ALGORITHM: Final = "sha-256"
"""As `_sd_alg` names it, after the IANA registry of named information hashes."""
END_USER: Final = "enduser.id"
CLIENT_ADDRESS: Final = "client.address"
_PARTS: Final = 3


class Disclosed(NamedTuple):
    """What a disclosure says."""

    salt: str
    name: str
    value: str


def disclosure(salt: bytes, name: str, value: str) -> str:
    """Writes a disclosure: base64url of `["salt","name","value"]`.

    Args:
        salt: SALT_BYTES that nobody can guess, never used before.
        name: of the field.
        value: of the field.
    """
    text = f'["{base64url(salt)}","{name}",{json.dumps(value)}]'
    return base64url(text.encode())


def trace(name: str, value: str) -> bytes:
    """What every disclosure of a value contains, whatever its salt; may be empty.

    Base64 codes three bytes at a time, and a salt is always as long: so all of a
    disclosure but its first and last few characters follows from what it says.
    """
    begin = len(f'["{base64url(bytes(SALT_BYTES))}') // 3 * 3 + 3
    text = disclosure(bytes(SALT_BYTES), name, value).encode()
    return text[begin // 3 * 4 : len(text) // 4 * 4]


def commitment(disclosed: str) -> str:
    """What a record holds of a disclosure: base64url of its SHA-256."""
    return base64url(hashlib.sha256(disclosed.encode("ascii")).digest())


def read_disclosure(text: str) -> Disclosed:
    """Reads a disclosure.

    Raises:
        RecordError: it is none. The message does not repeat it.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise RecordError("a disclosure is not base64url of [salt, name, value]")
    if not all(isinstance(one, str) for one in parts):
        raise RecordError("a disclosure has a part that is no text")
    return Disclosed(*parts)


def base64url(data: bytes) -> str:
    """Base64 for URLs without padding (RFC 4648 §5), as JOSE writes it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
