"""Evidence: heartbeats, lives of processes, and every revision of the registry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Creates the tables; what is applied stands for all revisions until now."""
    for table in ("revisions", "policy_activations"):
        op.add_column(table, sa.Column("journal", sa.Integer))
        op.add_column(table, sa.Column("sequence", sa.BigInteger))
    op.create_table(
        "registry_history",
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO registry_history (revision, kind, id, body)"
        " SELECT (SELECT max(revision) FROM revisions), kind, id, body"
        " FROM registry_objects"
    )
    op.create_table(
        "lives",
        sa.Column("journal", sa.Integer, primary_key=True),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("closed_ns", sa.BigInteger),
    )
    op.create_table(
        "heartbeat_states",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("state", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "heartbeats",
        sa.Column("journal", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("heartbeats_by_time", "heartbeats", ["journal", "time_ns"])
