"""Policies: what was published, what was activated, what workers loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates their tables."""
    op.create_table(
        "policies",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("file_count", sa.Integer, nullable=False),
        sa.Column("part_count", sa.Integer, nullable=False),
        sa.Column("case_count", sa.Integer, nullable=False),
        sa.Column("sets_digest", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_activations",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("revision", sa.Text, sa.ForeignKey("policies.revision")),
        sa.Column("previous", sa.Text),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("is_separated", sa.Boolean, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "policy_loads",
        sa.Column("journal", sa.Integer, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.Text),
        sa.Column("previous", sa.Text),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
