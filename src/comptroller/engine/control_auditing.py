"""Auditing controls: gathers the evidence of a moment or a span, and has it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from comptroller.core.errors import (
    ContentUnavailableError,
    InvalidArgumentError,
    NotFoundError,
    RecordError,
    TrailPrunedError,
)
from comptroller.core.policy.plain import PlainSet
from comptroller.core.timestamps import rfc3339
from comptroller.engine import control_answers
from comptroller.engine.control_answers import Cited, Dated, Spanned, TrailIndex
from comptroller.engine.control_checking import Acts, Checking
from comptroller.engine.control_coverage import (
    NOT_BORNE_OUT,
    PRUNED,
    Apart,
    Asked,
    Gap,
    Track,
    covered,
    track,
)
from comptroller.engine.control_declared import (
    POLICY_PART,
    RELEVANT,
    Declared,
    Step,
    joined,
    of_bundle,
    steps,
)
from comptroller.engine.control_evidence import (
    CONTRADICTS,
    HEARTBEAT,
    NS,
    DecisionThen,
    Fault,
    Moment,
    Piece,
    WorkerThen,
    judge,
)
from comptroller.engine.control_history import BEFORE_ALL, doubled, in_force
from comptroller.engine.control_known import Known, configured_in
from comptroller.engine.control_ports import ControlReports, RecordPlace
from comptroller.engine.control_reading import Reading
from comptroller.engine.control_sweeping import Sweep
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.explanation import Document
from comptroller.engine.policy_ports import BundleArchive, PolicyReports, decode_sets
from comptroller.engine.ports import Clock, JournalReader, Reports, RequestRow
from comptroller.engine.said_times import said_ns

SPAN_DAYS_MAX: Final = 92
"""Asked about at once."""
NEAR_NS: Final = 3600 * NS
"""How far around a time heartbeats are read, to see whether a clock was set back."""


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


class _Asking(NamedTuple):
    """What one answer is made from."""

    known: Known
    sweep: Sweep


class ControlAuditing:
    """Answers whether controls were active, each answer with its evidence."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bundles: dict[str, Sequence[PlainSet] | str] = {}
        self._reading = Reading(parts.journals, parts.trail)
        self._checking = Checking(self._reading)
        self._cited = Cited(parts.trail, self._reading.log_index)
        self._digests: Mapping[str, set[str]] = {}
        """What each bundle declares, by what was recorded when it was published."""

    def at(self, service: str, time: str) -> Document:
        """The controls of a service at a time (`audit controls --at`).

        Raises:
            InvalidArgumentError: it is no time, or one to come.
            NotFoundError: the service was never declared.
        """
        at_ns = self._time_ns("--at", time)
        asking = self._asking(service)
        near = self._parts.controls.decisions_near(service, at_ns)
        moment = self._moment(asking.known, at_ns, self._workers(asking.sweep, at_ns))
        moment = self._near(moment, [one for one in near if one is not None])
        return self._answer(asking, moment, None)

    def request(self, request_id: str) -> Document:
        """The controls of one request (`audit controls --request`).

        Raises:
            NotFoundError: there is no such request.
            RecordError: its record cannot be read.
            TrailPrunedError: nobody has its record any more.
        """
        row = self._parts.recorded.request(request_id.strip().upper())
        if row is None:
            raise NotFoundError(f"there is no request {request_id!r}")
        decision = self._checking.decision(row)
        place, at_ns = decision.place, row.time_ns
        asking = self._asking(row.service)
        worker = self._worker(asking.sweep, place.source, at_ns, place.sequence)
        moment = self._moment(asking.known, at_ns, [worker])
        moment = moment._replace(decisions=[decision], is_asked=True)
        if asking.sweep.life(place.source, at_ns) is None:
            says = f"{place.source} did not live at this time, as its records say"
            piece = Piece(HEARTBEAT, CONTRADICTS, says, RecordPlace(place.source, 0))
            moment = moment._replace(faults=[Fault(piece, frozenset(CONTROLS))])
        return self._answer(asking, moment, row.request_id)

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
        known, sweep = self._asking(service)
        tracks, unproven = self._tracks(sweep, span)
        found = covered(
            [one for one in tracks if one.life[0] < one.life[1]],
            configured_in(known, span),
            self._asked(known),
            span,
            Apart(
                [*doubled(known.times), *doubled(known.policy_times)],
                unproven,
                known.differing(),
            ),
        )
        acts = [
            one.fault
            for one in known.checked.faults
            if one.begin_ns < span[1] and one.end_ns > span[0]
        ]
        told = Spanned(
            service,
            span,
            tracks,
            found,
            [*acts, *sweep.faults],
            len(acts) + sweep.faults_count,
        )
        return self._told(control_answers.coverage(told, self._cited))

    # -- what was in force -----------------------------------------------------

    def _asking(self, service: str) -> _Asking:
        """Everything that was put into force for a service, and what checks it."""
        parts = self._parts
        sweep = Sweep(self._reading, parts.controls, parts.clock.now_ns())
        rows = parts.controls.revisions()
        changes = [
            one
            for one in parts.controls.registry_changes(RELEVANT)
            if not rows or one.revision <= rows[-1].revision
        ]
        found = list(steps(rows, changes, service))
        activations = parts.recorded.policy_activations()
        places = parts.controls.activation_places()
        acts = Acts(rows, changes, activations, places, sweep.positions)
        checked = self._checking.acts(acts)
        is_declared = any(one.service is not None for one in found)
        if not is_declared and not checked.faults:
            raise NotFoundError(f"no service {service!r} was ever declared")
        self._digests = checked.digests
        first = min((one.revision for one in changes), default=1)
        known = Known(service, found, first, activations, places, changes, checked)
        return _Asking(known, sweep)

    def _moment(
        self, known: Known, at_ns: int, workers: Sequence[WorkerThen]
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

    def _asked(self, known: Known) -> Asked:
        """What a configuration and a policy ask of a control of the service."""
        by_revision = {one.row.revision: one for one in known.steps}
        kept: dict[tuple[int, str | None], Mapping[str, Declared] | None] = {}

        def asked(name: str, registry: int | None, policy: str | None) -> object:
            step = None if registry is None else by_revision.get(registry)
            if registry is None or step is None:
                return None
            key = registry, policy
            if key not in kept:
                kept[key] = self._declared(step, policy)
            found = kept[key]
            own = None if found is None else found[name]
            if own is None or not own.is_on:
                return None
            # Parts of two bundles may have the same names.
            is_of_policy = any(one.unit == POLICY_PART for one in own.limits)
            return own, policy if is_of_policy or name in BUNDLED else None

        return asked

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
        if row.sets_digest not in self._digests.get(revision, ()):
            return (
                f"the store says that policy {revision} declares {row.sets_digest}, and"
                " no record of its publication that can be read says so"
            )
        try:
            return decode_sets(self._parts.archive.sets(revision, row.sets_digest))
        except ContentUnavailableError as error:
            return error.message
        except msgspec.DecodeError as error:
            return f"policy {revision} cannot be read: {error}"

    # -- who lived ---------------------------------------------------------------

    def _workers(self, sweep: Sweep, at_ns: int) -> list[WorkerThen]:
        """Every worker that lived at a time and decided by something."""
        controls = self._parts.controls
        found = []
        for life in sweep.lives((at_ns, at_ns)):
            worker = self._worker(sweep, life.source, at_ns)
            is_idle = worker.before is None and not worker.is_set_back
            is_idle = is_idle and worker.pruned is None
            if is_idle and life.is_borne_out:
                span = life.begin_ns, at_ns
                if controls.last_decision_ns(life.source, *span) is None:
                    continue  # it had no snapshot yet: it decided nothing
            found.append(worker)
        return found

    def _worker(
        self, sweep: Sweep, source: str, at_ns: int, sequence: int | None = None
    ) -> WorkerThen:
        """A worker at a time; or before one of its own records."""
        near = list(sweep.beats(source, (at_ns - NEAR_NS, at_ns + NEAR_NS)))
        if sequence is None:
            indices = in_force([one.time_ns for one in near], at_ns)
        else:
            earlier = [one for one in near if one.place.sequence < sequence]
            indices = (len(earlier) - 1,)
        last = indices[-1]
        before = near[last] if near and last != BEFORE_ALL else None
        after = near[last + 1] if last + 1 < len(near) else None
        is_set_back = len(indices) > 1
        return WorkerThen(source, before, after, is_set_back, sweep.pruned.get(source))

    def _tracks(
        self, sweep: Sweep, span: tuple[int, int]
    ) -> tuple[list[Track], list[Gap]]:
        """What the heartbeats say of every worker that lived in a span.

        And when one lived that the store and the records do not agree upon, or of which
        the records were pruned.
        """
        found, unproven = [], []
        for life in sweep.lives(span):
            if not life.is_borne_out:
                own = (life.source,)
                unproven.append(Gap(life.begin_ns, life.end_ns, NOT_BORNE_OUT, own))
            one = track(life.source, sweep.beats(life.source, span), life.end_ns, span)
            if life.is_pruned or life.source in sweep.pruned:
                shown_ns = one.states[0][0] if one.states else life.end_ns
                unproven.append(Gap(life.begin_ns, shown_ns, PRUNED, (life.source,)))
            if one.states and one.life[0] <= one.life[1]:
                found.append(one)
        return found, unproven

    # -- what was decided --------------------------------------------------------

    def _near(self, moment: Moment, rows: Sequence[RequestRow]) -> Moment:
        """A moment, with those decisions that can be read, and why others cannot."""
        found: list[DecisionThen] = []
        for row in rows:
            try:
                found.append(self._checking.decision(row))
            except RecordError as error:
                moment = moment._replace(unread=error.message)
            except TrailPrunedError as error:
                moment = moment._replace(pruned=error.message)
        return moment._replace(decisions=found)

    # -- answers -----------------------------------------------------------------

    def _answer(
        self, asking: _Asking, moment: Moment, request_id: str | None
    ) -> Document:
        known = asking.known
        since = {one: known.since(one, moment) for one in CONTROLS}
        faults = [*moment.faults, *known.faults(moment, since), *asking.sweep.faults]
        moment = moment._replace(faults=faults)
        dated = Dated(since, known.declarations(moment))
        answer = control_answers.moment(moment, judge(moment), dated, self._cited)
        answer["discrepancies_count"] = len(faults) + (moment.unread is not None)
        asked = {"service": known.service, "request_id": request_id}
        return self._told(asked | answer)

    def _told(self, answer: Document) -> Document:
        """An answer, with what of the trail is wrong or was pruned."""
        trail = answer["trail"]
        if trail is not None and self._reading.problem is not None:
            trail["problem"] = trail["problem"] or self._reading.problem
        return answer | {"pruned_by": sorted(self._reading.pruned_by)}

    def _time_ns(self, option: str, text: str) -> int:
        clock = self._parts.clock
        if text == "now":
            return clock.now_ns()
        found = said_ns(option, text, self._parts.recorded, clock)
        if found > clock.now_ns():
            raise InvalidArgumentError(f"{option}: {rfc3339(found)} is yet to come")
        return found
