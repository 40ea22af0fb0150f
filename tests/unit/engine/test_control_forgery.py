"""Whoever may write the store cannot make a control look active that was not shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import pytest

from comptroller.core.errors import ContentUnavailableError
from comptroller.engine.control_ports import BeatRow, RecordPlace
from comptroller.engine.control_records import HeartbeatState
from comptroller.engine.explanation import Document
from comptroller.testing.audited import SERVICE, AlterableStore, AuditedWorld, when
from comptroller.testing.projected import W0, W1
from comptroller.testing.system import START_NS

A = "sha256:aa"
NS = 10**9
W9 = "/node/w9/01Z"
KEY = "service", SERVICE


def ns(second: float) -> int:
    return START_NS + int(second * NS)


def story(world: AuditedWorld) -> None:
    """Five minutes in which most may be shown, and some may not.

    At 60 s four requests at once are allowed; the second worker takes that up at 75 s.
    At 120 s the policy. At 150 s the first worker does not enforce prices until 165 s.
    From 180 to 255 s the second one hangs. At 260 s the policy goes, and at 265 s it is
    back, which no worker notices. At 290 s it goes for good.
    """
    world.control.policy_published(A)
    world.wait(60)
    limited = {**world.objects[KEY], "limits": {"concurrency": 4}}
    world.control.applied(2, {KEY: limited})
    world.revision = 2
    world.beat(W0)
    world.books.clock.advance(15)
    world.beat(W1)
    world.books.clock.advance(15)
    world.load(2)
    world.wait(30)
    world.control.policy_activated(A, None)
    world.load(2, A)
    world.wait(30)
    world.beat(W0, ["price"])
    world.books.clock.advance(15)
    world.beat(W0)
    world.beat(W1)
    world.books.clock.advance(15)
    world.load(2, A)
    world.wait(60, [W0])
    world.books.clock.advance(15)
    world.load(2, A)
    world.books.clock.advance(5)
    world.control.policy_activated(None, A)
    world.books.clock.advance(5)
    world.control.policy_activated(A, None)
    world.books.clock.advance(15)
    world.load(2, A)
    world.books.clock.advance(10)
    world.control.policy_activated(None, A)
    world.load(2)
    world.wait(30)


class Case(NamedTuple):
    """A way to forge, and what must not be answered by it."""

    forge: Callable[[AlterableStore], None]
    control: str
    second: float
    honest: str = "unproven"
    """The verdict while nothing is forged."""


def beats(
    change: Callable[[list[BeatRow]], list[BeatRow]],
) -> Callable[[AlterableStore], None]:
    return lambda store: store.alter_beats(change)


def without(
    source: str, begin: float, end: float
) -> Callable[[list[BeatRow]], list[BeatRow]]:
    """All rows but those of a worker within some seconds."""
    return lambda rows: [
        one
        for one in rows
        if one.place.source != source or not ns(begin) <= one.time_ns <= ns(end)
    ]


def edited(
    source: str,
    second: float,
    change: Callable[[BeatRow], BeatRow],
) -> Callable[[list[BeatRow]], list[BeatRow]]:
    """The rows of a worker at a second, each changed."""
    return lambda rows: [
        change(one) if one.place.source == source and one.time_ns == ns(second) else one
        for one in rows
    ]


def stated(row: BeatRow, **changed: object) -> BeatRow:
    state: HeartbeatState = msgspec.structs.replace(row.state, **changed)
    return row._replace(state=state)


def filled(rows: list[BeatRow]) -> list[BeatRow]:
    """Heartbeats for the time in which the second worker hung: they never were."""
    known = [one for one in rows if one.place.source == W1]
    sequence = known[-1].place.sequence
    forged = [
        known[-1]._replace(
            place=RecordPlace(W1, sequence + 1 + number), time_ns=ns(200 + 20 * number)
        )
        for number in range(3)
    ]
    return rows + forged


def cited_twice(rows: list[BeatRow]) -> list[BeatRow]:
    """As above, at places where other heartbeats of that worker are."""
    known = [one for one in rows if one.place.source == W1]
    kept = [one for one in rows if one not in known[1:4]]
    moved = [
        one._replace(time_ns=ns(200 + 20 * number))
        for number, one in enumerate(known[1:4])
    ]
    return kept + moved


def reordered(rows: list[BeatRow]) -> list[BeatRow]:
    """Times of the first worker around 150 s change places."""
    at = [
        one
        for one in rows
        if one.place.source == W0 and ns(149) < one.time_ns < ns(170)
    ]
    times = [one.time_ns for one in reversed(at)]
    swapped = [one._replace(time_ns=to) for one, to in zip(at, times, strict=True)]
    return [one for one in rows if one not in at] + swapped


def forgotten(store: AlterableStore) -> None:
    """The second worker never was."""
    store.alter_life(W1, None)
    store.alter_beats(without(W1, 0, 1000))


def closed(store: AlterableStore) -> None:
    """The second worker ended before it hung."""
    (row,) = (one for one in store.lives(0, 2**62) if one.source == W1)
    store.alter_life(W1, row._replace(closed_ns=ns(181)))


def begun(store: AlterableStore) -> None:
    """The second worker began after it hung."""
    (row,) = (one for one in store.lives(0, 2**62) if one.source == W1)
    store.alter_life(W1, row._replace(started_ns=ns(254)))


def invented(store: AlterableStore) -> None:
    """One worker more, which never was, and the others gone."""
    (row,) = (one for one in store.lives(0, 2**62) if one.source == W0)
    rows = [one for one in store.heartbeat_run(W0, 0, 2**62) if one.time_ns > ns(70)]
    for source in (W0, W1):
        store.alter_life(source, None)
    store.alter_life(W9, row._replace(source=W9))
    places = [RecordPlace(W9, number) for number in range(len(rows))]
    moved = [one._replace(place=to) for one, to in zip(rows, places, strict=True)]
    store.alter_beats(lambda _: moved)


def declared(revision: int, limits: bytes) -> Callable[[AlterableStore], None]:
    """A revision declares other limits of the service."""

    def alter(store: AlterableStore) -> None:
        (body,) = (
            one.body for one in store.registry_changes(["service"]) if one.revision == 1
        )
        assert body is not None
        parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        parts["limits"] = msgspec.Raw(limits)
        store.alter_changes(
            lambda rows: [
                one._replace(body=msgspec.json.encode(parts))
                if (one.revision, one.kind) == (revision, "service")
                else one
                for one in rows
            ]
        )

    return alter


def revised(second: float) -> Callable[[AlterableStore], None]:
    """Revision 2 was applied at another time."""
    return lambda store: store.alter_revisions(
        lambda rows: [
            one._replace(time_ns=ns(second)) if one.revision == 2 else one
            for one in rows
        ]
    )


def activated(second: float) -> Callable[[AlterableStore], None]:
    """The policy was activated at another time."""
    return lambda store: store.alter_activations(
        lambda rows: [
            one._replace(time_ns=ns(second)) if one.number == 1 else one for one in rows
        ]
    )


def never(numbers: Sequence[int]) -> Callable[[AlterableStore], None]:
    """Some activations never were."""
    return lambda store: store.alter_activations(
        lambda rows: [one for one in rows if one.number not in numbers]
    )


def approved(store: AlterableStore) -> None:
    """Somebody else approved the policy."""
    store.alter_activations(
        lambda rows: [one._replace(approver="mallory") for one in rows]
    )


CASES = {
    "silence-filled": Case(beats(filled), "price", 210),
    "silence-filled-twice-cited": Case(beats(cited_twice), "price", 210),
    "row-removed": Case(
        beats(without(W0, 149, 164)), "price", 155, honest="disagreement"
    ),
    "state-edited": Case(
        beats(
            edited(
                W0,
                150,
                lambda row: stated(
                    row,
                    controls=tuple(
                        msgspec.structs.replace(one, is_active=True)
                        for one in row.state.controls
                    ),
                ),
            )
        ),
        "price",
        155,
        honest="disagreement",
    ),
    "revision-edited": Case(
        beats(edited(W1, 60, lambda row: stated(row, registry_revision=2))),
        "concurrency",
        70,
        honest="disagreement",
    ),
    "reordered": Case(beats(reordered), "price", 155, honest="disagreement"),
    "worker-forgotten": Case(forgotten, "price", 210),
    "life-removed": Case(lambda store: store.alter_life(W1, None), "price", 210),
    "life-closed": Case(closed, "price", 210),
    "life-begun": Case(begun, "price", 210),
    "life-invented": Case(invented, "price", 210),
    "limit-declared-earlier": Case(
        declared(1, b'{"concurrency":4}'), "concurrency", 30, honest="inactive"
    ),
    "limit-otherwise": Case(
        declared(2, b'{"concurrency":1}'), "concurrency", 100, honest="active"
    ),
    "limit-unreadable": Case(
        declared(2, b'"none"'), "concurrency", 100, honest="active"
    ),
    "applied-earlier": Case(revised(30), "concurrency", 45, honest="inactive"),
    "revision-removed": Case(
        lambda store: store.alter_revisions(lambda rows: rows[:1]),
        "concurrency",
        100,
        honest="active",
    ),
    "first-revision-removed": Case(
        lambda store: store.alter_revisions(lambda rows: rows[1:]),
        "concurrency",
        100,
        honest="active",
    ),
    "activated-earlier": Case(
        activated(91), "prompt_restriction", 100, honest="inactive"
    ),
    "deactivation-removed": Case(
        never([4]), "prompt_restriction", 300, honest="inactive"
    ),
    "pair-removed": Case(
        never([2, 3]), "prompt_restriction", 262, honest="disagreement"
    ),
    "approver-edited": Case(approved, "prompt_restriction", 140, honest="active"),
    "bundle-otherwise": Case(
        lambda store: store.alter_policy(A, "sha256:ff"),
        "prompt_restriction",
        140,
        honest="active",
    ),
}


@pytest.fixture(params=[True, False], ids=["counted", "older"])
def world(request: pytest.FixtureRequest) -> AuditedWorld:
    made = AuditedWorld(is_counted=request.param)
    story(made)
    return made


def control(found: Document, name: str) -> Document:
    return next(one for one in found["controls"] if one["control"] == name)


def test_an_honest_store_is_answered_from(world: AuditedWorld) -> None:
    """Each case's verdict before anything is forged: none of it is a discrepancy."""
    for name, case in CASES.items():
        found = control(world.at(case.second), case.control)
        assert found["verdict"] == case.honest, (name, found["why"])
    span = world.spanned(0, 320)
    assert (span["discrepancies"], span["discrepancies_count"]) == ([], 0)
    causes = {gap["cause"] for one in span["controls"] for gap in one["gaps"]}
    assert "not_borne_out" not in causes
    assert control(span, "price")["gaps"] == [
        {
            "begin": when(150),
            "end": when(165),
            "seconds": 15.0,
            "cause": "control_disabled",
            "workers": [W0],
        },
        {
            "begin": when(180),
            "end": when(255),
            "seconds": 75.0,
            "cause": "worker_silent",
            "workers": [W1],
        },
    ]


@pytest.mark.parametrize("name", CASES)
def test_what_is_forged_is_not_active(world: AuditedWorld, name: str) -> None:
    """Neither active nor inactive: told as a contradiction, or as missing."""
    case = CASES[name]
    world.auditing()
    case.forge(world.store)
    found = control(world.at(case.second), case.control)
    assert found["verdict"] in {"disagreement", "unproven"}
    assert not found["is_complete"]
    assert found["why"]
    told = {one["verdict"] for one in found["evidence"]}
    assert told & {"contradicts", "missing"}


@pytest.mark.parametrize("name", CASES)
def test_what_is_forged_is_not_covered(world: AuditedWorld, name: str) -> None:
    """That second is a gap, and every discrepancy says what the records say."""
    case = CASES[name]
    world.auditing()
    honest = control(world.spanned(0, 320), case.control)
    case.forge(world.store)
    if name == "bundle-otherwise":
        with pytest.raises(ContentUnavailableError, match="no record of its publi"):
            world.spanned(0, 320)
        return
    span = world.spanned(0, 320)
    found = control(span, case.control)
    assert found["covered_seconds"] <= honest["covered_seconds"]
    at = when(case.second)
    causes = [one["cause"] for one in found["gaps"] if one["begin"] <= at < one["end"]]
    assert causes
    assert span["discrepancies"]
    assert span["discrepancies_count"] == len(span["discrepancies"])
    assert all(one["says"] for one in span["discrepancies"])
