"""Wiring of the answers to what is known of persons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.personal import disclosures
from comptroller.bootstrap.place import Place

if TYPE_CHECKING:
    from comptroller.engine.personal_data import PersonalData


@contextmanager
def open_personal_data(data: Path) -> Iterator[PersonalData]:
    """What is disclosed of persons, held against a fresh store.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.disclosures import FileDisclosureTable
    from comptroller.adapters.store.controls import SqliteControls
    from comptroller.bootstrap.recorded import open_recorded
    from comptroller.engine.personal_data import PersonalData, PersonalParts

    place = Place(data)
    with (
        open_reports(data) as reports,
        open_recorded(place, reports) as journals,
        closing(SqliteControls.open(place.store)) as controls,
    ):
        table = FileDisclosureTable(disclosures(place))
        changes = controls.registry_changes
        yield PersonalData(PersonalParts(reports, journals, table, changes))
