"""Coverage: for how much of a span each control is shown to have been active.

A moment is covered where something is declared for the control, and every worker that
lived then had heartbeats at most their promised interval and a slack apart, of which
the earlier one says that it enforced the control, by a configuration that asks for the
same as the one in force. All else is a gap, with its cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from comptroller.engine.control_evidence import NS, SLACK_S
from comptroller.engine.control_ports import BeatRow
from comptroller.engine.control_records import HeartbeatState
from comptroller.engine.controls import BUNDLED, CONTROLS

NOT_BORNE_OUT: Final = "not_borne_out"
PRUNED: Final = "pruned"
NO_WORKER: Final = "no_worker"
NOT_DECLARED: Final = "not_declared"
POLICY_DEACTIVATED: Final = "policy_deactivated"
CLOCK_SET_BACK: Final = "clock_set_back"
WORKER_SILENT: Final = "worker_silent"
NOT_LOADED: Final = "not_loaded"
CONTROL_DISABLED: Final = "control_disabled"

CAUSES: Final = (
    NOT_BORNE_OUT,
    PRUNED,
    NO_WORKER,
    NOT_DECLARED,
    POLICY_DEACTIVATED,
    CLOCK_SET_BACK,
    WORKER_SILENT,
    NOT_LOADED,
    CONTROL_DISABLED,
)
"""What a gap comes from; of several at once the first of these is told. What store and
records do not agree upon is told first, and what was pruned of a worker's records: both
say nothing of the control."""

Span: TypeAlias = tuple[int, int]
"""Begin and end, in nanoseconds since the epoch."""


class Gap(NamedTuple):
    """A span for which a control is not shown to have been active."""

    begin_ns: int
    end_ns: int
    cause: str
    """One of CAUSES."""
    workers: tuple[str, ...] = ()
    """That it comes from, by their journals; none: from no worker."""


class Track(NamedTuple):
    """What one worker's heartbeats say of a span."""

    source: str
    life: Span
    """Within the span asked about."""
    gaps: tuple[Gap, ...]
    """Silence, and time that its clock showed twice."""
    states: tuple[tuple[int, int, HeartbeatState], ...]
    """What it enforced, from when until when."""


class Configured(NamedTuple):
    """What was in force for a part of a span."""

    begin_ns: int
    end_ns: int
    registry: int | None
    policy: str | None


class Apart(NamedTuple):
    """What of a span proves nothing, apart from what workers said."""

    doubled: Sequence[Span] = ()
    """What the clocks of those who configured showed twice."""
    unproven: Sequence[Gap] = ()
    """Of workers whose lives are not what the store says, or were pruned."""
    differing: Mapping[str, Sequence[Gap]] = {}
    """By control: of acts that are not what the store says."""


class Covered(NamedTuple):
    """The coverage of one control."""

    control: str
    covered_ns: int
    span_ns: int
    gaps: tuple[Gap, ...]

    @property
    def percent(self) -> str:
        """Of the span, with three decimals, rounded down."""
        thousandths = 100_000 * self.covered_ns // self.span_ns if self.span_ns else 0
        return f"{thousandths // 1000}.{thousandths % 1000:03d}"


Asked: TypeAlias = Callable[[str, int | None, str | None], object]
"""What a revision of the registry and a bundle ask of a control, to be compared; falsy:
nothing."""


def track(source: str, beats: Iterable[BeatRow], end_ns: int, span: Span) -> Track:
    """Reads a worker's heartbeats.

    Args:
        source: of its journal.
        beats: in order of sequence; the last one before the span and the first one
            after it included, where there are any.
        end_ns: when it ended, or gave its last sign; now, where it lives.
        span: asked about.
    """
    gaps: list[Gap] = []
    states: list[tuple[int, int, HeartbeatState]] = []
    first: int | None = None
    before: BeatRow | None = None
    for beat in beats:
        if first is None:
            first = beat.time_ns
        if before is not None:
            _between(source, before, beat.time_ns, gaps)
            _keep(states, before, beat.time_ns)
        before = beat
    if before is None or first is None:
        return Track(source, (span[0], span[0]), (), ())
    end_ns = max(end_ns, before.time_ns)
    _between(source, before, end_ns, gaps)
    _keep(states, before, end_ns)
    life = (max(first, span[0]), min(end_ns, span[1]))
    return Track(source, life, _within(gaps, span), tuple(states))


def covered(
    tracks: Sequence[Track],
    configured: Sequence[Configured],
    asked: Asked,
    span: Span,
    apart: Apart | None = None,
) -> list[Covered]:
    """The coverage of every control, in their order.

    Args:
        tracks: of all workers that may have lived in the span.
        configured: what was in force, without a hole.
        asked: what is asked of a control for the service asked about.
        span: asked about.
        apart: what proves nothing, whatever workers said; None: there is none.
    """
    shared = [gap for one in tracks for gap in one.gaps]
    shared += _unlived(tracks, span)
    if apart is not None:
        shared += [Gap(*one, CLOCK_SET_BACK) for one in apart.doubled]
        shared += apart.unproven
    found: list[Covered] = []
    for name in CONTROLS:
        gaps = [*shared, *_undeclared(name, configured, asked)]
        if apart is not None:
            gaps += apart.differing.get(name, ())
        for one in tracks:
            gaps += _unenforced(name, one, configured, asked)
        told = _told(_within(gaps, span))
        missing = sum(gap.end_ns - gap.begin_ns for gap in told)
        whole = span[1] - span[0]
        found.append(Covered(name, whole - missing, whole, told))
    return found


def _between(source: str, before: BeatRow, until_ns: int, gaps: list[Gap]) -> None:
    """Notes what is between a heartbeat and the next sign of the same worker."""
    begin_ns = before.time_ns
    if not before.is_followed:
        span = min(begin_ns, until_ns), max(begin_ns, until_ns)
        gaps.append(Gap(*span, NOT_BORNE_OUT, (source,)))
    if until_ns < begin_ns:
        gaps.append(Gap(until_ns, begin_ns, CLOCK_SET_BACK, (source,)))
    elif until_ns - begin_ns > (before.state.every_s + SLACK_S) * NS:
        gaps.append(Gap(begin_ns, until_ns, WORKER_SILENT, (source,)))


def _keep(
    states: list[tuple[int, int, HeartbeatState]], beat: BeatRow, until_ns: int
) -> None:
    """Keeps what a worker enforced until its next sign; equal neighbours as one."""
    begin_ns = beat.time_ns
    if until_ns <= begin_ns:
        return
    if states and states[-1][1] == begin_ns and states[-1][2] == beat.state:
        begin_ns = states.pop()[0]
    states.append((begin_ns, until_ns, beat.state))


def _unlived(tracks: Sequence[Track], span: Span) -> list[Gap]:
    """The times at which no worker lived."""
    gaps: list[Gap] = []
    reached = span[0]
    for begin, end in sorted(one.life for one in tracks):
        if begin > reached:
            gaps.append(Gap(reached, begin, NO_WORKER))
        reached = max(reached, end)
    if reached < span[1]:
        gaps.append(Gap(reached, span[1], NO_WORKER))
    return gaps


def _undeclared(name: str, configured: Sequence[Configured], asked: Asked) -> list[Gap]:
    """The times at which nothing asked for a control."""
    return [
        Gap(
            one.begin_ns,
            one.end_ns,
            POLICY_DEACTIVATED
            if name in BUNDLED and one.policy is None
            else NOT_DECLARED,
        )
        for one in configured
        if not asked(name, one.registry, one.policy)
    ]


def _unenforced(
    name: str, one: Track, configured: Sequence[Configured], asked: Asked
) -> list[Gap]:
    """The times at which a worker did not enforce what was asked for."""
    gaps: list[Gap] = []
    for begin, end, state in one.states:
        said = state.control(name)
        is_active = said is not None and said.is_active
        has = asked(name, state.registry_revision, state.policy_revision)
        gaps += [
            Gap(
                max(begin, part.begin_ns),
                min(end, part.end_ns),
                CONTROL_DISABLED if _is_loaded(state, part) else NOT_LOADED,
                (one.source,),
            )
            for part in configured
            if part.begin_ns < end
            and begin < part.end_ns
            # Another revision that asks for the same is as good.
            and not (is_active and has and has == asked(name, *part[2:]))
        ]
    return gaps


def _is_loaded(state: HeartbeatState, part: Configured) -> bool:
    """Whether a worker decided by what was in force."""
    has = (state.registry_revision, state.policy_revision)
    return has == (part.registry, part.policy)


def _within(gaps: Sequence[Gap], span: Span) -> tuple[Gap, ...]:
    """The parts of gaps that lie in a span."""
    cut = [
        gap._replace(
            begin_ns=max(gap.begin_ns, span[0]), end_ns=min(gap.end_ns, span[1])
        )
        for gap in gaps
    ]
    return tuple(gap for gap in cut if gap.begin_ns < gap.end_ns)


def _told(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Gaps that do not overlap, one after another, each with its first cause."""
    edges: dict[int, tuple[list[Gap], list[Gap]]] = {}
    for gap in gaps:
        edges.setdefault(gap.begin_ns, ([], []))[0].append(gap)
        edges.setdefault(gap.end_ns, ([], []))[1].append(gap)
    open_gaps: Counter[tuple[str, tuple[str, ...]]] = Counter()
    told: list[Gap] = []
    times = sorted(edges)
    for begin, end in zip(times, [*times[1:], times[-1]] if times else [], strict=True):
        begun, ended = edges[begin]
        open_gaps.update((gap.cause, gap.workers) for gap in begun)
        open_gaps.subtract((gap.cause, gap.workers) for gap in ended)
        now = _first(open_gaps)
        if now is None or begin == end:
            continue
        gap = Gap(begin, end, *now)
        if told and told[-1].end_ns == begin and told[-1][2:] == gap[2:]:
            gap = gap._replace(begin_ns=told.pop().begin_ns)
        told.append(gap)
    return tuple(told)


def _first(
    open_gaps: Mapping[tuple[str, tuple[str, ...]], int],
) -> tuple[str, tuple[str, ...]] | None:
    """The first cause that is open, and all workers that it comes from."""
    causes = {cause for (cause, _), count in open_gaps.items() if count}
    first = next((cause for cause in CAUSES if cause in causes), None)
    if first is None:
        return None
    workers = {
        one
        for (cause, names), count in open_gaps.items()
        if cause == first and count
        for one in names
    }
    return first, tuple(sorted(workers))
