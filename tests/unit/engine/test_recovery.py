"""Recovery: the open requests of dead workers end at their hold, once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from comptroller.core.errors import JournalUnavailableError, RecordError
from comptroller.engine import records
from comptroller.engine.ports import RequestQuery
from comptroller.engine.projection import Projector
from comptroller.engine.recovery import BATCH, recover
from comptroller.testing.journal import InMemoryJournal, InMemoryJournals
from comptroller.testing.script import Script
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import FakeClock, SequentialIds


class Node:
    """Journals in memory and a store."""

    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.store = InMemoryStore()
        self.clock = FakeClock()
        self.ids = SequentialIds()
        self.control = self.journals.open("/node/control/01A")

    def start(self, worker: str, boot: str) -> tuple[Script, InMemoryJournal]:
        """Starts a process: its journal and what writes to it."""
        journal = self.journals.open(f"/node/{worker}/{boot}")
        return Script(journal, self.clock, self.ids), journal

    def project(self) -> None:
        """Projects all there is."""
        for _ in Projector(self.journals, self.store).catch_up():
            pass

    def recover(self) -> int:
        """Recovers as the control process does, after a look at the journals."""
        self.project()
        return recover(
            self.journals, self.store, lambda: self.control, self.clock, self.ids
        )

    def states(self) -> dict[str, str]:
        """Every request's state."""
        rows = self.store.requests(RequestQuery(limit=None))
        return {row.request_id: row.state for row in rows}


def test_a_dead_workers_open_requests_end_at_their_hold() -> None:
    """Booked in full, recorded in the control journal, and only those."""
    node = Node()
    script, journal = node.start("w0", "01B")
    script.decided("ended")
    script.settled("ended", 5, {"input": 1})
    script.decided("refused", {"result": "deny", "reason": "no"})
    script.decided("open")
    alive, _ = node.start("w1", "01C")
    alive.decided("alive")
    assert node.recover() == 0
    journal.close()
    assert node.recover() == 1
    assert node.states() == {
        "ended": "settled",
        "refused": "refused",
        "open": "abandoned",
        "alive": "open",
    }
    row = node.store.request("open")
    assert row is not None
    assert row.cost_nano_usd == row.hold_nano_usd == 1000
    assert row.usage == {"input": 100, "output": 50}
    assert row.usage_source == "hold"
    (record,) = node.control.records
    envelope = msgspec.json.decode(record.line, type=records.Envelope)
    assert envelope.type == records.ABANDONED
    assert envelope.source == node.control.source
    assert (envelope.sequence, node.control.sequence) == ("0", 1)
    said = msgspec.json.decode(envelope.data, type=records.Abandoned)
    assert (said.decision_id, said.journal) == ("open", journal.source)


def test_recovering_again_changes_nothing() -> None:
    """What was ended stays ended once."""
    node = Node()
    script, journal = node.start("w0", "01B")
    script.decided("R1")
    journal.close()
    assert [node.recover() for _ in range(3)] == [1, 0, 0]
    assert len(node.control.records) == 1
    assert node.store.conflicts() == 0


def test_what_was_not_projected_yet_is_projected_first() -> None:
    """A settlement at the end of a dead journal counts, not the hold."""
    node = Node()
    script, journal = node.start("w0", "01B")
    script.decided("R1")
    node.project()
    script.settled("R1", 5, {"input": 1})
    journal.close()
    ended = recover(
        node.journals, node.store, lambda: node.control, node.clock, node.ids
    )
    assert ended == 0
    assert node.states() == {"R1": "settled"}


def test_a_killed_recovery_is_finished_by_the_next() -> None:
    """Recorded but not projected: the next one projects it, and records no more."""
    node = Node()
    script, journal = node.start("w0", "01B")
    script.decided("R1")
    script.decided("R2")
    journal.close()
    node.project()
    killed, killed_journal = node.start("control", "01C")
    killed.abandoned("R1", journal.source)
    killed_journal.close()
    ended = recover(
        node.journals, node.store, lambda: node.control, node.clock, node.ids
    )
    assert ended == 1
    assert node.states() == {"R1": "abandoned", "R2": "abandoned"}
    assert len(node.control.records) == 1
    assert node.store.conflicts() == 0


def test_nothing_is_said_of_a_journal_that_cannot_be_read() -> None:
    """Behind a broken record there may be a settlement: recovery stops."""
    node = Node()
    script, journal = node.start("w0", "01B")
    script.decided("R1")
    node.project()
    journal.append(b"{}")
    journal.close()
    with pytest.raises(RecordError, match="w0"):
        recover(node.journals, node.store, lambda: node.control, node.clock, node.ids)
    assert node.states() == {"R1": "open"}
    assert node.control.records == []


class BrokenAfter:
    """A durable journal whose disk is full after so many batches."""

    def __init__(self, journal: InMemoryJournal, batches: int) -> None:
        self.source = journal.source
        self.sequence = 0
        self._journal = journal
        self._left = batches

    def append_all(self, batch: Sequence[bytes]) -> None:
        """Appends until it is full."""
        if not self._left:
            raise JournalUnavailableError
        self._left -= 1
        self._journal.append_all(batch)
        self.sequence += len(batch)


def test_a_full_disk_halfway_leaves_the_rest_open() -> None:
    """What was recorded is ended, the rest is for the next process; none twice."""
    node = Node()
    script, journal = node.start("w0", "01B")
    count = BATCH + 7
    for number in range(count):
        script.decided(f"R{number}")
    journal.close()
    node.project()
    broken = BrokenAfter(node.control, batches=1)
    with pytest.raises(JournalUnavailableError):
        recover(node.journals, node.store, lambda: broken, node.clock, node.ids)
    node.control.close()
    node.control = node.journals.open("/node/control/01D")
    assert node.recover() == 7
    assert set(node.states().values()) == {"abandoned"}
    assert node.store.conflicts() == 0
    assert node.store.spend("owner", None)[0].requests == count
