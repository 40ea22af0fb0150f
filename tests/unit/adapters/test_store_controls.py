"""What a store of an older release knows of who configured what."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from comptroller.adapters.store import connecting, migrations
from comptroller.adapters.store.controls import SqliteControls
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.engine.control_ports import ChangeRow, RecordPlace
from comptroller.engine.ports import JournalPosition
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.projected import CONTROL
from comptroller.testing.script import Script
from comptroller.testing.system import FakeClock, SequentialIds


def before_evidence(path: Path) -> None:
    """A database as the release before left it, at revision 7."""
    engine = connecting._engine(path, "IMMEDIATE")
    config = Config()
    config.set_main_option("script_location", next(iter(migrations.__path__)))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for revision in (6, 7):
            connection.exec_driver_sql(
                "INSERT INTO revisions VALUES (?, ?, 'sha256:00', 'ada', 'ada@host')",
                (revision, revision),
            )
        connection.exec_driver_sql(
            "INSERT INTO registry_objects VALUES ('service', 'one', ?)", (b"{}",)
        )
    engine.dispose()


def test_what_was_applied_stands_for_all_revisions_before(tmp_path: Path) -> None:
    """The objects are of the last revision; where its record is was never kept."""
    path = tmp_path / "store.sqlite3"
    before_evidence(path)
    store = SqliteStore(path)
    journal = InMemoryJournal(CONTROL)
    script = Script(journal, FakeClock(), SequentialIds())
    script.applied(8, {("service", "one"): None})
    store.project(journal.records, JournalPosition(CONTROL, journal.offset))
    store.close()
    controls = SqliteControls.open(path)
    places = {one.revision: one.place for one in controls.revisions()}
    assert places == {6: None, 7: None, 8: RecordPlace(CONTROL, 1)}
    assert controls.registry_changes(["service"]) == [
        ChangeRow(7, "service", "one", b"{}"),
        ChangeRow(8, "service", "one", None),
    ]
    controls.close()
