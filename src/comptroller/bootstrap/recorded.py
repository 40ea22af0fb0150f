"""Wiring of all that was recorded: the journals, and the trail for deleted ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.tlog.streams import TrailStreams
from comptroller.bootstrap.place import Place
from comptroller.engine.deletion_ports import DeletionReports
from comptroller.engine.recorded import RecordedJournals


@contextmanager
def open_recorded(place: Place, reports: DeletionReports) -> Iterator[RecordedJournals]:
    """Every journal of a data directory, whether it is still there or not.

    Args:
        place: the data directory.
        reports: of its store, which knows what was deleted.
    """
    with closing(DirectoryJournalReader(place.journal)) as reader:
        streams = TrailStreams(place.trail, place.trail_places)
        yield RecordedJournals(reader, streams, reports.deleted_journals)
