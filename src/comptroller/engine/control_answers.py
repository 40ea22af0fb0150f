"""Answers on controls, as `comptroller audit controls --json` prints them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from comptroller.core.timestamps import rfc3339
from comptroller.engine.control_coverage import Covered, Gap, Track
from comptroller.engine.control_evidence import (
    Fault,
    InForce,
    Judged,
    Moment,
    Piece,
    WorkerThen,
)
from comptroller.engine.control_ports import BeatRow, RecordPlace, RevisionRow
from comptroller.engine.explanation import Document
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.proving import proof_of
from comptroller.engine.trail_ports import KeptRecords, TrailLookup


class TrailIndex(TrailLookup, Protocol):
    """The trail, to whoever knows of a record only where it stands."""

    def sources(self) -> Sequence[str]:
        """The journals that it has records of, as far as its index tells.

        Raises:
            ComptrollerError: the index cannot be read.
        """

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where a journal's record is, in the last checkpoint's tree; None: not in it.

        Raises:
            ComptrollerError: the trail is damaged, or cannot be read.
        """

    def entry_at(self, source: str, sequence: int) -> bytes | None:
        """That record, as the trail has it; None: not in it.

        Raises:
            ComptrollerError: the trail is damaged, or cannot be read.
        """

    def kept(self, source: str) -> KeptRecords | None:
        """Which of a journal's records are kept; None: the index knows none.

        Raises:
            ComptrollerError: the index, or the checkpoint, cannot be read.
        """


class Since(NamedTuple):
    """The act since which a control is as it was."""

    time_ns: int
    revision: str | None
    place: RecordPlace | None
    applied: RevisionRow | None
    """Of what the registry configures."""
    activated: ActivationRow | None
    """Of what a policy configures."""
    is_exact: bool = True
    """False: it may have been so before, of which nothing is known."""


class Declaration(NamedTuple):
    """The last change of an object that declares what is in force."""

    kind: str
    id: str
    revision: int
    """That changed it last."""
    time_ns: int
    place: RecordPlace | None
    """Of the record of that change; None: there is none that can be read."""


class Dated(NamedTuple):
    """What dates the answer for a moment."""

    since: Mapping[str, Since | None]
    """The act that each control is as it was since."""
    declarations: Sequence[Declaration]


class Cited(NamedTuple):
    """What answers name records by."""

    trail: TrailIndex | None
    place: Callable[[RecordPlace], int | None]
    """Of a record in the trail; None: it is not in it."""


def moment(
    then: Moment, judged: Sequence[Judged], dated: Dated, cited: Cited
) -> Document:
    """The answer for one moment."""
    place = _Places(cited)
    return {
        "at": rfc3339(then.at_ns),
        "registry": place.in_force(then.registry),
        "policy": place.in_force(then.policy),
        "workers": [place.worker(one) for one in then.workers],
        "decisions": [
            {
                "request_id": one.request_id,
                "time": rfc3339(one.time_ns),
                "record": place.of(one.place),
            }
            for one in then.decisions
        ],
        "declared_by": [place.declaration(one) for one in dated.declarations],
        "controls": [place.control(one, dated.since[one.control]) for one in judged],
        "trail": proof_of(cited.trail, {}),
    }


class Spanned(NamedTuple):
    """What is told of a span."""

    service: str
    span: tuple[int, int]
    tracks: Sequence[Track]
    controls: Sequence[Covered]
    discrepancies: Sequence[Fault] = ()
    discrepancies_count: int = 0
    """There may be more than are told."""


def coverage(told: Spanned, cited: Cited) -> Document:
    """The answer for a span."""
    service, span, tracks, found, discrepancies, count = told
    place = _Places(cited)
    return {
        "service": service,
        "begin": rfc3339(span[0]),
        "end": rfc3339(span[1]),
        "seconds": _seconds(span[1] - span[0]),
        "workers": [
            {
                "worker": one.source,
                "begin": rfc3339(one.life[0]),
                "end": rfc3339(one.life[1]),
            }
            for one in tracks
        ],
        "controls": [
            {
                "control": one.control,
                "percent": one.percent,
                "covered_seconds": _seconds(one.covered_ns),
                "gaps": [_gap(gap) for gap in one.gaps],
            }
            for one in found
        ],
        "discrepancies": [
            {**place.piece(one.piece), "controls": sorted(one.controls)}
            for one in discrepancies
        ],
        "discrepancies_count": count,
        "trail": proof_of(cited.trail, {}),
    }


class _Places:
    """Writes what names records, with their places in the log."""

    def __init__(self, cited: Cited) -> None:
        self._index = cited.place
        self._found: dict[RecordPlace, Document] = {}

    def of(self, place: RecordPlace | None) -> Document | None:
        if place is None:
            return None
        if place not in self._found:
            self._found[place] = {
                "source": place.source,
                "sequence": place.sequence,
                "log_index": self._index(place),
            }
        return self._found[place]

    def in_force(self, one: InForce) -> Document:
        return {
            "revision": one.revision,
            "time": _time(one.time_ns),
            "record": self.of(one.place),
            "unclear": one.unclear,
        }

    def worker(self, one: WorkerThen) -> Document:
        return {
            "worker": one.source,
            "before": self._beat(one.before),
            "after": self._beat(one.after),
        }

    def declaration(self, one: Declaration) -> Document:
        return {
            "kind": one.kind,
            "id": one.id,
            "revision": str(one.revision),
            "time": rfc3339(one.time_ns),
            "record": self.of(one.place),
        }

    def control(self, one: Judged, since: Since | None) -> Document:
        limits = one.declared.limits if one.declared is not None else ()
        return {
            "control": one.control,
            "verdict": one.verdict,
            "is_complete": one.is_complete,
            "is_lenient": one.declared is not None and one.declared.is_lenient,
            "revision": one.revision,
            "limits": [limit._asdict() for limit in limits],
            "since": None if since is None else self._since(since),
            "approved_by": None if since is None else _approved(since),
            "evidence": [self.piece(piece) for piece in one.pieces],
            "why": list(one.why),
        }

    def _since(self, since: Since) -> Document:
        return {
            "time": rfc3339(since.time_ns),
            "revision": since.revision,
            "is_exact": since.is_exact,
            "record": self.of(since.place),
        }

    def piece(self, piece: Piece) -> Document:
        return {
            "source": piece.source,
            "verdict": piece.verdict,
            "says": piece.says,
            "time": _time(piece.time_ns),
            "record": self.of(piece.place),
        }

    def _beat(self, beat: BeatRow | None) -> Document | None:
        if beat is None:
            return None
        return {
            "time": rfc3339(beat.time_ns),
            "registry_revision": beat.state.registry_revision,
            "policy_revision": beat.state.policy_revision,
            "durability": beat.state.durability,
            "record": self.of(beat.place),
        }


def _approved(since: Since) -> Document:
    """Who answers for an act: of a policy two people, of the registry one."""
    if since.activated is not None:
        row = since.activated
        return {
            "author": row.author,
            "approver": row.approver,
            "separation_of_duties": row.is_separated,
            "applied_by": None,
            "account": None,
        }
    applied = since.applied
    return {
        "author": None,
        "approver": None,
        "separation_of_duties": None,
        "applied_by": applied.person if applied is not None else None,
        "account": applied.account if applied is not None else None,
    }


def _gap(gap: Gap) -> Document:
    return {
        "begin": rfc3339(gap.begin_ns),
        "end": rfc3339(gap.end_ns),
        "seconds": _seconds(gap.end_ns - gap.begin_ns),
        "cause": gap.cause,
        "workers": list(gap.workers),
    }


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)


def _seconds(span_ns: int) -> float:
    """Rounded to the millisecond."""
    return round(span_ns / 10**9, 3)
