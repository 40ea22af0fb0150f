"""Fakes of the trail's ports: a log and its index in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from comptroller.core.checkpoint import Checkpoint, NoteSignature
from comptroller.core.errors import TrailUnavailableError
from comptroller.core.merkle import CompactRange, leaf_hash
from comptroller.engine.cosigning import Outcome
from comptroller.engine.trail_ports import Pruning


class InMemoryTrail:
    """The TrailLog port: durable at once; its notes are not signed.

    Satisfies `engine.trail_ports.TrailLog`.
    """

    def __init__(self, origin: str = "log.example/trail") -> None:
        self.origin = origin
        self.records: list[bytes] = []
        self.published: list[int] = []
        """The size of every checkpoint."""
        self.checkpoint = b""
        self.cosigned: list[NoteSignature] = []
        self.failing = False
        self.prunings: list[Pruning] = []
        """Records that may move the minimum, and have not yet."""
        self.minimum = 0
        """The first index that is kept; the records stay here all the same."""
        self._positions: dict[str, Any] = {}
        self._taken: list[bytes] = []

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self.records)

    @property
    def positions(self) -> Mapping[str, Any]:
        """What was given last, as JSON has it."""
        found: dict[str, Any] = msgspec.json.decode(
            msgspec.json.encode(self._positions)
        )
        return found

    def extend(self, records: Sequence[bytes]) -> None:
        """Takes records in that the next append appends first.

        Raises:
            ValueError: a record is too long; nothing was taken in.
            TrailUnavailableError: the test said so.
        """
        if any(len(record) > 65_535 for record in records):
            raise ValueError("a record is too long")
        if self.failing:
            self._taken.clear()
            raise TrailUnavailableError
        self._taken += records

    def append(
        self,
        records: Sequence[bytes],
        positions: Mapping[str, Any],
        prunings: Sequence[Pruning] = (),
    ) -> int:
        """Appends records and takes their positions.

        Raises:
            ValueError: a record is too long; nothing was appended.
            TrailUnavailableError: the test said so.
        """
        self.extend(records)
        first = self.size + len(self._taken) - len(records)
        self.records += self._taken
        self._taken.clear()
        self._positions = dict(positions)
        self.prunings += prunings
        return first

    def publish(self) -> bytes:
        """Publishes what there is.

        Raises:
            TrailUnavailableError: the test said so.
        """
        if self.failing:
            raise TrailUnavailableError
        self.published.append(self.size)
        tree = CompactRange()
        for record in self.records:
            tree.append(leaf_hash(record))
        self.checkpoint = Checkpoint(self.origin, tree.head()).body + b"\n"
        return self.checkpoint

    def prune(self, covered: int) -> bool:
        """Moves the minimum as far as the records in it and covered say."""
        covered = min(covered, self.published[-1] if self.published else 0)
        due = [one.below for one in self.prunings if one.at < covered]
        self.prunings = [one for one in self.prunings if one.at >= covered]
        self.minimum = max(self.minimum, *due, 0)
        return False

    def cosign(self, body: bytes, signature: NoteSignature) -> bool:
        """Keeps a witness's signature, if the text is that of the last checkpoint."""
        if self.checkpoint != body + b"\n":
            return False
        self.cosigned.append(signature)
        return True


class InMemoryPlaces:
    """The TrailPlaces port.

    Satisfies `engine.trail_ports.TrailPlaces`.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], int] = {}
        self.offsets: dict[tuple[str, int], int] = {}
        """Of the first record of each run."""

    def note(
        self, source: str, sequence: int, index: int, count: int, offset: int
    ) -> None:
        """Notes a run."""
        self.offsets[source, sequence] = offset
        for number in range(count):
            self.found[source, sequence + number] = index + number


class ToldDesk:
    """A witness's desk, whose witness says what a test says.

    Satisfies `engine.cosigning.WitnessDesk`.
    """

    name, url, is_asking = "w", "http://w", False

    def __init__(self) -> None:
        self.heard: list[Outcome] = []

    def offer(self, note: bytes) -> None:
        """Nothing is asked."""

    def take(self) -> Sequence[Outcome]:
        """What the test said."""
        heard, self.heard = self.heard, []
        return heard


def record_line(
    source: str, sequence: int, kind: str = "t", name: str | None = None, **data: object
) -> bytes:
    """A record as a journal has it, without the line break."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": name or f"id-{sequence}",
            "source": source,
            "type": kind,
            "time": "2026-11-21T19:00:00Z",
            "subject": "s",
            "sequence": str(sequence),
            "data": data,
        }
    )
