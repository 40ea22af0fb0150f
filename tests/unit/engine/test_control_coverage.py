"""Coverage of a span: percent, and the exact gaps with their cause."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from comptroller.engine.control_coverage import (
    Apart,
    Configured,
    Covered,
    Gap,
    Track,
    covered,
    track,
)
from comptroller.engine.control_evidence import NS
from comptroller.engine.control_ports import BeatRow
from comptroller.engine.control_records import HeartbeatState
from comptroller.engine.controls import BUNDLED
from comptroller.testing.evidence import POLICY, beat, state

SPAN = (0, 300 * NS)
STEADY = [Configured(*SPAN, 1, POLICY)]


def beats(
    begin: int, end: int, said: HeartbeatState | None = None, source: str = "w0"
) -> list[BeatRow]:
    """A heartbeat every 30 seconds."""
    return [beat(second, second, said, source) for second in range(begin, end, 30)]


def lived(rows: Sequence[BeatRow], end: float = 300, source: str = "w0") -> Track:
    return track(source, rows, int(end * NS), SPAN)


def is_on(name: str, registry: int | None, policy: str | None) -> bool:
    """Revision 1 declares everything but rates; the bundle all of its controls."""
    if name in BUNDLED:
        return policy is not None
    return registry is not None and name != "rate_limit"


def of(
    tracks: Sequence[Track],
    name: str = "budget",
    configured: Sequence[Configured] = STEADY,
    doubled: Collection[tuple[int, int]] = (),
) -> Covered:
    found = covered(tracks, configured, is_on, SPAN, Apart(list(doubled)))
    return next(one for one in found if one.control == name)


def gaps(found: Covered) -> list[tuple[float, float, str, tuple[str, ...]]]:
    return [(gap.begin_ns / NS, gap.end_ns / NS, *gap[2:]) for gap in found.gaps]


def test_a_worker_that_beats_covers_all() -> None:
    """Every thirty seconds, from before the span to its end."""
    found = of([lived(beats(-30, 300))])
    assert gaps(found) == []
    assert found.percent == "100.000"


def test_heartbeats_up_to_the_slack_apart() -> None:
    """35 seconds are near enough; a nanosecond more is silence, as a whole."""
    rows = [beat(0, 0), beat(1, 35), *beats(65, 300)]
    assert gaps(of([lived(rows)])) == []
    rows[1] = rows[1]._replace(time_ns=35 * NS + 1)
    ((begin, end, cause, workers),) = gaps(of([lived(rows)]))
    assert (begin, cause, workers) == (0, "worker_silent", ("w0",))
    assert end > 35


def test_a_silent_worker_is_a_gap_though_another_beats() -> None:
    """Every living worker has to be heard."""
    silent = lived([beat(0, 0), beat(1, 30), beat(2, 90), *beats(120, 300)])
    other = lived(beats(0, 300, source="w1"), source="w1")
    found = of([silent, other])
    assert gaps(found) == [(30, 90, "worker_silent", ("w0",))]
    assert found.percent == "80.000"


def test_a_stopped_worker_that_still_lives_is_silent_until_now() -> None:
    """Its last heartbeat is old and nothing says that it ended."""
    found = of([lived(beats(0, 150), 300)])
    assert gaps(found) == [(120, 300, "worker_silent", ("w0",))]


def test_no_worker_between_two_lives() -> None:
    """From the last sign of the one until the first heartbeat of the next."""
    first = lived(beats(0, 60), 50)
    second = lived(beats(100, 300, source="w1"), source="w1")
    assert gaps(of([first, second])) == [(50, 100, "no_worker", ())]
    assert gaps(of([])) == [(0, 300, "no_worker", ())]


def test_a_worker_that_ended_while_another_lived_is_no_gap() -> None:
    """Who lives no more has nothing to say."""
    first = lived(beats(0, 60), 50)
    second = lived(beats(0, 300, source="w1"), source="w1")
    assert gaps(of([first, second])) == []


def test_a_clock_that_was_set_back() -> None:
    """What it showed twice is a gap, of a worker or of who configured."""
    rows = [beat(0, 0), beat(1, 30), beat(2, 60), beat(3, 40), *beats(70, 300)]
    assert gaps(of([lived(rows)])) == [(40, 60, "clock_set_back", ("w0",))]
    found = of([lived(beats(0, 300))], doubled=[(10 * NS, 20 * NS)])
    assert gaps(found) == [(10, 20, "clock_set_back", ())]


def test_nothing_declared() -> None:
    """A control that nothing asks for is covered for no time."""
    found = of([lived(beats(0, 300))], "rate_limit")
    assert gaps(found) == [(0, 300, "not_declared", ())]
    assert found.percent == "0.000"


def test_a_policy_that_was_deactivated_and_loaded_late() -> None:
    """A gap from the act on; and until a worker has loaded the next one."""
    configured = [
        Configured(0, 100 * NS, 1, POLICY),
        Configured(100 * NS, 200 * NS, 1, None),
        Configured(200 * NS, 300 * NS, 1, POLICY),
    ]
    off = state(1, None)
    rows = [
        *beats(0, 100),
        beat(101, 100.2, off),
        *beats(130, 200, off),
        beat(201, 200.3),
        *beats(230, 300),
    ]
    found = of([lived(rows)], "prompt_restriction", configured)
    assert gaps(found) == [
        (100, 200, "policy_deactivated", ()),
        (200, 200.3, "not_loaded", ("w0",)),
    ]
    assert gaps(of([lived(rows)], "budget", configured)) == []
    assert found.percent == "66.566"


def test_a_worker_that_did_not_enforce() -> None:
    """By the same revisions: it was disabled, and by whom is told."""
    off = state(off=["budget"])
    rows = [*beats(0, 90), *beats(90, 150, off), *beats(150, 300)]
    assert gaps(of([lived(rows)])) == [(90, 150, "control_disabled", ("w0",))]
    assert gaps(of([lived(rows)], "price")) == []


def test_of_several_causes_at_once_the_first_is_told_once() -> None:
    """Gaps never overlap, and neighbours of one cause are one."""
    off = state(off=["budget"])
    rows = [beat(0, 0), beat(1, 30, off), beat(2, 90, off), *beats(120, 300)]
    assert gaps(of([lived(rows)])) == [
        (30, 90, "worker_silent", ("w0",)),
        (90, 120, "control_disabled", ("w0",)),
    ]


def test_percent_is_never_rounded_up() -> None:
    """A single nanosecond that is missing is missing from the hundred."""
    found = Covered("budget", 10**12 - 1, 10**12, (Gap(0, 1, "no_worker"),))
    assert found.percent == "99.999"
    assert Covered("budget", 0, 0, ()).percent == "0.000"
