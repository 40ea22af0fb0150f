"""Credentials: who may call, for which service, with which secrets (design.md §7).

A secret reads `ctl_<public id>_<secret><checksum>`, all of `0-9A-Za-z`: 12
characters of public id (the credential's id), 32 of secret (190 bits) and 6 of
CRC-32. The checksum tells a typing error from a stranger's secret without a
look-up, and lets secret scanners report without false alarms. SCANNER_PATTERN is
the expression for them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple, NewType

CredentialId = NewType("CredentialId", str)

PREFIX: Final = "ctl_"
PUBLIC_ID_CHARS: Final = 12
SECRET_CHARS: Final = 32
CHECKSUM_CHARS: Final = 6
ENTROPY_BYTES_MIN: Final = 32
"""More bits than the characters hold, so that their distribution is even."""
SCANNER_PATTERN: Final = r"\bctl_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\b"
"""For secret scanners; verify a find with `parse`."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(r"ctl_([0-9A-Za-z]{12})_([0-9A-Za-z]{38})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a credential: only its hash, and when it is valid."""

    sha256_hex: str
    not_before_ns: int
    not_after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A stable id with one or more secrets, bound to one service and one person."""

    id: CredentialId
    service: str
    person: str
    issued_ns: int
    secrets: tuple[Secret, ...]
    revoked_ns: int | None = None
    revoked_reason: str | None = None
    expires_ns: int | None = None


class ParsedSecret(NamedTuple):
    """A text that has the form of a secret; whether it is known is another matter."""

    credential_id: CredentialId
    sha256_hex: str


class Malformed(StrEnum):
    """Why a text is not one of our secrets."""

    NOT_OURS = "not_ours"
    """It does not begin with `ctl_`: probably a provider's own key."""
    WRONG_FORM = "wrong_form"
    """Cut off, or with characters that do not belong."""
    WRONG_CHECKSUM = "wrong_checksum"
    """A typing error: no such secret was ever issued."""


class CredentialState(StrEnum):
    """What a credential is at a moment."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


def public_id(entropy: bytes) -> CredentialId:
    """Makes a credential's id, which is public.

    Args:
        entropy: at least 32 unpredictable bytes.
    """
    return CredentialId(_base62(entropy, PUBLIC_ID_CHARS))


def compose(credential_id: CredentialId, entropy: bytes) -> str:
    """Makes a secret of a credential.

    Args:
        credential_id: the credential's public id.
        entropy: at least 32 unpredictable bytes.

    Raises:
        ValueError: the id does not have the form of one, or too little entropy.
    """
    body = f"{PREFIX}{credential_id}_{_base62(entropy, SECRET_CHARS)}"
    text = body + _checksum(body)
    if _FORM.fullmatch(text) is None:
        raise ValueError(f"{credential_id!r} is not a credential's id")
    return text


def parse(text: str) -> ParsedSecret | Malformed:
    """Reads a secret as a client presents it.

    Returns:
        What to look up, or why there is nothing to look up.
    """
    if not text.startswith(PREFIX):
        return Malformed.NOT_OURS
    form = _FORM.fullmatch(text)
    if form is None:
        return Malformed.WRONG_FORM
    body, checksum = text[:-CHECKSUM_CHARS], text[-CHECKSUM_CHARS:]
    if not hmac.compare_digest(_checksum(body), checksum):
        return Malformed.WRONG_CHECKSUM
    return ParsedSecret(CredentialId(form[1]), hash_secret(text))


def hash_secret(text: str) -> str:
    """SHA-256 in hexadecimal; enough, since a secret holds 190 random bits."""
    return hashlib.sha256(text.encode()).hexdigest()


def matching_secret(
    credential: Credential, sha256_hex: str, now_ns: int
) -> Secret | None:
    """The secret with this hash that is valid now, compared in constant time."""
    found = None
    for secret in credential.secrets:
        same = hmac.compare_digest(secret.sha256_hex, sha256_hex)
        if same and is_in_force(secret, now_ns):
            found = secret
    return found


def is_in_force(secret: Secret, now_ns: int) -> bool:
    """Whether a secret is valid at a moment; its end no longer is."""
    if now_ns < secret.not_before_ns:
        return False
    return secret.not_after_ns is None or now_ns < secret.not_after_ns


def state(credential: Credential, now_ns: int) -> CredentialState:
    """What a credential is at a moment; revoked wins over expired."""
    if credential.revoked_ns is not None:
        return CredentialState.REVOKED
    if credential.expires_ns is not None and now_ns >= credential.expires_ns:
        return CredentialState.EXPIRED
    return CredentialState.ACTIVE


def rotated(credential: Credential, new: Secret, old_not_after_ns: int) -> Credential:
    """The credential with a new secret; the others end at a moment, or earlier."""
    ended = tuple(
        secret
        if secret.not_after_ns is not None and secret.not_after_ns <= old_not_after_ns
        else replace(secret, not_after_ns=old_not_after_ns)
        for secret in credential.secrets
    )
    return replace(credential, secrets=(*ended, new))


def _base62(entropy: bytes, chars: int) -> str:
    if len(entropy) < ENTROPY_BYTES_MIN:
        raise ValueError(f"{ENTROPY_BYTES_MIN} bytes of entropy are needed")
    return _digits(int.from_bytes(entropy, "big"), chars)


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _digits(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
