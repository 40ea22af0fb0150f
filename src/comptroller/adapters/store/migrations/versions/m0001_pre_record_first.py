"""The first tables: journals read, requests, spend, registry, credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates them."""
    _create_requests()
    _create_spend()
    _create_registry()
    _create_credentials()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _create_requests() -> None:
    op.create_table(
        "journals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False, unique=True),
        *_numbers("position"),
    )
    op.create_table(
        "requests",
        *_keys("request_id"),
        *_texts("route", "service", "unit", "tenant", "credential_id", "person"),
        *_texts("owner_policy", "owner_billing", "owner_technical"),
        sa.Column("rate_card", sa.Text),
        *_texts("decision", "reason"),
        sa.Column("model", sa.Text),
        *_numbers("hold_nano_usd", "hold_input_tokens", "hold_output_tokens"),
        *_numbers("time_ns"),
        sa.Column("decided_journal", sa.Integer, nullable=False),
        *_numbers("decided_offset"),
        *_texts("state"),
        *_numbers("cost_nano_usd"),
        *_texts("usage"),
        sa.Column("usage_source", sa.Text),
        sa.Column("model_answered", sa.Text),
        sa.Column("duration_us", sa.BigInteger),
        sa.Column("ended_journal", sa.Integer),
        sa.Column("ended_offset", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_index("requests_by_time", "requests", ["time_ns"])
    op.create_index("requests_by_service", "requests", ["service", "time_ns"])
    refused, is_open = sa.text("decision = 'deny'"), sa.text("state = 'open'")
    op.create_index("requests_refused", "requests", ["time_ns"], sqlite_where=refused)
    op.create_index(
        "requests_open", "requests", ["decided_journal"], sqlite_where=is_open
    )
    op.create_table(
        "conflicts",
        sa.Column("journal", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True),
        *_texts("request_id"),
        sqlite_with_rowid=False,
    )


def _create_spend() -> None:
    op.create_table(
        "spend",
        sa.Column("hour", sa.Integer, primary_key=True),
        *_keys("tenant", "unit", "service", "owner_billing", "model", "credential_id"),
        *_numbers("requests", "cost_nano_usd", "usage_input", "usage_cache_read"),
        *_numbers("usage_cache_write_5m", "usage_cache_write_30m"),
        *_numbers("usage_cache_write_1h", "usage_cache_write_12h"),
        *_numbers("usage_input_audio", "usage_input_image", "usage_output"),
        *_numbers("usage_reasoning", "usage_output_audio", "usage_output_image"),
        *_numbers("usage_web_search"),
        sqlite_with_rowid=False,
    )


def _create_registry() -> None:
    op.create_table(
        "registry_objects",
        *_keys("kind", "id"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "registry_changes",
        sa.Column("journal", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        *_keys("kind", "id"),
        sa.Column("body", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "revisions",
        sa.Column("revision", sa.Integer, primary_key=True),
        *_numbers("time_ns"),
        *_texts("digest"),
        sa.Column("person", sa.Text),
        *_texts("account"),
    )


def _create_credentials() -> None:
    op.create_table(
        "credentials",
        *_keys("id"),
        *_texts("service", "person"),
        *_numbers("issued_ns"),
        sa.Column("expires_ns", sa.BigInteger),
        sa.Column("revoked_ns", sa.BigInteger),
        sa.Column("revoked_reason", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credential_secrets",
        sa.Column(
            "credential_id", sa.Text, sa.ForeignKey("credentials.id"), primary_key=True
        ),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        *_texts("sha256"),
        *_numbers("not_before_ns"),
        sa.Column("not_after_ns", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credential_uses",
        *_keys("credential_id"),
        *_numbers("last_used_ns"),
        sqlite_with_rowid=False,
    )
