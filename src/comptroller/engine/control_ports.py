"""What the question "was it active?" asks of the store, and the values it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from comptroller.engine.control_records import HeartbeatState
from comptroller.engine.ports import RequestRow

BEATS_MAX: Final = 10_000
"""Heartbeats in one answer of a store."""
LIVES_MAX: Final = 10_000
"""Processes in one answer of a store."""


class RecordPlace(NamedTuple):
    """A record, by where anybody finds it again."""

    source: str
    """Of its journal."""
    sequence: int
    """In that journal, from 0."""


class RevisionRow(NamedTuple):
    """A configuration that was applied."""

    revision: int
    """From 1, in order."""
    time_ns: int
    digest: str
    person: str | None
    """The declared person who applied it; None: none was named."""
    account: str
    """`user@host` of the process that applied it."""
    place: RecordPlace | None
    """None: applied before places were kept."""


class ChangeRow(NamedTuple):
    """What one revision made of one object of the configuration."""

    revision: int
    kind: str
    id: str
    body: bytes | None
    """Its JSON from then on; None: it was removed."""


class LifeRow(NamedTuple):
    """A process that recorded."""

    source: str
    """Of its journal."""
    started_ns: int
    closed_ns: int | None
    """When it ended in order; None: it lives, or it died."""


class BeatRow(NamedTuple):
    """One heartbeat of a worker."""

    place: RecordPlace
    time_ns: int
    state: HeartbeatState
    is_followed: bool = True
    """False: between it and the worker's next sign, store and records differ."""


class ControlReports(Protocol):
    """Reads of who configured and enforced what; any process may hold one."""

    def positions(self) -> dict[str, int]:
        """How far each journal was projected, in bytes of its stream."""

    def revisions(self) -> Sequence[RevisionRow]:
        """Every applied configuration, in order."""

    def registry_changes(self, kinds: Sequence[str]) -> Sequence[ChangeRow]:
        """What revisions made of objects of these kinds, in order of revision.

        A store that was made by an older release knows the oldest revisions only
        as one: the first that it has changes of.
        """

    def activation_places(self) -> dict[int, RecordPlace]:
        """Where the records of policy activations stand, by their numbers."""

    def lives(self, begin_ns: int, end_ns: int) -> Sequence[LifeRow]:
        """The workers that may have lived in a span, oldest first, at most LIVES_MAX.

        Without those that closed before it, or started after it.
        """

    def beat_ends(
        self, source: str, begin_ns: int, end_ns: int
    ) -> tuple[int, int] | None:
        """Sequences of a worker's first and last heartbeat of a span; None: none."""

    def heartbeat_run(self, source: str, first: int, last: int) -> Sequence[BeatRow]:
        """A worker's heartbeats from one sequence to another, both included.

        In order; at most BEATS_MAX.
        """

    def heartbeat_before(self, source: str, time_ns: int) -> BeatRow | None:
        """The last of a worker's heartbeats, in sequence, with an earlier time."""

    def heartbeat_after(self, source: str, time_ns: int) -> BeatRow | None:
        """The first of a worker's heartbeats, in sequence, with a later time."""

    def last_decision_ns(self, source: str, begin_ns: int, end_ns: int) -> int | None:
        """When a worker last decided in a span; None: it did not."""

    def decisions_near(
        self, service: str, time_ns: int
    ) -> tuple[RequestRow | None, RequestRow | None]:
        """The last decision on a service's request not after a time, and the next."""
