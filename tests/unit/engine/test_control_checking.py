"""Rows that an answer on controls rests on are compared with the records they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.core.errors import RecordError, TrailUnavailableError
from comptroller.engine.control_checking import ActFault, Acts, Checked, Checking
from comptroller.engine.control_ports import RecordPlace
from comptroller.engine.control_reading import Reading
from comptroller.engine.control_records import CONTROL_HEARTBEAT
from comptroller.engine.control_sweeping import Sweep
from comptroller.engine.ports import JournalPosition
from comptroller.engine.records import JOURNAL_SEALED
from comptroller.engine.trail_ports import KeptRecords, Published
from comptroller.testing.projected import CONTROL, W0, Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

A = "sha256:aa"
NS = 10**9
EVER = 2**62
SERVICE = "service", "one"


class Trail:
    """A trail with some lines; or one that cannot be read."""

    def __init__(self, lines: dict[tuple[str, int], bytes] | None) -> None:
        self._lines = lines

    def sources(self) -> list[str]:
        """Whose lines it has."""
        return [source for source, _ in self._read()]

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

    def kept(self, source: str) -> KeptRecords | None:
        """All of it."""
        known = [sequence for name, sequence in self._read() if name == source]
        return KeptRecords(min(known), max(known), 0) if known else None

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
        control.applied(1, {SERVICE: {"limit": 1}, ("person", "ada"): {"id": "ada"}})
        control.policy_published(A)
        control.policy_activated(A, None)
        worker.journal_started()
        worker.heartbeat(1, A)
        self.books.clock.advance(30)
        worker.decided("01R")
        worker.heartbeat(1, A)
        control.applied(2, {SERVICE: {"limit": 2}})
        worker.journal_closed()
        self.write()
        self.books.project(CONTROL, W0)
        store = self.books.store
        assert isinstance(store, InMemoryStore)
        self.store = store

    def write(self) -> None:
        """Writes the journals as files, as a data directory has them."""
        for source, journal in self.books.journals.items():
            _, node, name, boot = source.split("/")
            data = b"".join(one.line + b"\n" for one in journal.records)
            (self.folder / f"{node}.{name}.{boot}.jsonl").write_bytes(data)

    def reading(self, trail: Trail | None = None) -> Reading:
        """Of the files."""
        return Reading(DirectoryJournalReader(self.folder), trail)

    def acts(self) -> Acts:
        """What the store says."""
        store = self.store
        return Acts(
            store.revisions(),
            store.registry_changes(["service"]),
            store.policy_activations(),
            store.activation_places(),
            store.positions(),
        )

    def checked(self, acts: Acts, trail: Trail | None = None) -> Checked:
        """What the files say of that."""
        return Checking(self.reading(trail)).acts(acts)

    def line(self, source: str, sequence: int) -> bytes:
        """What was recorded."""
        return self.books.journals[source].records[sequence].line


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def said(faults: Sequence[ActFault]) -> list[tuple[str, str]]:
    return [(one.fault.piece.verdict, one.fault.piece.says) for one in faults]


def revised(world: World, **changed: Any) -> Acts:  # noqa: ANN401  a row's members
    """The first revision's row is another."""
    first, *others = world.acts().revisions
    return world.acts()._replace(revisions=[first._replace(**changed), *others])


def activated(world: World, **changed: Any) -> Acts:  # noqa: ANN401  a row's members
    """The activation's row is another."""
    (row,) = world.acts().activations
    return world.acts()._replace(activations=[row._replace(**changed)])


def declared(world: World, body: bytes | None) -> Acts:
    """What the second revision made of the service is another."""
    first, second = world.acts().changes
    return world.acts()._replace(changes=[first, second._replace(body=body)])


def test_true_rows_have_no_faults(world: World) -> None:
    """Every act is read from its journal, and is what was recorded."""
    found = world.checked(world.acts())
    assert found.faults == []
    assert found.digests[A]
    assert found.objects == {
        (1, *SERVICE): RecordPlace(CONTROL, 0),
        (2, *SERVICE): RecordPlace(CONTROL, 5),
    }


FORGED: dict[str, tuple[Callable[[World], Acts], str]] = {
    "person": (
        lambda world: revised(world, person="mallory"),
        "the store says person mallory; the record at /node/control/01C 2 says",
    ),
    "digest": (
        lambda world: revised(world, digest="sha256:cc"),
        "the store says digest sha256:cc",
    ),
    "revision-place": (
        lambda world: revised(world, place=RecordPlace(CONTROL, 3)),
        "the record at /node/control/01C 3 says type comptroller.policy.published.v1",
    ),
    "revision-time": (
        lambda world: revised(world, time_ns=START_NS + NS),
        "the store says time 2",
    ),
    "approver": (
        lambda world: activated(world, approver="mallory"),
        "the store says approver mallory; the record at /node/control/01C 4 says",
    ),
    "bundle": (
        lambda world: activated(world, revision="sha256:bb"),
        "the store says policy sha256:bb",
    ),
    "deactivation": (
        lambda world: activated(world, revision=None),
        "the store says type comptroller.policy.deactivated.v1",
    ),
    "limit": (
        lambda world: declared(world, b'{"limit":9}'),
        "service one of revision 2 is not what was recorded: limit 9, recorded 2",
    ),
    "removed": (
        lambda world: declared(world, None),
        "service one of revision 2 is not what was recorded: limit nothing, recor",
    ),
    "unreadable": (
        lambda world: declared(world, b"{"),
        "service one of revision 2 is not what was recorded: all unreadable",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_act_contradicts_its_record(world: World, case: str) -> None:
    """It says what the store says and what the record says."""
    forge, says = FORGED[case]
    told = said(world.checked(forge(world)).faults)
    assert told[0][0] == "contradicts"
    assert says in told[0][1]


def test_acts_bear_on_the_time_in_which_they_were_in_force(world: World) -> None:
    """A person only until the next revision; what was declared, from then on."""
    (fault,) = world.checked(revised(world, person="mallory")).faults
    assert (fault.begin_ns, fault.end_ns) == (START_NS, START_NS + 30 * NS)
    assert "price" in fault.fault.controls
    assert "prompt_restriction" not in fault.fault.controls
    (fault,) = world.checked(declared(world, None)).faults
    assert (fault.begin_ns, fault.end_ns) == (START_NS + 30 * NS, EVER)
    (fault,) = world.checked(activated(world, approver="mallory")).faults
    assert "prompt_restriction" in fault.fault.controls
    assert "price" not in fault.fault.controls


def test_objects_and_acts_without_a_row_or_a_record(world: World) -> None:
    """What only the records have, what only the store has, and what is not known."""
    acts = world.acts()
    told = said(world.checked(acts._replace(changes=acts.changes[:1])).faults)
    says = "service one of revision 2 was recorded, and the store does not have it"
    assert told == [("contradicts", says)]
    more = acts.changes[1]._replace(id="two")
    told = said(world.checked(acts._replace(changes=[*acts.changes, more])).faults)
    says = "the store says that service two of revision 2 was declared, and no record"
    assert told[0][1].startswith(says)
    told = said(world.checked(acts._replace(activations=[], places={})).faults)
    assert told == [
        (
            "contradicts",
            (
                "the record at /node/control/01C 4 is comptroller.policy.activated.v1,"
                " and the store has no row of it"
            ),
        )
    ]
    told = said(world.checked(acts._replace(places={})).faults)
    assert told[0] == (
        "missing",
        "the record of 2025-11-24T16:00:00.000000Z is not known here",
    )
    told = said(world.checked(acts._replace(revisions=acts.revisions[1:])).faults)
    assert told[0] == ("contradicts", "registry revision 1 is not in the store")


def test_an_act_after_the_stores_position_has_no_row_yet(world: World) -> None:
    """It was recorded while the question was asked: no discrepancy."""
    acts = world.acts()
    position = acts.positions[CONTROL]
    world.books.script(CONTROL).policy_activated(None, A)
    world.write()
    assert world.checked(acts).faults == []
    further = acts._replace(positions={CONTROL: position + 1})
    assert len(world.checked(further).faults) == 1


def test_what_cannot_be_read_is_missing(world: World) -> None:
    """A place behind the journal's end, and a journal that is gone."""
    gone = revised(world, place=RecordPlace(CONTROL, 99))
    ((verdict, says), *_) = said(world.checked(gone).faults)
    assert (verdict, says) == (
        "missing",
        (
            "the record at /node/control/01C 99 cannot be read: there is no record 99"
            " in /node/control/01C"
        ),
    )
    (world.folder / "node.control.01C.jsonl").unlink()
    told = said(world.checked(world.acts()).faults)
    assert {verdict for verdict, _ in told} == {"missing"}
    assert len(told) == 5


def test_the_trail_is_read_before_the_journal(world: World) -> None:
    """Who rewrites the journal with the store is found by the trail."""
    line = world.line(CONTROL, 5)
    other = line.replace(b'"limit":2', b'"limit":3')
    assert line != other
    told = said(world.checked(world.acts(), Trail({(CONTROL, 5): other})).faults)
    assert told[0][1].endswith("limit 2, recorded 3")
    assert world.checked(world.acts(), Trail({})).faults == []
    assert world.checked(world.acts(), Trail(None)).faults == []


def test_a_record_is_found_in_a_long_journal(tmp_path: Path) -> None:
    """By bisection over its segments, in any order; and all of a type by scanning."""
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
    reading = world.reading()
    for sequence in (1500, 1, 2, 3, 699, 700, 650, 1499, 0):
        place = RecordPlace(journal.source, sequence)
        assert reading.line(place) == journal.records[sequence].line
    with pytest.raises(LookupError):
        reading.line(RecordPlace(journal.source, 1501))
    last = reading.last(journal.source)
    assert last is not None
    assert (last.place.sequence, last.offset) == (1500, journal.records[1500].offset)
    until = journal.records[1400].offset
    found = list(reading.scan(journal.source, 600, until, [CONTROL_HEARTBEAT]))
    assert [one.place.sequence for one in found] == list(range(601, 1400))


def test_seals_between_the_records_of_an_act(world: World) -> None:
    """They are passed over."""
    control = world.books.script(CONTROL)
    control.changed(3, *SERVICE, {"limit": 3})
    control.append(JOURNAL_SEALED, "journal", {"from": 0, "sha256": "0" * 64})
    control.changed(3, "service", "two", {"limit": 3})
    data = {"revision": 3, "changes": 2, "digest": "sha256:00"}
    actor = {"person": "ada", "account": "ada@host"}
    control.append("comptroller.registry.applied.v1", "r", {**data, "actor": actor})
    world.write()
    world.books.project(CONTROL)
    found = world.checked(world.acts())
    assert found.faults == []
    assert (3, *SERVICE) in found.objects


def test_a_decision_is_what_its_row_says(world: World) -> None:
    """A row that points to the record of another request is no evidence."""
    row = world.store.request("01R")
    assert row is not None
    checking = Checking(world.reading())
    assert checking.decision(row).place == RecordPlace(W0, 2)
    with pytest.raises(RecordError, match="the store says request 01Q; the record"):
        checking.decision(row._replace(request_id="01Q"))
    begun = world.books.journals[W0].records[0].offset
    with pytest.raises(RecordError, match="is not in"):
        checking.decision(row._replace(decided_at=JournalPosition(W0, begun)))
    other = world.line(W0, 2).replace(b'"allow"', b'"deny"')
    checking = Checking(world.reading(Trail({(W0, 2): other})))
    with pytest.raises(RecordError, match="01A 2 is not the trail's"):
        checking.decision(row)


def test_an_unreadable_heartbeat_is_missing(world: World) -> None:
    """A line whose content is not that of its type; its journal's is no other."""
    line = world.line(W0, 1)
    envelope = msgspec.json.decode(line)
    trail = Trail({(W0, 1): msgspec.json.encode({**envelope, "data": {}})})
    sweep = Sweep(world.reading(trail), world.store, START_NS)
    span = START_NS, START_NS + 30 * NS
    beats = list(sweep.beats(W0, span))
    assert [one.place.sequence for one in beats] == [3]
    verdicts = {one.piece.verdict for one in sweep.faults}
    assert "missing" in verdicts
    assert "/node/w0/01A 1 cannot be read" in sweep.faults[0].piece.says


def test_a_journal_that_only_the_trail_has(world: World) -> None:
    """It was there, nothing says that it was deleted: it is asked for, and missing."""
    gone = "/node/w7/01G"
    for source, control in ((gone, False), ("/node/cli/01H", True)):
        line = world.line(W0, 0).replace(W0.encode(), source.encode())
        trail = Trail({(source, 0): line})
        later = START_NS + NS, START_NS + 2 * NS
        sweep = Sweep(world.reading(trail), world.store, START_NS + 9 * NS)
        lives = {one.source: one.is_borne_out for one in sweep.lives(later)}
        assert lives == ({W0: True} if control else {W0: True, gone: False})
        assert [one.piece.verdict for one in sweep.faults] == ["missing"] * (
            not control
        )
        before = START_NS - 2 * NS, START_NS - NS
        assert Sweep(world.reading(trail), world.store, 0).lives(before) == []
        told = said(world.checked(world.acts(), trail).faults)
        assert [verdict for verdict, _ in told] == ["missing"] * 2 * control


def test_acts_that_cannot_be_read_bear_until_the_next_process(world: World) -> None:
    """What it did, it did before the next one began; a policy of it may stay on."""
    gone, later = "/node/cli/01A", "/node/control/01D"
    world.books.clock.advance(70)
    script = world.books.script(later)
    script.journal_started()
    world.books.clock.advance(30)
    script.policy_activated(None, A)
    world.write()
    world.books.project(later)
    trail = Trail({(gone, 0): world.line(W0, 0)})
    registry, policy = world.checked(world.acts(), trail).faults
    assert registry.end_ns == START_NS  # when /node/control/01C began
    assert policy.end_ns == START_NS
    (world.folder / "node.control.01C.jsonl").unlink()
    found = [
        one
        for one in world.checked(world.acts()).faults
        if "the acts in /node/control/01C" in one.fault.piece.says
    ]
    assert [one.end_ns for one in found] == [START_NS + 100 * NS, START_NS + 130 * NS]


def test_a_worker_that_began_while_it_was_asked(world: World) -> None:
    """The store has nothing of it yet: no discrepancy; a minute later it is one."""
    world.books.clock.advance(100)
    world.books.script("/node/w1/01B").journal_started()
    world.write()
    now = START_NS + 130 * NS
    for seconds, lived in ((1, []), (60, ["/node/w1/01B"])):
        at = now + seconds * NS
        sweep = Sweep(world.reading(), world.store, at)
        assert [one.source for one in sweep.lives((at, at))] == []
        found = sweep.lives((now, now))
        assert [one.source for one in found] == lived
        assert sweep.faults_count == len(lived)


def test_a_life_without_a_time_is_missing(world: World) -> None:
    """What a record says of its time cannot be read: nothing is made of it."""
    line = msgspec.json.decode(world.line(W0, 0))
    trail = Trail({(W0, 0): msgspec.json.encode({**line, "time": "at noon"})})
    sweep = Sweep(world.reading(trail), world.store, START_NS)
    (life,) = sweep.lives((START_NS, START_NS + NS))
    assert not life.is_borne_out
    (fault,) = sweep.faults
    assert fault.piece.verdict == "missing"
    assert "at noon" in fault.piece.says


def test_more_faults_than_are_told_are_counted(world: World) -> None:
    """A store full of forged rows is answered in bounded memory."""
    worker = world.books.script("/node/w1/01B")
    worker.journal_started()
    for _ in range(1200):
        worker.heartbeat(1)
    world.write()
    (world.folder / "node.w1.01B.jsonl").write_bytes(world.line("/node/w1/01B", 0))
    world.books.project("/node/w1/01B")
    sweep = Sweep(world.reading(), world.store, START_NS)
    assert list(sweep.beats("/node/w1/01B", (0, EVER - 1))) == []
    assert len(sweep.faults) == 1000
    assert sweep.faults_count >= 1200
