"""The snapshot as a file: written whole, read when it changed."""

from __future__ import annotations

from comptroller.adapters.snapshot.file import FileSnapshotStore

__all__ = ["FileSnapshotStore"]
