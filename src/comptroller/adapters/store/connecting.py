"""Opening the database: settings, permissions, and the schema's version."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert
from sqlalchemy.exc import DBAPIError

from comptroller.adapters.store.schema import HEAD, alembic_version, metadata
from comptroller.core.errors import StoreUnavailableError

BUSY_TIMEOUT_MS: Final = 10_000
_VERSION: Final = "SELECT version_num FROM alembic_version"


def writing_engine(path: Path) -> Engine:
    """Opens the database to write, creates it and brings its schema up to date.

    Raises:
        StoreUnavailableError: it cannot be opened, or a newer release wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailableError(f"cannot open the store {path}: {error}") from error
    # A commit waits for the disk. Everything here can be projected again from the
    # journals; but what the ledger answered must not be taken back by a power loss,
    # whatever became of the journal that it was read from.
    engine = _engine(path, "IMMEDIATE", "synchronous = FULL", "journal_mode = WAL")
    with translated(path), engine.begin() as connection:
        version = _version(connection)
        if version is None:
            metadata.create_all(connection)
            connection.execute(insert(alembic_version).values(version_num=HEAD))
        elif version != HEAD:
            migrate(connection, path)
    return engine


def reading_engine(path: Path) -> Engine:
    """Opens the database to read only.

    Raises:
        StoreUnavailableError: there is none, or its schema is not this release's.
    """
    if not path.exists():
        raise StoreUnavailableError(
            f"there is no store {path} yet: apply a configuration first"
        )
    engine = _engine(path, "DEFERRED", "query_only = ON")
    with translated(path), engine.begin() as connection:
        version = _version(connection)
    if version != HEAD:
        raise StoreUnavailableError(
            f"the store {path} has schema {version}, this release reads {HEAD}: "
            "run `comptroller serve` of the newer release once"
        )
    return engine


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Makes our error of the driver's.

    Raises:
        StoreUnavailableError: what the driver said, with the file's name.
    """
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailableError(f"the store {path}: {error.orig}") from error


def _engine(path: Path, begin: str, *pragmas: str) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, pool_reset_on_return=None)

    def connected(connection: sqlite3.Connection, _: Any) -> None:  # noqa: ANN401  SQLAlchemy's record
        connection.isolation_level = None  # the driver must not begin by itself
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "foreign_keys = ON",
            *pragmas,
        ):
            connection.execute(f"PRAGMA {pragma}")

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {begin}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
    return engine


def _version(connection: Connection) -> str | None:
    tables = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.exec_driver_sql(tables).first() is None:
        return None
    found = connection.exec_driver_sql(_VERSION).scalar()
    return None if found is None else str(found)


def migrate(connection: Connection, path: Path) -> None:
    """Brings an older database to the newest schema; an empty one, too.

    Raises:
        StoreUnavailableError: a newer release wrote it.
    """
    # Alembic takes a third of a second to import; nearly every start needs it not.
    from alembic import command, config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    settings = config.Config()
    scripts = str(Path(__file__).parent / "migrations")
    settings.set_main_option("script_location", scripts.replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except CommandError as error:
        raise StoreUnavailableError(
            f"the store {path} cannot be brought to schema {HEAD}, "
            f"a newer release may have written it: {error}"
        ) from error
