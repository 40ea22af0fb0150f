"""A snapshot store in memory."""

from __future__ import annotations


class InMemorySnapshots:
    """What several readers of one snapshot share; `reader` makes a port for each."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.version = 0

    def reader(self) -> InMemorySnapshotStore:
        """Another process's view of the same snapshot."""
        return InMemorySnapshotStore(self)


class InMemorySnapshotStore:
    """The SnapshotStore port in memory."""

    def __init__(self, shared: InMemorySnapshots | None = None) -> None:
        self._shared = shared if shared is not None else InMemorySnapshots()
        self._seen = 0

    def publish(self, snapshot: bytes) -> None:
        """Replaces it as a whole."""
        self._shared.content = snapshot
        self._shared.version += 1

    def read_if_changed(self) -> bytes | None:
        """The snapshot when it changed since this reader's last call, else None."""
        if self._shared.version == self._seen:
            return None
        self._seen = self._shared.version
        return self._shared.content
