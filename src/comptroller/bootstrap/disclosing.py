"""Wiring of the answers to what is known of persons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.personal import disclosures
from comptroller.bootstrap.place import Place

if TYPE_CHECKING:
    from comptroller.engine.personal_data import PersonalData


@contextmanager
def open_personal_data(data: Path) -> Iterator[PersonalData]:
    """What requests disclosed of persons, from a fresh store.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.disclosures import FileDisclosureTable
    from comptroller.adapters.journal.reader import DirectoryJournalReader
    from comptroller.engine.personal_data import PersonalData, PersonalParts

    place = Place(data)
    with open_reports(data) as reports:
        reader = DirectoryJournalReader(place.journal)
        try:
            table = FileDisclosureTable(disclosures(place))
            yield PersonalData(PersonalParts(reports, reader, table))
        finally:
            reader.close()
