"""The tables of a new database. Migrations lead older ones here; a test compares."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from comptroller.core.usage import USAGE_CLASSES

HEAD: Final = "0001"
"""The newest migration; a database that says so needs no Alembic to open."""

metadata: Final = MetaData()


def _required(name: str, type_: Any = Text, **more: Any) -> Column[Any]:  # noqa: ANN401  as Column
    return Column(name, type_, nullable=False, **more)


alembic_version: Final = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own; declared so that a new database needs no Alembic either."""

journals: Final = Table(
    "journals",
    metadata,
    Column("id", Integer, primary_key=True),
    _required("source", unique=True),
    _required("position", BigInteger),
)

requests: Final = Table(
    "requests",
    metadata,
    # First what `fold.DecidedFacts` holds, in its order.
    Column("request_id", Text, primary_key=True),
    _required("route"),
    _required("service"),
    _required("unit"),
    _required("tenant"),
    _required("credential_id"),
    _required("person"),
    _required("owner_policy"),
    _required("owner_billing"),
    _required("owner_technical"),
    Column("rate_card", Text),
    _required("decision"),
    _required("reason"),
    Column("model", Text),
    _required("hold_nano_usd", BigInteger),
    _required("hold_input_tokens", BigInteger),
    _required("hold_output_tokens", BigInteger),
    _required("time_ns", BigInteger),
    _required("decided_journal", Integer),
    _required("decided_offset", BigInteger),
    _required("state"),
    _required("cost_nano_usd", BigInteger),
    _required("usage"),
    Column("usage_source", Text),
    Column("model_answered", Text),
    Column("duration_us", BigInteger),
    Column("ended_journal", Integer),
    Column("ended_offset", BigInteger),
    sqlite_with_rowid=False,
)
# Conditions of partial indexes are written out, here and in every query: with a
# parameter instead of the word SQLite cannot tell that the index answers.
is_refused: Final = text("decision = 'deny'")
is_open: Final = text("state = 'open'")
# Each listing is newest first, so each index ends with the time.
Index("requests_by_time", requests.c.time_ns)
Index("requests_by_service", requests.c.service, requests.c.time_ns)
Index(
    "requests_refused",
    requests.c.time_ns,
    sqlite_where=is_refused,
)
Index(
    "requests_open",
    requests.c.decided_journal,
    sqlite_where=is_open,
)

spend: Final = Table(
    "spend",
    metadata,
    Column("hour", Integer, primary_key=True),
    *(
        Column(name, Text, primary_key=True)
        for name in (
            "tenant",
            "unit",
            "service",
            "owner_billing",
            "model",
            "credential_id",
        )
    ),
    _required("requests", BigInteger),
    _required("cost_nano_usd", BigInteger),
    *(_required(f"usage_{name}", BigInteger) for name in USAGE_CLASSES),
    sqlite_with_rowid=False,
)

conflicts: Final = Table(
    "conflicts",
    metadata,
    Column("journal", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    _required("request_id"),
    sqlite_with_rowid=False,
)

registry_objects: Final = Table(
    "registry_objects",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    _required("body", LargeBinary),
    sqlite_with_rowid=False,
)

registry_changes: Final = Table(
    "registry_changes",
    metadata,
    Column("journal", Integer, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary),
    sqlite_with_rowid=False,
)

revisions: Final = Table(
    "revisions",
    metadata,
    Column("revision", Integer, primary_key=True),
    _required("time_ns", BigInteger),
    _required("digest"),
    Column("person", Text),
    _required("account"),
)

credentials: Final = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    _required("service"),
    _required("person"),
    _required("issued_ns", BigInteger),
    Column("expires_ns", BigInteger),
    Column("revoked_ns", BigInteger),
    Column("revoked_reason", Text),
    sqlite_with_rowid=False,
)

credential_secrets: Final = Table(
    "credential_secrets",
    metadata,
    Column("credential_id", Text, ForeignKey("credentials.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    _required("sha256"),
    _required("not_before_ns", BigInteger),
    Column("not_after_ns", BigInteger),
    sqlite_with_rowid=False,
)

credential_uses: Final = Table(
    "credential_uses",
    metadata,
    Column("credential_id", Text, primary_key=True),
    _required("last_used_ns", BigInteger),
    sqlite_with_rowid=False,
)
"""Apart from `credentials`: a worker's decision may be projected before the
control process's journal that issued its credential."""
