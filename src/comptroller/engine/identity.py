"""Identity: the credentials that exist, as people ask about them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from comptroller.core import credential as credentials
from comptroller.core.credential import CredentialState
from comptroller.core.registry import Registry, ServiceId
from comptroller.engine.ports import CredentialRow

ORPHANED = "orphaned"
"""State of a live credential whose service is not declared any more."""


class CredentialLine(msgspec.Struct, frozen=True):
    """One credential, as `comptroller key list` shows it."""

    credential_id: str
    service: str
    person: str
    state: str
    """`active`, `expired`, `revoked`, or `orphaned`: its service is gone."""
    issued_ns: int
    expires_ns: int | None
    last_used_ns: int | None
    secrets_in_force: int
    revoked_ns: int | None
    revoked_reason: str | None


def credential_lines(
    rows: Iterable[CredentialRow], registry: Registry | None, now_ns: int
) -> list[CredentialLine]:
    """Says of each credential what it is now, oldest first."""
    services = registry.services if registry is not None else {}
    return [
        _line(row, now_ns, is_served=ServiceId(row.credential.service) in services)
        for row in rows
    ]


def _line(row: CredentialRow, now_ns: int, *, is_served: bool) -> CredentialLine:
    one = row.credential
    state: str = credentials.state(one, now_ns)
    is_active = state == CredentialState.ACTIVE
    in_force = [s for s in one.secrets if credentials.is_in_force(s, now_ns)]
    return CredentialLine(
        credential_id=one.id,
        service=one.service,
        person=one.person,
        state=ORPHANED if is_active and not is_served else str(state),
        issued_ns=one.issued_ns,
        expires_ns=one.expires_ns,
        last_used_ns=row.last_used_ns,
        secrets_in_force=len(in_force) if is_active else 0,
        revoked_ns=one.revoked_ns,
        revoked_reason=one.revoked_reason,
    )
