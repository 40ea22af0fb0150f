"""What every store says of who configured and enforced what: SQLite and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from comptroller.adapters.store.controls import SqliteControls
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.engine.control_ports import (
    ChangeRow,
    ControlReports,
    LifeRow,
    RecordPlace,
)
from comptroller.engine.ports import JournalPosition
from comptroller.testing.projected import CONTROL, W0, W1, Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

S = 10**9
A = "sha256:aa"


@pytest.fixture
def asked(books: Projected, tmp_path: Path) -> Iterator[ControlReports]:
    """What answers of the store that is projected into."""
    if isinstance(books.store, InMemoryStore):
        yield books.store
        return
    assert isinstance(books.store, SqliteStore)
    controls = SqliteControls.open(tmp_path / "store.sqlite3")
    yield controls
    controls.close()


def beats(asked: ControlReports, source: str) -> list[tuple[int, int]]:
    """Sequence and seconds of all heartbeats of a worker."""
    rows = asked.heartbeat_run(source, 0, 2**62)
    return [(one.place.sequence, (one.time_ns - START_NS) // S) for one in rows]


def test_a_new_store_has_no_evidence(asked: ControlReports) -> None:
    """Nothing was applied, nobody lived."""
    assert asked.positions() == {}
    assert asked.revisions() == []
    assert asked.registry_changes(["service"]) == []
    assert asked.activation_places() == {}
    assert asked.lives(0, 2**62) == []
    assert asked.heartbeat_before(W0, 2**62) is None
    assert asked.decisions_near("checkout-assistant", START_NS) == (None, None)


def test_every_revision_is_kept_with_its_record(
    books: Projected, asked: ControlReports
) -> None:
    """Who applied it and where that stands; what it made of objects, removals too."""
    script = books.script(CONTROL)
    script.changed(1, "service", "one", {"id": "one"})
    script.changed(1, "person", "ada", {"id": "ada"})
    script.applied(1, {})
    books.clock.advance(5)
    script.changed(2, "service", "one", {"id": "one", "limit": 1})
    script.changed(2, "service", "one", {"id": "one", "limit": 2})
    script.changed(2, "service", "two", {"id": "two"})
    script.applied(2, {})
    script.changed(3, "service", "one", None)
    script.applied(3, {})
    books.project(CONTROL)
    rows = asked.revisions()
    assert [(one.revision, one.time_ns, one.person) for one in rows] == [
        (1, START_NS, "ada"),
        (2, START_NS + 5 * S, "ada"),
        (3, START_NS + 5 * S, "ada"),
    ]
    assert [one.place for one in rows] == [
        RecordPlace(CONTROL, sequence) for sequence in (2, 6, 8)
    ]
    changes = asked.registry_changes(["service"])
    assert [one[:3] for one in changes] == [
        (1, "service", "one"),
        (2, "service", "one"),
        (2, "service", "two"),
        (3, "service", "one"),
    ]
    assert changes[1] == ChangeRow(2, "service", "one", b'{"id":"one","limit":2}')
    assert changes[3].body is None


def test_changes_that_were_not_applied_are_no_history(
    books: Projected, asked: ControlReports
) -> None:
    """A process that died before it applied changed nothing."""
    books.script(CONTROL).changed(1, "service", "one", {"id": "one"})
    later = "/node/cli/01D"
    script = books.script(later)
    script.changed(1, "service", "two", {"id": "two"})
    script.applied(1, {})
    books.project(CONTROL, later)
    assert [one.id for one in asked.registry_changes(["service"])] == ["two"]


def test_activations_have_their_records(
    books: Projected, asked: ControlReports
) -> None:
    """By number, as `policy_activations` counts them."""
    script = books.script(CONTROL)
    script.policy_published(A)
    script.policy_activated(A, None)
    script.policy_activated(None, A)
    books.project(CONTROL)
    assert asked.activation_places() == {
        1: RecordPlace(CONTROL, 1),
        2: RecordPlace(CONTROL, 2),
    }


def test_lives_of_workers(books: Projected, asked: ControlReports) -> None:
    """Those that a span may have seen; the control process is no worker."""
    books.script(CONTROL).journal_started()
    first, second = books.script(W0), books.script(W1)
    first.journal_started()
    books.clock.advance(10)
    second.journal_started()
    first.journal_closed()
    books.project(CONTROL, W0, W1)
    ends = {name: journal.offset for name, journal in books.journals.items()}
    assert asked.positions() == ends
    one = LifeRow(W0, START_NS, START_NS + 10 * S)
    two = LifeRow(W1, START_NS + 10 * S, None)
    assert asked.lives(0, 2**62) == [one, two]
    assert asked.lives(START_NS + 10 * S, START_NS + 20 * S) == [one, two]
    assert asked.lives(START_NS + 10 * S + 1, 2**62) == [two]
    assert asked.lives(0, START_NS + 10 * S - 1) == [one]


def test_heartbeats_in_their_order(books: Projected, asked: ControlReports) -> None:
    """By sequence, whatever their times; each with what it said."""
    script = books.script(W0)
    script.journal_started()
    script.heartbeat(1)
    books.clock.advance(30)
    script.heartbeat(1, A)
    books.clock.advance(-20)
    script.heartbeat(2, A, ["budget"], {"durability": "process"})
    books.script(W1).heartbeat(9)
    books.project(W0, W1)
    assert beats(asked, W0) == [(1, 0), (2, 30), (3, 10)]
    assert beats(asked, W1) == [(0, 10)]
    assert beats(asked, "/node/w7/01Z") == []
    first, second, third = asked.heartbeat_run(W0, 0, 2**62)
    assert first.state.policy_revision is None
    assert second.state.registry_revision == 1
    assert third.state.durability == "process"
    said = third.state.control("budget")
    assert said is not None
    assert (said.is_active, said.revision) == (False, "2")
    assert third.state.control("no_such") is None


def test_heartbeats_of_a_span(books: Projected, asked: ControlReports) -> None:
    """The sequences at its ends; by sequence; and those around a moment."""
    script = books.script(W0)
    for _ in range(4):
        script.heartbeat()
        books.clock.advance(30)
    books.project(W0)
    at = START_NS + 30 * S
    assert asked.beat_ends(W0, at, at + 30 * S) == (1, 2)
    assert asked.beat_ends(W0, at + 1, at + 2) is None
    rows = asked.heartbeat_run(W0, 1, 2)
    assert [one.place.sequence for one in rows] == [1, 2]
    rows = asked.heartbeat_run(W0, 3, 2**62)
    assert [one.place.sequence for one in rows] == [3]
    before, after = asked.heartbeat_before(W0, at), asked.heartbeat_after(W0, at)
    assert before is not None
    assert after is not None
    assert (before.place.sequence, after.place.sequence) == (0, 2)
    assert asked.heartbeat_before(W0, START_NS) is None
    assert asked.heartbeat_after(W0, START_NS + 90 * S) is None


def test_decisions_near_a_moment(books: Projected, asked: ControlReports) -> None:
    """The last one not after it, and the next; of that service only."""
    script = books.script(W0)
    for name in ("R1", "R2", "R3"):
        script.decided(name)
        books.clock.advance(10)
    script.decided("R4", {"service.name": "search"})
    books.project(W0)

    def near(seconds: int) -> list[str | None]:
        found = asked.decisions_near("checkout-assistant", START_NS + seconds * S)
        return [None if one is None else one.request_id for one in found]

    assert near(-1) == [None, "R1"]
    assert near(10) == ["R2", "R3"]
    assert near(15) == ["R2", "R3"]
    assert near(30) == ["R3", None]
    assert asked.last_decision_ns(W0, START_NS, START_NS + 25 * S) == START_NS + 20 * S
    assert asked.last_decision_ns(W0, START_NS + 11 * S, START_NS + 19 * S) is None
    assert asked.last_decision_ns(W1, 0, 2**62) is None


def test_projecting_evidence_again_changes_nothing(
    books: Projected, asked: ControlReports
) -> None:
    """Records before the position are ignored."""
    script = books.script(W0)
    script.journal_started()
    script.heartbeat()
    script.journal_closed()
    control = books.script(CONTROL)
    control.changed(1, "service", "one", {"id": "one"})
    control.applied(1, {})
    books.project(W0, CONTROL)

    def all_of() -> tuple[object, ...]:
        return (
            asked.lives(0, 2**62),
            asked.heartbeat_run(W0, 0, 2**62),
            asked.revisions(),
            asked.registry_changes(["service"]),
        )

    before = all_of()
    for source in (W0, CONTROL):
        journal = books.journal(source)
        books.store.project(journal.records, JournalPosition(source, journal.offset))
    assert all_of() == before
