"""What became of a record that is neither in a journal nor in the trail any more."""

from __future__ import annotations

from comptroller.adapters.tlog.entries import TrailEntries
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.bootstrap.place import Place
from comptroller.core.errors import JournalUnavailableError
from comptroller.core.timestamps import rfc3339
from comptroller.engine.control_reading import Reading
from comptroller.engine.ports import JournalReader, RequestRow
from comptroller.engine.retention_ports import RetentionReports


def why_pruned(
    place: Place, reports: RetentionReports, journals: JournalReader, row: RequestRow
) -> str | None:
    """Which pruning a request's decision went with, at the latest.

    Args:
        place: the data directory.
        reports: of its store.
        journals: those that there are, and were.
        row: the request.

    Returns:
        None: its decision was not pruned, or its journal is there.

    Raises:
        TrailUnavailableError: the index beside the trail cannot be read.
    """
    source, offset = row.decided_at
    try:
        journals.read(source, 0, 1)
    except JournalUnavailableError:
        pass
    else:
        return None  # it is there, and has another record at that place
    run = next(PlaceIndex(place.trail_places).runs(source, offset), None)
    # A run that was pruned in part cannot be read from its middle on.
    index = 0 if run is None else run.entry
    said = next((one for one in reports.prunings() if one.below > index), None)
    if said is None:
        return None
    trail = TrailEntries(place.trail, place.trail_places)
    by = Reading(journals, trail).pruning(index)
    return (
        f"the record of {row.request_id} was pruned on {rfc3339(said.time_ns)}"
        + ("" if by is None else f", as record {by} of the trail says,")
        + f" by {said.person or said.account}, approved by {said.approved_by}:"
        f" {said.reason}; its journal is gone, too. The proof of its hash can still be"
        " made: by whoever kept the record itself"
    )
