"""History: every published bundle, what became of it, and who decides by it now."""

from __future__ import annotations

from typing import Any

from comptroller.core.timestamps import rfc3339
from comptroller.engine.policy_ports import (
    ActivationRow,
    PolicyLoadRow,
    PolicyReports,
    PolicyRow,
    active_policy,
)
from comptroller.engine.ports import JournalReader
from comptroller.engine.projection import is_administrative


def policy_history(reports: PolicyReports, reader: JournalReader) -> dict[str, Any]:
    """The history as `comptroller policy history --json` prints it.

    Bundles are in the order of what last happened to them, the newest first.
    """
    active = active_policy(reports)
    activations = reports.policy_activations()
    live = [
        source
        for source in reader.sources()
        if not is_administrative(source) and not reader.is_dead(source)
    ]
    loads = [one for one in reports.policy_loads() if one.source in live]
    last = {one.revision: one for one in activations}
    rows = sorted(
        reports.policies(),
        key=lambda one: (_happened(one, last.get(one.revision)), one.revision),
        reverse=True,
    )
    return {
        "active": active.revision if active is not None else None,
        "workers": len(live),
        "bundles": [
            _bundle(
                row,
                is_active=active is not None and row.revision == active.revision,
                activations=[
                    one for one in activations if one.revision == row.revision
                ],
                loads=[one for one in loads if one.revision == row.revision],
            )
            for row in rows
        ],
        "deactivations": [
            {**_activation(one), "author": one.author, "note": one.note}
            for one in reversed(activations)
            if one.revision is None
        ],
    }


def _happened(row: PolicyRow, activation: ActivationRow | None) -> tuple[int, int]:
    """When something last happened to a bundle: changes have an order of their own."""
    if activation is None:
        return row.time_ns, 0
    return max(row.time_ns, activation.time_ns), activation.number


def _bundle(
    row: PolicyRow,
    *,
    is_active: bool,
    activations: list[ActivationRow],
    loads: list[PolicyLoadRow],
) -> dict[str, Any]:
    state = "published"
    if activations:
        state = "active" if is_active else "was active"
    last = activations[-1] if activations else None
    return {
        "revision": row.revision,
        "state": state,
        "author": row.author,
        "note": row.note,
        "published": rfc3339(row.time_ns),
        "approver": last.approver if last is not None else None,
        "activated": rfc3339(last.time_ns) if last is not None else None,
        "files": row.file_count,
        "parts": row.part_count,
        "cases": row.case_count,
        "activations": [_activation(one) for one in reversed(activations)],
        "loaded_by": [
            {"worker": one.source, "time": rfc3339(one.time_ns)} for one in loads
        ],
    }


def _activation(row: ActivationRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "time": rfc3339(row.time_ns),
        "previous": row.previous,
        "approver": row.approver,
        "separation_of_duties": row.is_separated,
    }
