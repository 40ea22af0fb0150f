"""The ledger: accounts, leases, holders, and what happened to limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates its tables, and what requests were held on."""
    _extend_requests()
    _create_accounts()
    _create_holders()
    _create_events()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _extend_requests() -> None:
    op.create_table(
        "hold_paths",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("path", sa.Text, nullable=False, unique=True),
    )
    op.add_column("requests", sa.Column("run", sa.Text))
    op.add_column("requests", sa.Column("hold_path", sa.Integer))
    op.add_column(
        "requests",
        sa.Column(
            "slice_nano_usd", sa.BigInteger, nullable=False, server_default=sa.text("0")
        ),
    )
    op.create_index(
        "requests_by_run",
        "requests",
        ["service", "run", "time_ns"],
        sqlite_where=sa.text("run IS NOT NULL"),
    )
    op.create_index(
        "requests_exceeded",
        "requests",
        ["time_ns"],
        sqlite_where=sa.text("state = 'settled' AND cost_nano_usd > hold_nano_usd"),
    )


def _create_accounts() -> None:
    op.create_table(
        "budget_accounts",
        *_keys("id"),
        *_texts("scope", "key", "window"),
        *_numbers("starts_ns"),
        sa.Column("ends_ns", sa.BigInteger),
        *_numbers("limit", "effective", "settled", "leased", "suspense", "unheld"),
        sa.CheckConstraint(
            "settled + leased + suspense - unheld <= effective", name="within_limit"
        ),
        sa.CheckConstraint(
            '"limit" >= 0 AND effective >= "limit" AND settled >= 0 AND suspense >= 0',
            name="not_negative",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "budget_accounts_by_scope", "budget_accounts", ["scope", "key", "ends_ns"]
    )
    op.create_table(
        "budget_leases",
        *_keys("holder", "account"),
        *_numbers("granted", "returned", "consumed", "suspense", "adjusted"),
        sa.CheckConstraint(
            "granted >= 0 AND returned >= 0 AND consumed >= 0 AND suspense >= 0"
            " AND adjusted >= 0",
            name="not_negative",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("budget_leases_by_account", "budget_leases", ["account"])
    op.create_index(
        "budget_leases_suspended",
        "budget_leases",
        ["holder"],
        sqlite_where=sa.text("suspense > 0"),
    )


def _create_holders() -> None:
    op.create_table(
        "holders",
        *_keys("holder"),
        *_numbers("sequence"),
        *_texts("boot", "durability", "state", "last_grants"),
        sa.CheckConstraint(
            "state IN ('live', 'closed', 'suspended')", name="known_state"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "holders_live", "holders", ["holder"], sqlite_where=sa.text("state = 'live'")
    )


def _create_events() -> None:
    op.create_table(
        "budget_alerts",
        *_keys("account"),
        sa.Column("percent", sa.Integer, primary_key=True),
        *_numbers("time_ns", "spent", "limit"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "incidents",
        *_keys("decision_id"),
        *_numbers("time_ns"),
        *_texts("service"),
        sa.Column("model", sa.Text),
        *_numbers("hold", "cost"),
        sqlite_with_rowid=False,
    )
    op.create_index("incidents_by_time", "incidents", ["time_ns"])
    op.create_table(
        "suspense_settlements",
        *_keys("holder", "account"),
        *_numbers("spent", "time_ns"),
        sa.Column("person", sa.Text),
        *_texts("os_account", "reason"),
        sqlite_with_rowid=False,
    )
