"""What became of a record that is neither in a journal nor in the trail any more."""

from __future__ import annotations

from pathlib import Path

from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.place import Place
from comptroller.core.timestamps import rfc3339


def why_pruned(data: Path, request_id: str) -> str | None:
    """Which pruning a request's decision went with, at the latest.

    Args:
        data: the data directory.
        request_id: whose decision.

    Returns:
        None: there is no such request, or nothing was pruned.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        TrailUnavailableError: the index beside the trail cannot be read.
    """
    place = Place(data)
    with open_reports(data) as reports:
        row = reports.request(request_id.strip().upper())
        prunings = reports.prunings()
    if row is None or not prunings:
        return None
    source, offset = row.decided_at
    run = next(PlaceIndex(place.trail_places).runs(source, offset), None)
    end = 0 if run is None else run.entry + run.length
    said = next((one for one in prunings if end and one.below >= end), prunings[-1])
    return (
        f"the record of {row.request_id} was pruned on {rfc3339(said.time_ns)} by"
        f" {said.person or said.account}, approved by {said.approved_by}:"
        f" {said.reason}; its journal is gone, too. The proof of its hash can still be"
        " made: by whoever kept the record itself"
    )
