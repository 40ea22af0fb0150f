"""Alembic's scripts, part of the package; run by `connecting.migrate`."""
