"""Projection: in turn, in order, exactly once, and rebuilt from nothing."""

from __future__ import annotations

import pytest

from comptroller.core.errors import RecordError
from comptroller.engine.ports import RegistryObject, RequestQuery
from comptroller.engine.projection import Projector, is_administrative
from comptroller.testing.journal import InMemoryJournal, InMemoryJournals
from comptroller.testing.script import Script
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import FakeClock, SequentialIds

STEP = 1 << 20


class Node:
    """Journals in memory, a store, and a projector between them."""

    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.store = InMemoryStore()
        self.projector = Projector(self.journals, self.store)
        self.clock = FakeClock()

    def start(self, worker: str, boot: str) -> tuple[Script, InMemoryJournal]:
        """Starts a process: its journal and what writes to it."""
        journal = self.journals.open(f"/node/{worker}/{boot}")
        return Script(journal, self.clock, SequentialIds()), journal

    def finish(self) -> None:
        """Projects until there is nothing new."""
        while self.projector.step(STEP):
            pass


def test_everything_is_projected_once() -> None:
    """Steps return what they did; at the end 0, and nothing lags."""
    node = Node()
    script, _ = node.start("w0", "01A")
    for number in range(30):
        script.decided(f"R{number}")
        script.settled(f"R{number}", 1, {"input": 1})
    assert node.projector.lag() > 0
    assert node.projector.step(STEP) == 60
    assert node.projector.step(STEP) == 0
    assert node.projector.lag() == 0
    script.decided("later")
    assert node.projector.step(STEP) == 1
    assert node.store.spend("owner", None)[0].requests == 30


def test_a_step_keeps_its_budget_and_takes_turns() -> None:
    """A flood in one worker's journal does not keep the others waiting."""
    node = Node()
    for worker in ("w0", "w1", "w2"):
        script, _ = node.start(worker, f"01{worker}")
        for number in range(400 if worker == "w0" else 1):
            script.decided(f"{worker}-{number}")
    assert node.projector.step(20_000) < 40
    for _ in range(3):
        node.projector.step(20_000)
    seen = {row.request_id for row in node.store.requests(RequestQuery(limit=None))}
    assert {"w1-0", "w2-0"} <= seen
    assert len(seen) < 400
    node.finish()
    assert len(node.store.requests(RequestQuery(limit=None))) == 402


def test_a_record_that_cannot_be_read_stops_its_journal_only() -> None:
    """The others go on; with nothing else to do, the step says what is wrong."""
    node = Node()
    broken, journal = node.start("w0", "01A")
    broken.decided("R1")
    journal.append(b"{}")
    healthy, _ = node.start("w1", "01B")
    healthy.decided("R2")
    assert node.projector.step(STEP) == 1
    with pytest.raises(RecordError, match="/node/w0/01A"):
        node.projector.step(STEP)
    healthy.decided("R3")
    assert node.projector.step(STEP) == 1
    assert node.projector.lag() == journal.offset


def test_a_lost_store_is_rebuilt_from_the_journals() -> None:
    """Whatever the ages of the journals, the acts and ends fall into place.

    The control process that abandoned a request is older than the worker that
    decided it; the next one rotated and applied what the first had begun.
    """
    node = Node()
    first, first_journal = node.start("control", "01A")
    worker, worker_journal = node.start("w0", "01B")
    second, _ = node.start("cli", "01C")
    first.applied(1, {("person", "ada"): {"n": 1}})
    first.issued("cred-1")
    worker.decided("R1")
    worker_journal.close()
    node.finish()
    first.abandoned("R1", worker_journal.source)
    for number in range(20):
        first.issued(f"cred-{number + 2}")
    first.rotated("cred-1", "early", 9)
    first_journal.close()
    second.applied(2, {("person", "ada"): {"n": 2}})
    second.rotated("cred-1", "second", 5)
    second.rotated("cred-21", "second", 5)
    node.finish()

    rebuilt = InMemoryStore()
    projector = Projector(node.journals, rebuilt)
    for _ in range(1000):
        if not projector.step(700):
            break
    assert rebuilt.requests(RequestQuery()) == node.store.requests(RequestQuery())
    assert rebuilt.credentials() == node.store.credentials()
    assert rebuilt.registry_objects() == [RegistryObject("person", "ada", b'{"n":2}')]
    assert rebuilt.revision() == 2


def test_catching_up_with_some_brings_along_what_they_wait_for() -> None:
    """An administrative journal waits for a worker's: both are projected."""
    node = Node()
    control, control_journal = node.start("control", "01A")
    worker, worker_journal = node.start("w0", "01B")
    worker.decided("R1")
    control.abandoned("R1", worker_journal.source)
    for _ in node.projector.catch_up([control_journal.source]):
        pass
    row = node.store.request("R1")
    assert row is not None
    assert row.state == "abandoned"


def test_catching_up_reads_administrative_journals_one_after_another() -> None:
    """What a later one says counts last, though an earlier one had to wait."""
    node = Node()
    first, first_journal = node.start("control", "01A")
    worker, worker_journal = node.start("w0", "01B")
    second, second_journal = node.start("cli", "01C")
    worker.decided("R1")
    first.abandoned("R1", worker_journal.source)
    first.applied(1, {("person", "ada"): {"n": 1}})
    first_journal.close()
    second.applied(2, {("person", "ada"): {"n": 2}})
    for _ in node.projector.catch_up([second_journal.source, first_journal.source]):
        pass
    assert node.store.registry_objects() == [
        RegistryObject("person", "ada", b'{"n":2}')
    ]
    assert node.store.revision() == 2


def test_catching_up_says_what_stands_still() -> None:
    """A journal that cannot be projected is an error, not an endless wait."""
    node = Node()
    control, _ = node.start("control", "01A")
    control.abandoned("R1", "/node/w0/gone")
    with pytest.raises(RecordError, match="R1"):
        for _ in node.projector.catch_up():
            pass


def test_catching_up_ends_though_a_worker_goes_on() -> None:
    """It brings the store to where the journals stood at the call."""
    node = Node()
    worker, _ = node.start("w0", "01A")
    worker.decided("R0")
    for part, _ in enumerate(node.projector.catch_up(), start=1):
        worker.decided(f"R{part}")
        assert part < 10
    assert node.store.request("R0") is not None


def test_dead_journals_cost_nothing_later() -> None:
    """Once a dead journal is projected to its end it is not looked at again."""
    node = Node()
    script, journal = node.start("w0", "01A")
    script.decided("R1")
    node.finish()
    assert not node.projector._ended
    journal.close()
    assert node.projector.step(STEP) == 0
    assert node.projector._ended == {journal.source}
    assert node.projector.lag() == 0


def test_a_new_process_passes_by_what_ended_long_ago() -> None:
    """What old commands left is not read again, however many there are."""
    node = Node()
    script, journal = node.start("cli", "01A")
    script.decided("R1")
    journal.close()
    node.finish()
    later = Projector(node.journals, node.store)
    assert list(later.catch_up()) == []
    assert later._ended == {journal.source}


def test_who_administers() -> None:
    """Workers are w and a number; every other process may write the store."""
    assert not is_administrative("/node/w0/01A")
    assert not is_administrative("/w-1/w12/01A")
    for source in ("/node/control/01A", "/node/cli/01A", "/w0/web/01A"):
        assert is_administrative(source)


def test_a_record_nested_too_deeply_stops_its_journal_only() -> None:
    """It is an error with a place, and does not end the process."""
    node = Node()
    broken, journal = node.start("w0", "01A")
    broken.decided("R1")
    journal.append(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}")
    with pytest.raises(RecordError, match="/node/w0/01A"):
        node.finish()
