"""Rows that an answer on controls cites are compared with the records they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.core.errors import RecordError, TrailUnavailableError
from comptroller.engine import records
from comptroller.engine.control_answers import Since
from comptroller.engine.control_checking import Checking
from comptroller.engine.control_evidence import (
    Fault,
    InForce,
    Judged,
    Moment,
    WorkerThen,
    judge,
)
from comptroller.engine.control_ports import BeatRow, LifeRow, RecordPlace, RevisionRow
from comptroller.engine.control_records import Heartbeat
from comptroller.engine.controls import BUNDLED
from comptroller.engine.policy_ports import ActivationRow
from comptroller.engine.ports import JournalPosition, JournalReader
from comptroller.engine.trail_ports import Published
from comptroller.testing.projected import CONTROL, W0, Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

A = "sha256:aa"
NS = 10**9
LATER_NS = START_NS + 100 * NS


class Trail:
    """A trail with some lines; or one that cannot be read."""

    def __init__(self, lines: dict[tuple[str, int], bytes] | None) -> None:
        self._lines = lines

    def published(self) -> Published | None:
        """Its lines are the tree; no file of it was ever signed."""
        return Published("test", len(self._read()), b"", START_NS, [])

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where such a line is."""
        is_it = self.entry_at(source, sequence) == line
        return self.index_at(source, sequence) if is_it else None

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where the line of a sequence is."""
        places = list(self._read())
        place = (source, sequence)
        return places.index(place) if place in places else None

    def entry_at(self, source: str, sequence: int) -> bytes | None:
        """The line."""
        return self._read().get((source, sequence))

    def _read(self) -> dict[tuple[str, int], bytes]:
        if self._lines is None:
            raise TrailUnavailableError("it cannot be read")
        return self._lines


class World:
    """A worker and a control process, and rows that say what they recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.books = Projected(InMemoryStore())
        control = self.books.script(CONTROL)
        worker = self.books.script(W0)
        control.applied(1, {})
        control.policy_published(A)
        control.policy_activated(A, None)
        worker.journal_started()
        worker.heartbeat(1, A)
        self.books.clock.advance(30)
        worker.decided("01R")
        worker.heartbeat(1, A)
        worker.journal_closed()
        self.write()
        self.books.project(CONTROL, W0)
        store = self.store = self.books.store
        assert isinstance(store, InMemoryStore)
        (applied,) = store.revisions()
        (activated,) = store.policy_activations()
        before, after = store.heartbeats(W0, 0, 2**62)
        (life,) = store.lives(START_NS, START_NS)
        places = store.activation_places()
        self.since = {
            name: Since(activated.time_ns, A, places[1], None, activated)
            if name in BUNDLED
            else Since(applied.time_ns, "1", applied.place, applied, None)
            for name in ("price", "prompt_restriction")
        }
        self.moment = Moment(
            START_NS,
            InForce("1", applied.time_ns, applied.place, None, applied),
            InForce(A, activated.time_ns, places[1], None, activated),
            None,
            [WorkerThen(W0, before, after, life=life)],
            [],
        )

    def write(self) -> None:
        """Writes the journals as files, as a data directory has them."""
        for source, journal in self.books.journals.items():
            _, node, name, boot = source.split("/")
            data = b"".join(one.line + b"\n" for one in journal.records)
            (self.folder / f"{node}.{name}.{boot}.jsonl").write_bytes(data)

    def faults(self, moment: Moment, trail: Trail | None = None) -> Sequence[Fault]:
        """What the files do not bear out."""
        return Checking(self.reader(), trail).faults(moment, self.since)

    def reader(self) -> JournalReader:
        """Of the files."""
        return DirectoryJournalReader(self.folder)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def beat(world: World) -> BeatRow:
    found = world.moment.workers[0].before
    assert found is not None
    return found


def with_beat(world: World, row: BeatRow) -> Moment:
    worker = world.moment.workers[0]._replace(before=row)
    return world.moment._replace(workers=[worker])


def with_life(world: World, **changed: Any) -> Moment:  # noqa: ANN401  a row's members
    worker = world.moment.workers[0]
    assert isinstance(worker.life, LifeRow)
    worker = worker._replace(life=worker.life._replace(**changed))
    return world.moment._replace(workers=[worker])


def with_act(world: World, what: str, **changed: Any) -> Moment:  # noqa: ANN401  a row's members
    own: InForce = getattr(world.moment, what)
    assert own.row is not None
    own = own._replace(row=own.row._replace(**changed))
    if what == "policy":
        return world.moment._replace(policy=own)
    return world.moment._replace(registry=own)


def forged(world: World, **changed: Any) -> Moment:  # noqa: ANN401  a state's members
    row = beat(world)
    state = msgspec.structs.replace(row.state, **changed)
    return with_beat(world, row._replace(state=state))


def of(judged: Sequence[Judged], name: str) -> Judged:
    return next(one for one in judged if one.control == name)


def test_true_rows_have_no_faults(world: World) -> None:
    """Every cited row is read from its journal, and is what was recorded."""
    assert world.faults(world.moment) == []


FORGED: dict[str, tuple[Callable[[World], Moment], str, str]] = {
    "state": (
        lambda world: forged(world, registry_revision=2),
        "registry revision 2; the record at /node/w0/01A 1 says registry revision 1",
        "heartbeat",
    ),
    "beat-time": (
        lambda world: with_beat(world, beat(world)._replace(time_ns=LATER_NS)),
        "the store says time 2",
        "heartbeat",
    ),
    "beat-of-another-type": (
        lambda world: with_beat(world, beat(world)._replace(place=RecordPlace(W0, 0))),
        "heartbeat.v1; the record at /node/w0/01A 0 says type comptroller.journal.st",
        "heartbeat",
    ),
    "life-began": (
        lambda world: with_life(world, started_ns=START_NS + NS),
        "the store says time 2",
        "heartbeat",
    ),
    "life-ended": (
        lambda world: with_life(world, closed_ns=LATER_NS),
        "the record at /node/w0/01A 4 says time 2",
        "heartbeat",
    ),
    "approver": (
        lambda world: with_act(world, "policy", approver="mallory"),
        "says approver mallory; the record at /node/control/01C ",
        "activation",
    ),
    "bundle": (
        lambda world: with_act(world, "policy", revision="sha256:bb"),
        "the store says policy sha256:bb",
        "activation",
    ),
    "deactivation": (
        lambda world: with_act(world, "policy", revision=None),
        "the store says type comptroller.policy.deactivated.v1",
        "activation",
    ),
    "person": (
        lambda world: with_act(world, "registry", person="mallory"),
        "the store says person mallory",
        "activation",
    ),
    "digest": (
        lambda world: with_act(world, "registry", digest="sha256:cc"),
        "the store says digest sha256:cc",
        "activation",
    ),
    "revision": (
        lambda world: with_act(world, "registry", revision=9),
        "the store says registry revision 9",
        "activation",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_row_contradicts_its_record(world: World, case: str) -> None:
    """It says what the store says and what the record says; it never agrees."""
    forge, says, source = FORGED[case]
    moment = forge(world)
    faults = world.faults(moment)
    assert faults[0].piece.source == source
    assert faults[0].piece.verdict == "contradicts"
    assert says in faults[0].piece.says
    judged = judge(moment._replace(faults=faults))
    name = "prompt_restriction" if moment.policy != world.moment.policy else "price"
    found = of(judged, name)
    assert found.verdict == "disagreement"
    assert faults[0].piece.says in found.why
    place = faults[0].piece.place
    agreeing = [one for one in found.pieces if one.verdict == "agrees"]
    assert (source, place) not in [(one.source, one.place) for one in agreeing]


def test_a_forged_approver_bears_on_what_the_policy_configures(world: World) -> None:
    """Other controls are judged as they were."""
    moment = with_act(world, "policy", approver="mallory")
    (fault, *_) = world.faults(moment)
    assert "prompt_restriction" in fault.controls
    assert "price" not in fault.controls


def test_the_act_that_a_control_is_dated_by_is_read_too(world: World) -> None:
    """Its fault bears on that control alone; without a place it is missing."""
    since = world.since["price"]
    assert isinstance(since.applied, RevisionRow)
    row = since.applied._replace(person="mallory")
    world.since["price"] = since._replace(applied=row)
    (fault,) = world.faults(world.moment)
    assert fault.controls == {"price"}
    assert "person mallory" in fault.piece.says
    world.since["price"] = since._replace(applied=row, place=None)
    (fault,) = world.faults(world.moment)
    assert fault.piece.verdict == "missing"


def test_what_cannot_be_read_is_missing(world: World) -> None:
    """A place behind the journal's end, and a journal that is gone."""
    row = beat(world)._replace(place=RecordPlace(W0, 9))
    (fault,) = world.faults(with_beat(world, row))
    assert fault.piece.verdict == "missing"
    assert "there is no record 9 in /node/w0/01A" in fault.piece.says
    (world.folder / "node.w0.01A.jsonl").unlink()
    faults = world.faults(world.moment)
    assert {one.piece.verdict for one in faults} == {"missing"}
    assert len(faults) == 4
    assert "the record at /node/w0/01A" in faults[0].piece.says
    assert of(judge(world.moment._replace(faults=faults)), "price").verdict == (
        "unproven"
    )


def test_the_trail_is_read_before_the_journal(world: World) -> None:
    """Who rewrites the journal with the store is found by the trail."""
    place = beat(world).place
    line = world.books.journals[W0].records[1].line
    other = line.replace(b'"durability":"disk"', b'"durability":"none"')
    assert line != other
    (fault,) = world.faults(world.moment, Trail({(W0, place.sequence): other}))
    assert "durability disk; the record at" in fault.piece.says
    assert world.faults(world.moment, Trail({})) == []
    assert world.faults(world.moment, Trail(None)) == []


def test_a_record_is_found_in_a_long_journal(tmp_path: Path) -> None:
    """By bisection over its segments; what is found is the record asked for."""
    world = World(tmp_path)
    worker = world.books.script("/node/w1/01B")
    worker.journal_started()
    for number in range(1500):
        worker.heartbeat(number)
    world.write()
    journal = world.books.journals["/node/w1/01B"]
    cut = journal.records[700].offset
    whole = tmp_path / "node.w1.01B.jsonl"
    data = whole.read_bytes()
    whole.write_bytes(data[:cut])
    (tmp_path / f"node.w1.01B.{cut:016d}.jsonl").write_bytes(data[cut:])
    for sequence in (1, 2, 699, 700, 1499, 1500):
        said = msgspec.json.decode(journal.records[sequence].line)["data"]
        state = msgspec.convert(said, Heartbeat).state
        row = beat(world)._replace(
            place=RecordPlace(journal.source, sequence),
            time_ns=START_NS + 30 * NS,
            state=state,
        )
        assert world.faults(with_beat(world, row)) == []


def test_a_decision_is_what_its_row_says(world: World) -> None:
    """A row that points to the record of another request is no evidence."""
    store = world.store
    row = store.request("01R")
    assert row is not None
    checking = Checking(world.reader(), None)
    assert checking.decision(row).place == RecordPlace(W0, 2)
    with pytest.raises(RecordError, match="the store says request 01Q; the record"):
        checking.decision(row._replace(request_id="01Q"))
    begun = world.books.journals[W0].records[0].offset
    with pytest.raises(RecordError, match="is not in"):
        checking.decision(row._replace(decided_at=JournalPosition(W0, begun)))


def test_an_unreadable_record_is_missing(world: World) -> None:
    """A line of which the content is not that of its type."""
    line = world.books.journals[W0].records[1].line
    envelope = msgspec.json.decode(line, type=records.Envelope)
    broken = msgspec.structs.replace(envelope, data=msgspec.Raw(b"{}"))
    trail = Trail({(W0, 1): msgspec.json.encode(broken)})
    (fault,) = world.faults(world.moment, trail)
    assert fault.piece.verdict == "missing"
    assert "/node/w0/01A 1 cannot be read" in fault.piece.says
    assert isinstance(world.moment.policy.row, ActivationRow)
