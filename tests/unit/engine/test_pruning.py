"""Which records prune the trail, and when the sequencer lets it be done."""

from __future__ import annotations

import asyncio
import sys

import pytest

from comptroller.core.checkpoint import NoteSignature
from comptroller.engine.cosigning import Cosigned, Cosigning
from comptroller.engine.pruning import is_administrative, pruning_of
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.engine.trail_keeping import Sequencing
from comptroller.engine.trail_ports import Pruning
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock
from comptroller.testing.trail import (
    InMemoryPlaces,
    InMemoryTrail,
    ToldDesk,
    record_line,
)

PRUNED = "comptroller.trail.pruned.v1"
CONTROL, WORKER = "/n/control/1", "/n/w0/1"


def test_only_the_type_makes_it_one() -> None:
    """Neither its name in the data, nor one that begins like it."""
    assert pruning_of(record_line(CONTROL, 0, PRUNED, below=256), 300) == Pruning(
        300, 256
    )
    assert pruning_of(record_line(CONTROL, 0, "t", below=256, of=PRUNED), 300) is None
    assert pruning_of(record_line(CONTROL, 0, PRUNED + "1", below=256), 300) is None


@pytest.mark.parametrize("below", [0, -256, 255, 512, "256", 256.5, None, True, [256]])
def test_what_makes_no_sense_is_not_followed(below: object) -> None:
    """No multiple of 256, beyond the record itself, or no number: in words."""
    found = pruning_of(record_line(CONTROL, 0, PRUNED, below=below), 300)
    assert isinstance(found, str)
    assert "record 300 prunes the trail" in found


def test_nesting_of_any_depth_is_not_followed() -> None:
    """Nor does it end the sequencer, wherever Python's limit is."""
    plain = record_line(CONTROL, 0, PRUNED, below=0)
    for depth in range(sys.getrecursionlimit() + 2):
        nested = b"[" * depth + b"0" + b"]" * depth
        found = pruning_of(plain.replace(b":0}}", b":%b}}" % nested), 300)
        assert isinstance(found, str)


def test_whose_records_count() -> None:
    """Of a process that administers, whatever it is called; of no worker."""
    assert is_administrative("/host/control/01A")
    assert is_administrative("/host/cli/01A")
    for source in (WORKER, "/control/w0/1", "/a/b/control/c", "/trail", "control"):
        assert not is_administrative(source)


class Desk:
    """A sequencer over two journals, one of which is the control process's."""

    def __init__(self, below: object = 256) -> None:
        self.journals = InMemoryJournals()
        self.trail = InMemoryTrail()
        self.clock = FakeClock()
        self.is_held = False
        worker = self.journals.open(WORKER)
        for number in range(300):
            worker.append(record_line(WORKER, number))
        self.sequencer = Sequencer(
            self.journals,
            self.trail,
            InMemoryPlaces(),
            self.clock,
            lambda: self.is_held,
        )
        while self.sequencer.step():
            pass
        self.control = self.journals.open(CONTROL)
        self.control.append(record_line(CONTROL, 0, PRUNED, below=below))


def test_the_record_is_followed_once_it_is_published() -> None:
    """Its index and its minimum go to the log together with it."""
    desk = Desk()
    desk.sequencer.step()
    assert desk.trail.prunings == [Pruning(301, 256)]
    assert desk.trail.records[301].endswith(b'{"below":256}}')
    sequence_all(desk.sequencer, desk.trail)
    assert desk.trail.minimum == 256


def test_with_witnesses_a_command_prunes_nothing() -> None:
    """It cannot ask them; the next sequencer does."""
    desk = Desk()
    sequence_all(desk.sequencer, desk.trail, is_witnessed=True)
    assert (desk.trail.minimum, desk.trail.prunings) == (0, [Pruning(301, 256)])


def test_a_worker_prunes_nothing() -> None:
    """The same record in a worker's journal is a record like any other."""
    desk = Desk()
    desk.journals.open("/n/w1/1").append(record_line("/n/w1/1", 0, PRUNED, below=256))
    sequence_all(desk.sequencer, desk.trail)
    assert len(desk.trail.records) == 303
    assert desk.trail.minimum == 256, "by the control process's own"
    only = Desk(below=1)
    only.journals.open("/n/w1/1").append(record_line("/n/w1/1", 0, PRUNED, below=256))
    sequence_all(only.sequencer, only.trail)
    assert only.trail.minimum == 0


def test_a_senseless_one_is_told_and_nothing_stops() -> None:
    """The record is an entry like any other; the problem is in the status."""
    desk, told = Desk(below=100), list[str]()

    async def run() -> None:
        keeping = Sequencing(desk.sequencer, desk.trail, desk.clock, told.append)
        keeping.stop()
        await keeping.run()

    asyncio.run(run())
    assert (len(desk.trail.records), desk.trail.minimum) == (302, 0)
    assert "multiple of 256" in told[-1]


def test_what_a_legal_hold_keeps_waits_for_its_end() -> None:
    """Recorded before the hold and not followed yet: followed once it is lifted."""
    desk = Desk()
    desk.is_held = True
    sequence_all(desk.sequencer, desk.trail)
    assert (desk.trail.minimum, desk.trail.prunings) == (0, [Pruning(301, 256)])
    desk.is_held = False
    sequence_all(desk.sequencer, desk.trail)
    assert (desk.trail.minimum, desk.trail.prunings) == (256, [])


def test_with_witnesses_it_waits_until_one_has_signed_that_record() -> None:
    """A signature over the tree right before it is not enough."""
    desk, witness = Desk(), ToldDesk()
    cosigning = Cosigning([witness], lambda _: None, lambda _: None)

    async def run() -> int:
        keeping = Sequencing(
            desk.sequencer, desk.trail, desk.clock, lambda _: None, cosigning
        )
        keeping.stop()
        await keeping.run()
        return desk.trail.minimum

    assert asyncio.run(run()) == 0
    assert desk.trail.prunings == [Pruning(301, 256)]
    signature = NoteSignature("w", b"abcd", bytes(72))
    for size, minimum in ((301, 0), (302, 256)):
        witness.heard = [Cosigned(b"", b"body", signature, size, 1)]
        assert asyncio.run(run()) == minimum
