"""Fake of what a store knows of controls: rows in lists, searched anew."""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.engine import records
from comptroller.engine.control_ports import (
    BEATS_MAX,
    LIVES_MAX,
    BeatRow,
    ChangeRow,
    LifeRow,
    RecordPlace,
    RevisionRow,
)
from comptroller.engine.control_records import Heartbeat, JournalClosed, JournalStarted
from comptroller.engine.fold import Act, Folded, Sign
from comptroller.engine.policy_records import PolicyActivated, PolicyDeactivated
from comptroller.engine.ports import RequestRow
from comptroller.engine.projection import is_administrative


class InMemoryControls:
    """Satisfies `engine.control_ports.ControlReports`."""

    def __init__(self) -> None:
        super().__init__()
        self._revisions: list[RevisionRow] = []
        self._history: list[ChangeRow] = []
        self._staged: list[tuple[str, records.ObjectChange]] = []
        self._places: dict[int, RecordPlace] = {}
        self._lives: dict[str, LifeRow] = {}
        self._beats: list[BeatRow] = []
        self._requests: dict[str, RequestRow] = {}

    def revisions(self) -> Sequence[RevisionRow]:
        """Every applied configuration, in order."""
        return list(self._revisions)

    def registry_changes(self, kinds: Sequence[str]) -> Sequence[ChangeRow]:
        """What revisions made of objects of these kinds, in order of revision."""
        found = [one for one in self._history if one.kind in kinds]
        return sorted(found, key=lambda one: one[:3])

    def activation_places(self) -> dict[int, RecordPlace]:
        """Where the records of policy activations stand, by their numbers."""
        return dict(self._places)

    def lives(self, begin_ns: int, end_ns: int) -> Sequence[LifeRow]:
        """The workers that may have lived in a span, oldest first."""
        found = [
            one
            for one in self._lives.values()
            if not is_administrative(one.source)
            and one.started_ns <= end_ns
            and (one.closed_ns is None or one.closed_ns >= begin_ns)
        ]
        return sorted(found, key=lambda one: (one.started_ns, one.source))[:LIVES_MAX]

    def beat_ends(
        self, source: str, begin_ns: int, end_ns: int
    ) -> tuple[int, int] | None:
        """Sequences of a worker's first and last heartbeat of a span; None: none."""
        found = [
            one.place.sequence
            for one in self._of(source)
            if begin_ns <= one.time_ns <= end_ns
        ]
        return (min(found), max(found)) if found else None

    def heartbeat_run(self, source: str, first: int, last: int) -> Sequence[BeatRow]:
        """A worker's heartbeats from one sequence to another, both included."""
        found = [one for one in self._of(source) if first <= one.place.sequence <= last]
        return found[:BEATS_MAX]

    def heartbeat_before(self, source: str, time_ns: int) -> BeatRow | None:
        """The last of a worker's heartbeats, in sequence, with an earlier time."""
        return next(
            (one for one in reversed(self._of(source)) if one.time_ns < time_ns), None
        )

    def heartbeat_after(self, source: str, time_ns: int) -> BeatRow | None:
        """The first of a worker's heartbeats, in sequence, with a later time."""
        return next((one for one in self._of(source) if one.time_ns > time_ns), None)

    def last_decision_ns(self, source: str, begin_ns: int, end_ns: int) -> int | None:
        """When a worker last decided in a span; None: it did not."""
        times = [
            row.time_ns
            for row in self._requests.values()
            if row.decided_at.source == source and begin_ns <= row.time_ns <= end_ns
        ]
        return max(times, default=None)

    def decisions_near(
        self, service: str, time_ns: int
    ) -> tuple[RequestRow | None, RequestRow | None]:
        """The last decision on a service's request not after a time, and the next."""
        rows = [row for row in self._requests.values() if row.service == service]
        before = [row for row in rows if row.time_ns <= time_ns]
        after = [row for row in rows if row.time_ns > time_ns]
        return (
            max(before, key=lambda row: row.time_ns, default=None),
            min(after, key=lambda row: row.time_ns, default=None),
        )

    def _of(self, source: str) -> list[BeatRow]:
        return [one for one in self._beats if one.place.source == source]

    def _keep_evidence(self, source: str, folded: Folded) -> None:
        """Keeps what a run of records that was taken says of controls."""
        for act in folded.acts:
            self._keep_act(source, act)
        for change in folded.policies:
            if isinstance(change.data, PolicyActivated | PolicyDeactivated):
                place = RecordPlace(source, change.sequence)
                self._places[len(self._places) + 1] = place
        for sign in folded.signs:
            self._keep_sign(source, sign)

    def _keep_act(self, source: str, act: Act) -> None:
        data = act.data
        if isinstance(data, records.ObjectChange):
            self._staged.append((source, data))
        elif isinstance(data, records.RegistryApplied):
            ours = {
                (one.kind, one.id): ChangeRow(one.revision, one.kind, one.id, one.body)
                for origin, one in self._staged
                if origin == source and one.revision == data.revision
            }
            self._history += ours.values()
            self._revisions.append(
                RevisionRow(
                    data.revision,
                    act.time_ns,
                    data.digest,
                    data.actor.person,
                    data.actor.account,
                    RecordPlace(source, act.sequence),
                )
            )

    def _keep_sign(self, source: str, sign: Sign) -> None:
        match sign.data:
            case JournalStarted():
                self._lives[source] = LifeRow(source, sign.time_ns, None)
            case JournalClosed():
                if source in self._lives:
                    life = self._lives[source]
                    self._lives[source] = life._replace(closed_ns=sign.time_ns)
            case Heartbeat(state=state):
                place = RecordPlace(source, sign.sequence)
                self._beats.append(BeatRow(place, sign.time_ns, state))
