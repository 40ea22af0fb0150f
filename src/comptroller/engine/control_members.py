"""What rows of the store and records of the journals say, to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from comptroller.engine import records
from comptroller.engine.control_ports import RecordPlace, RevisionRow
from comptroller.engine.control_records import (
    CONTROL_HEARTBEAT,
    Heartbeat,
    HeartbeatState,
)
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.policy_records import (
    POLICY_ACTIVATED,
    POLICY_DEACTIVATED,
    PolicyActivated,
    PolicyDeactivated,
)

Members: TypeAlias = Mapping[str, str]
"""What a row or a record says, by what it says it of."""


def members_of(envelope: records.Envelope) -> Members:
    """What a record says, in the terms of the rows."""
    kind, data = envelope.type, envelope.data
    found = {"journal": envelope.source, "type": kind, "time": envelope.time}
    if kind == CONTROL_HEARTBEAT:
        found |= state_members(msgspec.json.decode(data, type=Heartbeat).state)
    elif kind == records.REGISTRY_APPLIED:
        applied = msgspec.json.decode(data, type=records.RegistryApplied)
        by = applied.actor
        row = RevisionRow(
            applied.revision, 0, applied.digest, by.person, by.account, None
        )
        found |= applied_members(row)
    elif kind == POLICY_ACTIVATED:
        on = msgspec.json.decode(data, type=PolicyActivated)
        people = on.author, on.approver, ""
        row_of = ActivationRow(
            0, on.revision, on.previous, *people, on.separation_of_duties, 0
        )
        found |= activated_members(row_of)
    elif kind == POLICY_DEACTIVATED:
        off = msgspec.json.decode(data, type=PolicyDeactivated)
        people = off.author, off.approver, off.note
        row_of = ActivationRow(
            0, None, off.previous, *people, off.separation_of_duties, 0
        )
        found |= activated_members(row_of)
    return found


def state_members(state: HeartbeatState) -> Members:
    """What a heartbeat says."""
    return {
        "registry revision": str(state.registry_revision),
        "policy": _or_none(state.policy_revision),
        "usable policy": _yes(is_so=state.policy_is_usable),
        "durability": state.durability,
        "seconds between heartbeats": str(state.every_s),
        **{
            one.id: f"{'on' if one.is_active else 'off'} by {_or_none(one.revision)}"
            for one in state.controls
        },
    }


def applied_members(row: RevisionRow) -> Members:
    """What the act of a revision says."""
    return {
        "registry revision": str(row.revision),
        "digest": row.digest,
        "person": _or_none(row.person),
        "account": row.account,
    }


def activated_members(row: ActivationRow) -> Members:
    """What a policy's activation or deactivation says."""
    return {
        "policy": _or_none(row.revision),
        "previous policy": _or_none(row.previous),
        "author": row.author,
        "approver": row.approver,
        "note": row.note,
        "separation of duties": _yes(is_so=row.is_separated),
    }


def differing(stored: Members, recorded: Members, place: RecordPlace) -> str | None:
    """How a record is not what a store says; None: it is.

    Of a record of another type, or of another journal, only that is told.
    """
    names = list(dict.fromkeys((*stored, *recorded)))
    names = [one for one in names if stored.get(one) != recorded.get(one)]
    if not names:
        return None
    names = [one for one in names if one in ("journal", "type")] or names
    said = [
        ", ".join(f"{one} {members.get(one, 'unsaid')}" for one in names)
        for members in (stored, recorded)
    ]
    return (
        f"the store says {said[0]}; the record at {place.source} {place.sequence}"
        f" says {said[1]}"
    )


def _or_none(text: str | None) -> str:
    return "none" if text is None else text


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else "no"
