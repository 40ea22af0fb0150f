"""Evidence: whether a control was active at a moment, by sources that must agree.

Three sources are asked, each of which was recorded by itself: the act that put the
configuration into force, the heartbeat of every worker that lived, and the decision's
own list of controls. What they do not say is not filled in: a source that is missing
is told to be missing, and one that contradicts another is told with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from comptroller.core.decision import Outcome
from comptroller.core.timestamps import rfc3339
from comptroller.engine.control_declared import Declared
from comptroller.engine.control_ports import (
    BeatRow,
    RecordPlace,
    RevisionRow,
)
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.records import Control

SLACK_S: Final = 5
"""How much later than promised a heartbeat may come."""
NS: Final = 10**9

ACTIVE: Final = "active"
INACTIVE: Final = "inactive"
DISAGREEMENT: Final = "disagreement"
UNPROVEN: Final = "unproven"

ACTIVATION: Final = "activation"
HEARTBEAT: Final = "heartbeat"
DECISION: Final = "decision"

AGREES: Final = "agrees"
CONTRADICTS: Final = "contradicts"
MISSING: Final = "missing"
SILENT: Final = "silent"
"""It is there, and does not speak of this control."""

_APPLIED: Final = frozenset(
    {Outcome.PASS, Outcome.DENY, Outcome.CLAMP, Outcome.WOULD_DENY}
)
_FOR_SOME: Final = {
    "tenant_isolation": "the request names no stored object",
    "budget": "nothing was held: the request is free of charge",
    "token_ceiling": "the request generates no output",
    "rate_limit": "the request takes no part of a rate",
    "concurrency": "the request takes no place",
}
"""Why a declared control need not bear on a request."""


class InForce(NamedTuple):
    """A configuration in force, and the record of the act that put it there."""

    revision: str | None
    """Of the registry or of the bundle; None: none was in force."""
    time_ns: int | None
    place: RecordPlace | None
    unclear: str | None = None
    """Why it is not certain what was in force; None: it is."""
    row: RevisionRow | ActivationRow | None = None
    """That act, as the store has it."""


class WorkerThen(NamedTuple):
    """A worker at the moment."""

    source: str
    before: BeatRow | None
    """Its nearest heartbeat before."""
    after: BeatRow | None
    """Its nearest heartbeat after; None: none followed."""
    is_set_back: bool = False
    """Whether its clock showed this time twice."""
    pruned: str | None = None
    """Why heartbeats before these cannot be read any more; None: none was pruned."""


class DecisionThen(NamedTuple):
    """A decision at the moment, or near it."""

    request_id: str
    time_ns: int
    place: RecordPlace
    registry_revision: str
    policy_revision: str | None
    controls: Sequence[Control]
    is_free: bool
    """Whether the request was free of charge."""


class Moment(NamedTuple):
    """What is known of a moment, before it is judged."""

    at_ns: int
    registry: InForce
    policy: InForce
    declared: Mapping[str, Declared] | None
    """By control; None: nothing is known of the service then."""
    workers: Sequence[WorkerThen]
    decisions: Sequence[DecisionThen]
    is_asked: bool = False
    """Whether the decision itself is asked about; else it is only near the time."""
    unread: str | None = None
    """Why decisions that are near cannot be read; None: they can, or there are none."""
    pruned: str | None = None
    """Why decisions that are near cannot be read any more; None: none was pruned."""
    faults: Sequence[Fault] = ()
    """What of this the records do not bear out."""


class Piece(NamedTuple):
    """One piece of evidence."""

    source: str
    """`activation`, `heartbeat` or `decision`."""
    verdict: str
    """`agrees`, `contradicts`, `missing` or `silent`."""
    says: str
    """In words."""
    place: RecordPlace | None = None
    time_ns: int | None = None


class Fault(NamedTuple):
    """A row of the store that the record at its place does not bear out."""

    piece: Piece
    """It contradicts, or the record is missing."""
    controls: frozenset[str]
    """Those that the row bears upon."""


class Judged(NamedTuple):
    """The judgement of one control."""

    control: str
    verdict: str
    """`active`, `inactive`, `disagreement` or `unproven`."""
    is_complete: bool
    """Whether all three sources agree; False: one is missing or silent."""
    revision: str | None
    declared: Declared | None
    pieces: tuple[Piece, ...]
    why: tuple[str, ...]
    """What keeps it from being active, or proven; in words."""


def judge(moment: Moment) -> list[Judged]:
    """Judges every control, in their order."""
    return [_judge(name, moment) for name in CONTROLS]


def _judge(name: str, moment: Moment) -> Judged:
    own = moment.policy if name in BUNDLED else moment.registry
    declared = None if moment.declared is None else moment.declared.get(name)
    pieces = [_activation(name, moment, declared)]
    pieces += _heartbeats(name, moment, declared)
    pieces += _decisions(name, moment, declared)
    pieces = _borne_out(name, moment, pieces)
    said = [one.verdict for one in pieces]
    needed = [one.verdict for one in pieces if one.source != DECISION]
    confirmed = any(one.source == DECISION and one.verdict == AGREES for one in pieces)
    if CONTRADICTS in said:
        verdict = DISAGREEMENT
    elif MISSING in needed or declared is None:
        verdict = UNPROVEN
    else:
        verdict = ACTIVE if declared.is_on else INACTIVE
    is_complete = verdict in (ACTIVE, INACTIVE) and confirmed
    why = [one.says for one in pieces if one.verdict != AGREES and not is_complete]
    if verdict == INACTIVE:
        why.insert(0, pieces[0].says)
    if declared is not None and declared.is_on and declared.is_lenient:
        why.append("every part of the policy for it only warns or is noted")
    return Judged(
        name,
        verdict,
        is_complete,
        own.revision,
        declared,
        tuple(pieces),
        tuple(dict.fromkeys(why)),
    )


def _borne_out(name: str, moment: Moment, pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, where a faulty row agrees with nothing and its fault is told."""
    faults = [one.piece for one in moment.faults if name in one.controls]
    faulty = {(one.source, one.place) for one in faults}
    kept = [
        one
        for one in pieces
        if one.verdict != AGREES or (one.source, one.place) not in faulty
    ]
    return [*kept, *faults]


def _activation(name: str, moment: Moment, declared: Declared | None) -> Piece:
    """What the act says that put its configuration into force."""
    own = moment.policy if name in BUNDLED else moment.registry
    if own.unclear is not None:
        return Piece(ACTIVATION, MISSING, own.unclear, own.place, own.time_ns)
    if own.revision is None:
        if name in BUNDLED:
            says = "no policy was in force"
            return Piece(ACTIVATION, AGREES, says, own.place, own.time_ns)
        return Piece(ACTIVATION, MISSING, "no configuration was applied yet")
    if declared is None:
        says = (
            f"registry revision {moment.registry.revision} is not known to declare it"
        )
        return Piece(ACTIVATION, MISSING, says, own.place, own.time_ns)
    if own.place is None:
        says = f"the record that put {own.revision} into force is not known here"
        return Piece(ACTIVATION, MISSING, says, None, own.time_ns)
    what = "policy" if name in BUNDLED else "registry revision"
    has = "asks for it" if declared.is_on else "declares nothing for it"
    says = f"{what} {own.revision} was in force and {has}"
    return Piece(ACTIVATION, AGREES, says, own.place, own.time_ns)


def _heartbeats(name: str, moment: Moment, declared: Declared | None) -> list[Piece]:
    """What each worker says that lived."""
    if not moment.workers:
        says = "no worker is known to have lived: nothing could be asked or let through"
        return [Piece(HEARTBEAT, MISSING, says)]
    return [_heartbeat(name, moment, declared, worker) for worker in moment.workers]


def _heartbeat(
    name: str, moment: Moment, declared: Declared | None, worker: WorkerThen
) -> Piece:
    before = worker.before
    unheard = _silence(moment.at_ns, worker)
    if before is None or unheard is not None:
        place, time_ns = (None, None) if before is None else (before[0], before[1])
        return Piece(HEARTBEAT, MISSING, unheard or "", place, time_ns)

    def piece(verdict: str, says: str) -> Piece:
        return Piece(HEARTBEAT, verdict, says, before.place, before.time_ns)

    who, state = worker.source, before.state
    control = state.control(name)
    if control is None:
        return piece(MISSING, f"{who} is of a release that does not tell of it")
    other = _other_revision(name, moment, worker, before)
    if other is not None:
        return piece(CONTRADICTS, other)
    is_due = declared is not None and declared.is_on
    if not control.is_active:
        says = f"{who} did not enforce it"
        return piece(CONTRADICTS if is_due else AGREES, says)
    if name in BUNDLED and not state.policy_is_usable:
        return piece(AGREES, f"{who} could not read the policy: it let nothing through")
    # Machinery that is on enforces what is declared, which may be nothing for one.
    where = "" if is_due else ", where anything is declared for a service"
    return piece(AGREES, f"{who} enforced it{where}")


def _other_revision(
    name: str, moment: Moment, worker: WorkerThen, before: BeatRow
) -> str | None:
    """How what a worker decided by was not what was in force; None: it was."""
    for what in configured_by(name):
        own = moment.registry if what == "registry" else moment.policy
        has = _revision(before, what)
        if own.unclear is None and has != own.revision:
            return (
                f"{worker.source} decided by {what} {_named(has)}, and"
                f" {_named(own.revision)} was in force{_followed(worker, what, own)}"
            )
    return None


def configured_by(name: str) -> tuple[str, ...]:
    """What configures a control: the registry, the policy, or both."""
    if name == "token_ceiling":
        return ("registry", "policy")
    return ("policy",) if name in BUNDLED else ("registry",)


def _revision(beat: BeatRow, what: str) -> str | None:
    state = beat.state
    return state.policy_revision if what == "policy" else str(state.registry_revision)


def _silence(at_ns: int, worker: WorkerThen) -> str | None:
    """Why a worker's heartbeats do not cover a time; None: they do."""
    before, after, who = worker.before, worker.after, worker.source
    if worker.is_set_back:
        return f"the clock of {who} was set back: it showed this time more than once"
    if before is None:
        if worker.pruned is not None:
            return f"a heartbeat of {who} that may be nearer: {worker.pruned}"
        return f"there is no heartbeat of {who} before this time"
    until_ns = at_ns if after is None else after.time_ns
    allowed_ns = (before.state.every_s + SLACK_S) * NS
    if at_ns == before.time_ns or until_ns - before.time_ns <= allowed_ns:
        return None
    end = "now" if after is None else rfc3339(after.time_ns)
    return f"no heartbeat of {who} between {rfc3339(before.time_ns)} and {end}"


def _followed(worker: WorkerThen, what: str, own: InForce) -> str:
    """When a worker took up what was in force; empty: its next heartbeat did not."""
    after = worker.after
    if after is None or own.time_ns is None or _revision(after, what) != own.revision:
        return ""
    late_ms = max(0, after.time_ns - own.time_ns) // 10**6
    return f"; it took it up {late_ms} ms after the act"


def _decisions(name: str, moment: Moment, declared: Declared | None) -> list[Piece]:
    """What the decisions say: the one asked about, or those near the time."""
    if not moment.decisions:
        says = moment.unread or moment.pruned
        says = says or "the service has no decision, before or after"
        return [Piece(DECISION, MISSING, says)]
    return [_decision(name, moment, declared, one) for one in moment.decisions]


def _decision(
    name: str, moment: Moment, declared: Declared | None, decision: DecisionThen
) -> Piece:
    def piece(verdict: str, says: str) -> Piece:
        says = f"request {decision.request_id}: {says}"
        return Piece(DECISION, verdict, says, decision.place, decision.time_ns)

    own = moment.policy if name in BUNDLED else moment.registry
    has = decision.policy_revision if name in BUNDLED else decision.registry_revision
    if has != own.revision and own.unclear is None:
        says = (
            f"it was decided by {_named(has)}, and {_named(own.revision)} was in force"
        )
        if moment.is_asked:
            return piece(CONTRADICTS, says)
        return piece(SILENT, f"{says} at the time asked about")
    said = next((one for one in decision.controls if one.id == name), None)
    if said is None:
        return piece(MISSING, "its record does not list this control")
    return piece(*_outcome(name, declared, decision, said))


def _outcome(
    name: str, declared: Declared | None, decision: DecisionThen, said: Control
) -> tuple[str, str]:
    """Whether a decision's outcome of a control is as declared, and in words."""
    is_due = declared is not None and declared.is_on
    if said.outcome == Outcome.DISABLED:
        return (CONTRADICTS if is_due else AGREES), "it says disabled"
    if said.outcome in _APPLIED:
        if declared is None or is_due:
            return AGREES, f"it says {said.outcome}"
        return CONTRADICTS, f"it says {said.outcome}, and nothing is declared for it"
    why = _why_not(name, decision)
    if why is not None:
        says = f"it says not_applicable because {why}"
        return (SILENT if is_due else AGREES), says
    if is_due:
        return CONTRADICTS, "it says not_applicable, of what is declared"
    return AGREES, "it says not_applicable: nothing is declared for it"


def _why_not(name: str, decision: DecisionThen) -> str | None:
    """Why a control did not bear on a request; None: nothing in the record says."""
    order = {control: place for place, control in enumerate(CONTROLS)}
    earlier = [
        one.id
        for one in decision.controls
        if one.outcome == Outcome.DENY and order.get(one.id, 0) < order[name]
    ]
    if earlier:
        return f"{earlier[0]} denied before it was asked"
    if name == "tenant_isolation" or (decision.is_free and name in _FOR_SOME):
        return _FOR_SOME[name]
    return None


def _named(revision: str | None) -> str:
    return "none" if revision is None else revision
