"""Retention: legal holds, and how far the trail is pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates their tables."""
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("end_user_trace", sa.Text),
        sa.Column("placed_ns", sa.BigInteger, nullable=False),
        sa.Column("placed_by", sa.Text),
        sa.Column("placed_account", sa.Text, nullable=False),
        sa.Column("lifted_ns", sa.BigInteger),
        sa.Column("lifted_reason", sa.Text),
        sa.Column("lifted_by", sa.Text),
        sa.Column("lifted_account", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prunings",
        sa.Column("below", sa.BigInteger, primary_key=True),
        sa.Column("before", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("person", sa.Text),
        sa.Column("approved_by", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
