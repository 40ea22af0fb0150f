"""The SQLite store: its schema, opening it, and what happens when it cannot write."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event

from comptroller.adapters.store import connecting, migrations, schema
from comptroller.adapters.store.reports import SqliteReports
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.core.errors import RecordError, StoreUnavailableError
from comptroller.core.usage import USAGE_CLASSES
from comptroller.engine.ports import JournalPosition, RequestQuery
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.script import Script
from comptroller.testing.system import START_NS, FakeClock, SequentialIds

W0 = "/node/w0/01A"
MONTH = "service:checkout-assistant/month@2025-11"


def tables(path: Path) -> dict[str, str]:
    """Name to definition of everything in a database, spaces set aside."""
    found = sqlite3.connect(path).execute("SELECT name, sql FROM sqlite_master")
    return {name: " ".join((sql or "").split()) for name, sql in found}


def first_release(path: Path) -> None:
    """A database as the first release left it, with one request under way."""
    engine = connecting._engine(path, "IMMEDIATE")
    config = Config()
    config.set_main_option("script_location", next(iter(migrations.__path__)))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO journals VALUES (1, ?, 100)", (W0,))
        connection.exec_driver_sql(
            "INSERT INTO requests VALUES ('OLD', '/v1', 'checkout-assistant', 'retail',"
            " 'acme', 'cred-1', 'ada', 'ada', 'ada', 'ada', NULL, 'allow', 'allowed',"
            " 'm', 1000, 1, 1, ?, 1, 0, 'open', 0, '{}', NULL, NULL, NULL, NULL, NULL)",
            (START_NS,),
        )
    engine.dispose()


def recorded(count: int) -> InMemoryJournal:
    journal = InMemoryJournal(W0)
    script = Script(journal, FakeClock(), SequentialIds())
    for number in range(count):
        script.decided(f"R{number:05d}")
        script.settled(f"R{number:05d}", 1, {"input": 1})
    return journal


def project(store: SqliteStore, journal: InMemoryJournal) -> None:
    store.project(journal.records, JournalPosition(W0, journal.offset))


def test_the_migrations_make_what_a_new_database_is_made_of(tmp_path: Path) -> None:
    """One that was migrated and one made at once are the same, word for word."""
    new, migrated = tmp_path / "new", tmp_path / "migrated"
    SqliteStore(new).close()
    engine = connecting._engine(migrated, "IMMEDIATE")
    with engine.begin() as connection:
        connecting.migrate(connection, migrated)
    engine.dispose()
    assert tables(new) == tables(migrated)
    stamps = [
        sqlite3.connect(path).execute("SELECT * FROM alembic_version").fetchall()
        for path in (new, migrated)
    ]
    assert stamps == [[(schema.HEAD,)]] * 2


def test_a_database_of_the_first_release_is_migrated(tmp_path: Path) -> None:
    """Its requests stay; they hold nothing, end as before, and new ones hold."""
    path = tmp_path / "store.sqlite3"
    first_release(path)
    store = SqliteStore(path)
    new = tmp_path / "new"
    SqliteStore(new).close()
    assert tables(new) == tables(path)
    row = store.request("OLD")
    assert row is not None
    assert (row.state, row.cost_nano_usd, row.time_ns) == ("open", 0, START_NS)
    assert store.held_on([MONTH]) == {MONTH: 0}
    journal = InMemoryJournal(W0)
    journal.append(b"x" * 99)  # what was projected before
    script = Script(journal, FakeClock(), SequentialIds())
    script.settled("OLD", 7, {"input": 1})
    script.decided("R1", {"comptroller.hold.accounts": [MONTH]})
    project(store, journal)
    assert store.held_on([MONTH]) == {MONTH: 1000}
    assert store.spent_in("service", "checkout-assistant", 0, None) == 7
    store.close()


def test_the_head_is_alembics_head() -> None:
    """The constant that spares Alembic's import names the newest migration."""
    config = Config()
    config.set_main_option("script_location", next(iter(migrations.__path__)))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_every_class_of_usage_has_its_column() -> None:
    """No class of usage can fall out of the roll-up."""
    named = [name for name in schema.spend.c.keys() if name.startswith("usage_")]  # noqa: SIM118  columns, not a dict
    assert named == [f"usage_{name}" for name in USAGE_CLASSES]


def test_a_path_is_no_address(tmp_path: Path) -> None:
    """What is an option in an address is a letter in the name of a folder."""
    path = tmp_path / "50% of?mode=memory&what#else" / "store.sqlite3"
    SqliteStore(path).close()
    assert path.stat().st_size > 0
    assert [one.name for one in tmp_path.iterdir()] == [path.parent.name]


def test_a_database_is_private_and_never_torn(tmp_path: Path) -> None:
    """Only its owner reads it; a commit is on disk when it returns."""
    path = tmp_path / "new" / "store.sqlite3"
    store = SqliteStore(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with store._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    store.close()


def test_a_database_is_made_and_opened_without_alembic(tmp_path: Path) -> None:
    """Only a database that must be migrated costs Alembic's import."""
    program = (
        "import sys; from pathlib import Path;"
        "from comptroller.adapters.store.sqlite import SqliteStore;"
        "SqliteStore(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    asked = [sys.executable, "-c", program, str(tmp_path / "store.sqlite3")]
    said = [
        subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert said == ["False\n", "False\n"]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A release does not write, or read, what a newer one has changed."""
    path = tmp_path / "store.sqlite3"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreUnavailableError, match="newer release"):
        SqliteStore(path)
    with pytest.raises(StoreUnavailableError, match="schema 9999"):
        SqliteReports.open(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """Another file, or a folder, gives our error with its name."""
    path = tmp_path / "store.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailableError, match=r"store\.sqlite3.*not a database"):
        SqliteStore(path)
    with pytest.raises(StoreUnavailableError, match=r"cannot open the store"):
        SqliteStore(tmp_path)


def test_reports_read_while_the_store_writes(tmp_path: Path) -> None:
    """A reader in any process sees what was committed, and cannot write."""
    path = tmp_path / "store.sqlite3"
    with pytest.raises(StoreUnavailableError, match="there is no store"):
        SqliteReports.open(path)
    store = SqliteStore(path)
    reports = SqliteReports.open(path)
    assert reports.requests(RequestQuery()) == []
    project(store, recorded(3))
    assert len(reports.requests(RequestQuery())) == 3
    with store._engine.begin():
        assert reports.spend("owner", None)[0].requests == 3
    reports.close()
    store.close()


def test_reports_read_when_nobody_writes(tmp_path: Path) -> None:
    """A store left behind by a process that is gone can be read."""
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    project(store, recorded(3))
    store.close()
    reports = SqliteReports.open(path)
    assert len(reports.requests(RequestQuery())) == 3
    reports.close()


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """A failed transaction leaves the rows and the position as they were."""
    store = SqliteStore(tmp_path / "store.sqlite3")
    project(store, recorded(10))
    position = store.position(W0)
    more = recorded(3000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(StoreUnavailableError, match=r"store\.sqlite3"):
            project(store, more)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.position(W0) == position
    assert store.spend("owner", None)[0].requests == 10
    project(store, more)
    assert store.spend("owner", None)[0].requests == 3000
    store.close()


def test_positions_of_many_journals_are_one_query(tmp_path: Path) -> None:
    """Every old command left a journal; asking where each stands costs nothing."""
    store = SqliteStore(tmp_path / "store.sqlite3")
    project(store, recorded(1))
    queries = list[str]()
    event.listen(
        store._engine, "before_cursor_execute", lambda *seen: queries.append(seen[2])
    )
    positions = [store.position(f"/node/cli/{boot}") for boot in range(2000)]
    assert positions == [0] * 2000
    assert store.position(W0) > 0
    assert sum("FROM journals" in query for query in queries) == 1
    store.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (RequestQuery(), "requests_by_time"),
        (RequestQuery(since_ns=5), "requests_by_time"),
        (RequestQuery(service="s"), "requests_by_service"),
        (RequestQuery(service="s", since_ns=5), "requests_by_service"),
        (RequestQuery(decision="deny"), "requests_refused"),
    ],
)
def test_listings_use_their_index(
    tmp_path: Path, query: RequestQuery, index: str
) -> None:
    """No listing sorts, or reads through all requests."""
    store = SqliteStore(tmp_path / "store.sqlite3")
    plans: list[str] = []
    with store._engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(plans.append)
    store.requests(query)
    (asked,) = [one for one in plans if one.startswith("SELECT requests")]
    plan = driver.execute(f"EXPLAIN QUERY PLAN {asked}").fetchall()
    details = " | ".join(row[3] for row in plan)
    assert index in details
    assert "TEMP B-TREE" not in details
    store.close()


def test_open_requests_are_found_by_their_index(tmp_path: Path) -> None:
    """Recovery, once a second, does not read through all requests."""
    store = SqliteStore(tmp_path / "store.sqlite3")
    said: list[str] = []
    with store._engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(said.append)
    store.open_sources()
    store.open_requests(W0)
    asked = [one for one in said if one.startswith("SELECT")]
    assert len(asked) == 2
    for one in asked:
        plan = driver.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()
        assert "requests_open" in " | ".join(row[3] for row in plan)
    store.close()


def test_a_number_beyond_64_bits_is_an_error_of_its_record(tmp_path: Path) -> None:
    """It stops its journal with a message, and not the process."""
    journal = InMemoryJournal(W0)
    script = Script(journal, FakeClock(), SequentialIds())
    script.decided("R1", {"comptroller.hold.nano_usd": 1 << 63})
    store = SqliteStore(tmp_path / "store")
    with pytest.raises(RecordError, match=W0):
        project(store, journal)
    assert store.position(W0) == 0
    store.close()


def test_a_store_whose_file_was_taken_or_replaced_is_lost(tmp_path: Path) -> None:
    """Whoever writes it would write what nobody reads."""
    place = tmp_path / "store.sqlite3"
    store = SqliteStore(place)
    assert not store.is_lost()
    place.rename(tmp_path / "taken")
    assert store.is_lost()
    SqliteStore(place).close()
    assert store.is_lost()
    store.close()
