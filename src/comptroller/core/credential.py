"""Credentials: who may call, for which service, with which secrets (design.md §7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

CredentialId = NewType("CredentialId", str)


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
