"""The tables of a new database. Migrations lead older ones here; a test compares."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
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

HEAD: Final = "0007"
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
    # First what `fold.DecidedFacts` holds, in its order, but for what limits hold.
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
    Column("run", Text),
    Column("hold_path", Integer),
    _required("slice_nano_usd", BigInteger, server_default=text("0")),
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

has_run: Final = text("run IS NOT NULL")
Index(
    "requests_by_run",
    requests.c.service,
    requests.c.run,
    requests.c.time_ns,
    sqlite_where=has_run,
)
has_exceeded: Final = text("state = 'settled' AND cost_nano_usd > hold_nano_usd")
Index("requests_exceeded", requests.c.time_ns, sqlite_where=has_exceeded)

hold_paths: Final = Table(
    "hold_paths",
    metadata,
    Column("id", Integer, primary_key=True),
    _required("path", unique=True),
)
"""The lists of accounts that requests were held on (`fold.HeldAccounts.text`), each
once: all requests of a credential and window share one."""

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
    Column("journal", Integer),
    Column("sequence", BigInteger),
)

registry_history: Final = Table(
    "registry_history",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary),
    sqlite_with_rowid=False,
)
"""What each revision made of an object; no body: it was removed."""

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

budget_accounts: Final = Table(
    "budget_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    _required("scope"),
    _required("key"),
    _required("window"),
    _required("starts_ns", BigInteger),
    Column("ends_ns", BigInteger),
    _required("limit", BigInteger),
    _required("effective", BigInteger),
    _required("settled", BigInteger),
    _required("leased", BigInteger),
    _required("suspense", BigInteger),
    _required("unheld", BigInteger),
    # The rule of core.books once more. `leased` may be below 0: what a worker spent
    # may be read before the grant that it spent from. So may `unheld`: a budget's
    # window can move when the organization's zone does.
    CheckConstraint(
        "settled + leased + suspense - unheld <= effective", name="within_limit"
    ),
    CheckConstraint(
        '"limit" >= 0 AND effective >= "limit" AND settled >= 0 AND suspense >= 0',
        name="not_negative",
    ),
    sqlite_with_rowid=False,
)
Index(
    "budget_accounts_by_scope",
    budget_accounts.c.scope,
    budget_accounts.c.key,
    budget_accounts.c.ends_ns,
)

budget_leases: Final = Table(
    "budget_leases",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    _required("granted", BigInteger),
    _required("returned", BigInteger),
    _required("consumed", BigInteger),
    _required("suspense", BigInteger),
    _required("adjusted", BigInteger),
    CheckConstraint(
        "granted >= 0 AND returned >= 0 AND consumed >= 0 AND suspense >= 0"
        " AND adjusted >= 0",
        name="not_negative",
    ),
    sqlite_with_rowid=False,
)
is_suspended: Final = text("suspense > 0")
Index("budget_leases_by_account", budget_leases.c.account)
Index("budget_leases_suspended", budget_leases.c.holder, sqlite_where=is_suspended)

holders: Final = Table(
    "holders",
    metadata,
    Column("holder", Text, primary_key=True),
    _required("sequence", BigInteger),
    _required("boot"),
    _required("durability"),
    _required("state"),
    _required("last_grants"),
    CheckConstraint("state IN ('live', 'closed', 'suspended')", name="known_state"),
    sqlite_with_rowid=False,
)
is_live: Final = text("state = 'live'")
Index("holders_live", holders.c.holder, sqlite_where=is_live)

budget_alerts: Final = Table(
    "budget_alerts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("percent", Integer, primary_key=True),
    _required("time_ns", BigInteger),
    _required("spent", BigInteger),
    _required("limit", BigInteger),
    sqlite_with_rowid=False,
)

incidents: Final = Table(
    "incidents",
    metadata,
    Column("decision_id", Text, primary_key=True),
    _required("time_ns", BigInteger),
    _required("service"),
    Column("model", Text),
    _required("hold", BigInteger),
    _required("cost", BigInteger),
    sqlite_with_rowid=False,
)
Index("incidents_by_time", incidents.c.time_ns)

suspense_settlements: Final = Table(
    "suspense_settlements",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    _required("spent", BigInteger),
    _required("time_ns", BigInteger),
    Column("person", Text),
    _required("os_account"),
    _required("reason"),
    sqlite_with_rowid=False,
)

policies: Final = Table(
    "policies",
    metadata,
    # As `policy_ports.PolicyRow`.
    Column("revision", Text, primary_key=True),
    _required("author"),
    _required("note"),
    _required("time_ns", BigInteger),
    _required("file_count", Integer),
    _required("part_count", Integer),
    _required("case_count", Integer),
    _required("sets_digest"),
    sqlite_with_rowid=False,
)

policy_activations: Final = Table(
    "policy_activations",
    metadata,
    # As `policy_ports.ActivationRow`.
    Column("number", Integer, primary_key=True),
    Column("revision", Text, ForeignKey("policies.revision")),
    Column("previous", Text),
    _required("author"),
    _required("approver"),
    _required("note"),
    _required("is_separated", Boolean),
    _required("time_ns", BigInteger),
    Column("journal", Integer),
    Column("sequence", BigInteger),
)

policy_loads: Final = Table(
    "policy_loads",
    metadata,
    Column("journal", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("revision", Text),
    Column("previous", Text),
    _required("time_ns", BigInteger),
    sqlite_with_rowid=False,
)
"""Workers' own; they may be projected before the records of the bundle."""

objects: Final = Table(
    "objects",
    metadata,
    # As `engine.objects.Owned`.
    Column("id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    _required("kind"),
    _required("tenant"),
    _required("service"),
    _required("model"),
    _required("request_id"),
    sqlite_with_rowid=False,
)
"""What providers have stored; two may give the same id."""

lives: Final = Table(
    "lives",
    metadata,
    Column("journal", Integer, primary_key=True),
    _required("started_ns", BigInteger),
    Column("closed_ns", BigInteger),
)
"""Of processes, by their journals; not closed: it lives, or it died."""

heartbeat_states: Final = Table(
    "heartbeat_states",
    metadata,
    Column("id", Integer, primary_key=True),
    _required("state", unique=True),
)
"""`control_records.HeartbeatState`, as JSON, each once: nearly all heartbeats share
one."""

heartbeats: Final = Table(
    "heartbeats",
    metadata,
    Column("journal", Integer, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    _required("time_ns", BigInteger),
    _required("state", Integer),
    sqlite_with_rowid=False,
)
Index("heartbeats_by_time", heartbeats.c.journal, heartbeats.c.time_ns)

legal_holds: Final = Table(
    "legal_holds",
    metadata,
    # As `retention_ports.LegalHoldRow`.
    Column("id", Text, primary_key=True),
    _required("reason"),
    Column("end_user_trace", Text),
    _required("placed_ns", BigInteger),
    Column("placed_by", Text),
    _required("placed_account"),
    Column("lifted_ns", BigInteger),
    Column("lifted_reason", Text),
    Column("lifted_by", Text),
    Column("lifted_account", Text),
    sqlite_with_rowid=False,
)

prunings: Final = Table(
    "prunings",
    metadata,
    # As `retention_ports.PruningRow`.
    Column("below", BigInteger, primary_key=True),
    _required("before", BigInteger),
    _required("reason"),
    Column("person", Text),
    _required("approved_by"),
    _required("account"),
    _required("time_ns", BigInteger),
    sqlite_with_rowid=False,
)

deleted_journals: Final = Table(
    "deleted_journals",
    metadata,
    # As `deletion_ports.DeletedJournal`; the witnesses' names are JSON.
    Column("source", Text, primary_key=True),
    _required("bytes", BigInteger),
    _required("records", BigInteger),
    _required("size", BigInteger),
    _required("witnesses"),
    _required("time_ns", BigInteger),
    sqlite_with_rowid=False,
)
"""The journals that only the trail has."""
