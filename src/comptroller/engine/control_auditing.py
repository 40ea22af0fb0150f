"""Auditing controls: gathers the evidence of a moment or a span, and has it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from comptroller.core import quantities
from comptroller.core.errors import (
    ContentUnavailableError,
    InvalidArgumentError,
    NotFoundError,
    RecordError,
)
from comptroller.core.policy.plain import PlainSet
from comptroller.core.timestamps import rfc3339
from comptroller.engine import control_answers
from comptroller.engine.control_answers import Since, TrailIndex
from comptroller.engine.control_checking import Checking
from comptroller.engine.control_coverage import Configured, Track, covered, track
from comptroller.engine.control_declared import (
    RELEVANT,
    Declared,
    Step,
    joined,
    of_bundle,
    steps,
)
from comptroller.engine.control_evidence import (
    NS,
    SLACK_S,
    DecisionThen,
    InForce,
    Moment,
    WorkerThen,
    judge,
)
from comptroller.engine.control_history import BEFORE_ALL, doubled, in_force
from comptroller.engine.control_ports import (
    BEATS_MAX,
    BeatRow,
    ControlReports,
    LifeRow,
    RecordPlace,
)
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.explanation import Document
from comptroller.engine.policy_ports import (
    ActivationRow,
    BundleArchive,
    PolicyReports,
    decode_sets,
)
from comptroller.engine.ports import Clock, JournalReader, Reports, RequestRow
from comptroller.engine.registry_fold import fold

SPAN_DAYS_MAX: Final = 92
"""Asked about at once."""
NEAR_NS: Final = 3600 * NS
"""How far around a time heartbeats are read, to see whether a clock was set back."""
_EVER: Final = 2**62


class Recorded(Reports, PolicyReports, Protocol):
    """What is asked of the store beside controls."""


class Parts(NamedTuple):
    """What answers are made from."""

    recorded: Recorded
    controls: ControlReports
    journals: JournalReader
    archive: BundleArchive
    clock: Clock
    trail: TrailIndex | None = None
    """None: there is none to look in."""


class ControlAuditing:
    """Answers whether controls were active, each answer with its evidence."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bundles: dict[str, Sequence[PlainSet] | str] = {}
        self._sources = frozenset(parts.journals.sources())
        self._checking = Checking(parts.journals, parts.trail)

    def at(self, service: str, time: str) -> Document:
        """The controls of a service at a time (`audit controls --at`).

        Raises:
            InvalidArgumentError: it is no time, or one to come.
            NotFoundError: the service was never declared.
        """
        at_ns = self._time_ns("--at", time)
        known = self._known(service)
        near = self._parts.controls.decisions_near(service, at_ns)
        decisions, unread = self._near([one for one in near if one is not None])
        moment = self._moment(known, at_ns, self._workers(at_ns))
        return self._answer(
            known, moment._replace(decisions=decisions, unread=unread), None
        )

    def request(self, request_id: str) -> Document:
        """The controls of one request (`audit controls --request`).

        Raises:
            NotFoundError: there is no such request.
            RecordError: its record cannot be read.
        """
        row = self._parts.recorded.request(request_id.strip().upper())
        if row is None:
            raise NotFoundError(f"there is no request {request_id!r}")
        decision = self._checking.decision(row)
        place = decision.place
        known = self._known(row.service)
        worker = self._worker(place.source, row.time_ns, place.sequence)
        moment = self._moment(known, row.time_ns, [worker])
        moment = moment._replace(decisions=[decision], is_asked=True)
        return self._answer(known, moment, row.request_id)

    def between(self, service: str, begin: str, end: str) -> Document:
        """The coverage of every control over a span (`audit controls --between`).

        Raises:
            InvalidArgumentError: these are no times, or no span of at most 92 days.
            NotFoundError: the service was never declared.
            ContentUnavailableError: a bundle that decided then cannot be read.
        """
        span = self._time_ns("--between", begin), self._time_ns("--between", end)
        if not 0 < span[1] - span[0] <= SPAN_DAYS_MAX * 86_400 * NS:
            raise InvalidArgumentError(
                f"--between: {begin} to {end} is not a span of at most"
                f" {SPAN_DAYS_MAX} days; the earlier time comes first"
            )
        known = self._known(service)
        tracks = self._tracks(span)
        by_revision = {one.row.revision: one for one in known.steps}

        def is_on(name: str, registry: int | None, policy: str | None) -> bool:
            step = None if registry is None else by_revision.get(registry)
            declared = None if step is None else self._declared(step, policy)
            return declared is not None and declared[name].is_on

        found = covered(
            [one for one in tracks if one.life[0] < one.life[1]],
            _configured(known, span),
            is_on,
            span,
            [*doubled(known.times), *doubled(known.policy_times)],
        )
        return control_answers.coverage(service, span, tracks, found, self._parts.trail)

    # -- what was in force -----------------------------------------------------

    def _known(self, service: str) -> _Known:
        """What every revision declares for a service, and every activation."""
        parts = self._parts
        changes = parts.controls.registry_changes(RELEVANT)
        found = list(steps(parts.controls.revisions(), changes, service))
        if not any(one.service is not None for one in found):
            raise NotFoundError(f"no service {service!r} was ever declared")
        return _Known(
            service,
            found,
            min((one.revision for one in changes), default=1),
            parts.recorded.policy_activations(),
            parts.controls.activation_places(),
        )

    def _moment(
        self, known: _Known, at_ns: int, workers: Sequence[WorkerThen]
    ) -> Moment:
        registry, step = known.registry_at(at_ns)
        policy = known.policy_at(at_ns)
        declared: Mapping[str, Declared] | None = None
        if step is not None and step.declared is not None:
            try:
                declared = self._declared(step, policy.revision)
            except ContentUnavailableError as error:
                policy = policy._replace(unclear=error.message)
                declared = step.declared
        return Moment(at_ns, registry, policy, declared, workers, [])

    def _declared(
        self, step: Step, policy: str | None
    ) -> Mapping[str, Declared] | None:
        if step.declared is None:
            return None
        return joined(step.declared, of_bundle(self._sets(policy), step.service))

    def _sets(self, revision: str | None) -> Sequence[PlainSet] | None:
        """What a bundle declares; None: there is none.

        Raises:
            ContentUnavailableError: it is not kept here.
        """
        if revision is None:
            return None
        if revision not in self._bundles:
            self._bundles[revision] = self._read_sets(revision)
        found = self._bundles[revision]
        if isinstance(found, str):
            raise ContentUnavailableError(found)
        return found

    def _read_sets(self, revision: str) -> Sequence[PlainSet] | str:
        """The sets of a bundle, or why they cannot be read."""
        rows = self._parts.recorded.policies()
        row = next((one for one in rows if one.revision == revision), None)
        if row is None:
            return f"policy {revision} is not known here"
        try:
            return decode_sets(self._parts.archive.sets(revision, row.sets_digest))
        except ContentUnavailableError as error:
            return error.message
        except msgspec.DecodeError as error:
            return f"policy {revision} cannot be read: {error}"

    # -- who lived ---------------------------------------------------------------

    def _workers(self, at_ns: int) -> list[WorkerThen]:
        """Every worker that lived at a time and decided by something."""
        controls = self._parts.controls
        found = []
        for life in controls.lives(at_ns, at_ns):
            if self._end_ns(life) < at_ns:
                continue
            worker = self._worker(life.source, at_ns)
            if worker.before is None and not worker.is_set_back:
                begin_ns = life.started_ns
                if controls.last_decision_ns(life.source, begin_ns, at_ns) is None:
                    continue  # it had no snapshot yet: it decided nothing
            found.append(worker._replace(life=life))
        return found

    def _worker(
        self, source: str, at_ns: int, sequence: int | None = None
    ) -> WorkerThen:
        """A worker at a time; or before one of its own records."""
        controls = self._parts.controls
        near = controls.heartbeats(source, at_ns - NEAR_NS, at_ns + NEAR_NS)
        if sequence is None:
            indices = in_force([one.time_ns for one in near], at_ns)
        else:
            earlier = [one for one in near if one.place.sequence < sequence]
            indices = (len(earlier) - 1,)
        last = indices[-1]
        before = near[last] if last != BEFORE_ALL else None
        if before is None:
            before = controls.heartbeat_before(source, at_ns - NEAR_NS)
        if last + 1 < len(near):
            after: BeatRow | None = near[last + 1]
        else:
            after = controls.heartbeat_after(source, at_ns + NEAR_NS)
        is_set_back = len(indices) > 1
        return WorkerThen(source, before, after, is_set_back)

    def _end_ns(self, life: LifeRow) -> int:
        """When a worker ended; its last sign, where it died; now, where it lives."""
        if life.closed_ns is not None:
            return life.closed_ns
        journals, controls = self._parts.journals, self._parts.controls
        source = life.source
        if source in self._sources and not journals.is_dead(source):
            return max(self._parts.clock.now_ns(), life.started_ns)
        last = controls.heartbeat_before(source, _EVER)
        if last is None:
            decided = controls.last_decision_ns(source, life.started_ns, _EVER)
            return decided or life.started_ns
        until_ns = last.time_ns + (last.state.every_s + SLACK_S) * NS
        decided = controls.last_decision_ns(source, last.time_ns, until_ns)
        return max(last.time_ns, decided or 0)

    def _tracks(self, span: tuple[int, int]) -> list[Track]:
        """What the heartbeats of every worker say that lived in a span."""
        found = []
        for life in self._parts.controls.lives(*span):
            beats = self._beats(life.source, span)
            one = track(life.source, beats, self._end_ns(life), span)
            if beats and one.life[0] <= one.life[1]:
                found.append(one)
        return found

    def _beats(self, source: str, span: tuple[int, int]) -> list[BeatRow]:
        """A worker's heartbeats of a span, and the ones next to it, in sequence."""
        controls = self._parts.controls
        found: dict[int, BeatRow] = {}
        after = -1
        while True:
            page = controls.heartbeats(source, *span, after=after)
            found |= {one.place.sequence: one for one in page}
            if len(page) < BEATS_MAX:
                break
            after = page[-1].place.sequence
        edges = (
            controls.heartbeat_before(source, span[0]),
            controls.heartbeat_after(source, span[1]),
        )
        found |= {one.place.sequence: one for one in edges if one is not None}
        return [found[sequence] for sequence in sorted(found)]

    # -- what was decided --------------------------------------------------------

    def _near(
        self, rows: Sequence[RequestRow]
    ) -> tuple[list[DecisionThen], str | None]:
        """The decisions that can be read; and why others cannot."""
        found: list[DecisionThen] = []
        unread: str | None = None
        for row in rows:
            try:
                found.append(self._checking.decision(row))
            except RecordError as error:
                unread = error.message
        return found, unread

    # -- answers -----------------------------------------------------------------

    def _answer(
        self, known: _Known, moment: Moment, request_id: str | None
    ) -> Document:
        since = {one: known.since(one, moment) for one in CONTROLS}
        moment = moment._replace(faults=self._checking.faults(moment, since))
        judged = judge(moment)
        answer = control_answers.moment(moment, judged, since, self._parts.trail)
        return {"service": known.service, "request_id": request_id} | answer

    def _time_ns(self, option: str, text: str) -> int:
        now_ns = self._parts.clock.now_ns()
        if text == "now":
            return now_ns
        registry = fold(self._parts.recorded.registry_objects())
        try:
            zone = ZoneInfo(registry.timezone) if registry is not None else UTC
        except ZoneInfoNotFoundError:
            zone = UTC
        try:
            found = quantities.since_ns(text, now_ns, zone)
        except quantities.QuantityError as error:
            raise InvalidArgumentError(f"{option}: {error}") from error
        if found > now_ns:
            raise InvalidArgumentError(f"{option}: {rfc3339(found)} is yet to come")
        return found


class _Known(NamedTuple):
    """Everything that was ever in force for a service."""

    service: str
    steps: Sequence[Step]
    first: int
    """The first revision whose objects are known."""
    activations: Sequence[ActivationRow]
    places: Mapping[int, RecordPlace]

    @property
    def times(self) -> list[int]:
        """When each revision was applied."""
        return [one.row.time_ns for one in self.steps]

    @property
    def policy_times(self) -> list[int]:
        """When each activation was."""
        return [one.time_ns for one in self.activations]

    def registry_at(self, at_ns: int) -> tuple[InForce, Step | None]:
        """The revision in force at a time."""
        indices = in_force(self.times, at_ns)
        if indices[-1] == BEFORE_ALL:
            return InForce(None, None, None), None
        step = self.steps[indices[-1]]
        unclear = _unclear("registry revision", [str(one + 1) for one in indices])
        row = step.row
        if unclear is None and row.revision < self.first:
            unclear = (
                f"what registry revision {row.revision} held is not known here: an"
                f" older release applied it, and only {self.first} and later are kept"
            )
        own = InForce(str(row.revision), row.time_ns, row.place, unclear, row)
        return own, step

    def policy_at(self, at_ns: int) -> InForce:
        """The bundle in force at a time."""
        indices = in_force(self.policy_times, at_ns)
        if indices[-1] == BEFORE_ALL:
            return InForce(None, None, None)
        row = self.activations[indices[-1]]
        numbers = [str(one + 1) for one in indices]
        unclear = _unclear("policy activation", numbers)
        place = self.places.get(row.number)
        return InForce(row.revision, row.time_ns, place, unclear, row)

    def since(self, control: str, moment: Moment) -> Since | None:
        """The act since which a control is as it was at a moment."""
        revision = moment.registry.revision
        index = next(
            (
                i
                for i, one in enumerate(self.steps)
                if str(one.row.revision) == revision
            ),
            None,
        )
        step = None if index is None else self.steps[index]
        own = None if step is None or step.declared is None else step.declared[control]
        if control in BUNDLED or own is None or not (own.is_on or own.limits):
            of_policy = moment.declared is not None and moment.declared[control].is_on
            return self._since_policy(moment) if of_policy else None
        begin = index or 0
        while begin and self._is_same(begin - 1, control, own):
            begin -= 1
        row = self.steps[begin].row
        is_exact = begin == 0 or row.revision > self.first
        return Since(
            row.time_ns, str(row.revision), row.place, row, None, is_exact=is_exact
        )

    def _is_same(self, index: int, control: str, own: Declared) -> bool:
        declared = self.steps[index].declared
        return declared is not None and declared[control] == own

    def _since_policy(self, moment: Moment) -> Since | None:
        index = in_force(self.policy_times, moment.at_ns)[-1]
        if index == BEFORE_ALL:
            return None
        row = self.activations[index]
        place = self.places.get(row.number)
        return Since(row.time_ns, row.revision, place, applied=None, activated=row)


def _configured(known: _Known, span: tuple[int, int]) -> list[Configured]:
    """What was in force for each part of a span."""
    times = {*span, *known.times, *known.policy_times}
    cuts = sorted(one for one in times if span[0] <= one <= span[1])
    found = []
    for begin, end in pairwise(cuts):
        registry, policy = known.registry_at(begin)[0], known.policy_at(begin)
        revision = None if registry.revision is None else int(registry.revision)
        found.append(Configured(begin, end, revision, policy.revision))
    return found


def _unclear(what: str, names: Sequence[str]) -> str | None:
    if len(names) == 1:
        return None
    listed = " or ".join("none" if one == "0" else one for one in names)
    return (
        f"the clock was set back: {what} {listed} may have been in force at this time"
    )
