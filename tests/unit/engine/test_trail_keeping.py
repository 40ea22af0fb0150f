"""Tests of keeping the trail: when batches are taken, and checkpoints published."""

from __future__ import annotations

import asyncio

import msgspec

from comptroller.engine import trail_keeping
from comptroller.engine.sequencing import Sequencer
from comptroller.engine.trail_keeping import Sequencing
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock
from comptroller.testing.trail import InMemoryPlaces, InMemoryTrail

SOURCE = "/n/w0/1"


def line(sequence: int, source: str = SOURCE) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"id-{sequence}",
            "source": source,
            "type": "t",
            "time": "2026-11-21T19:00:00Z",
            "subject": "s",
            "sequence": str(sequence),
            "data": {},
        }
    )


class Desk:
    """A sequencer over journals in memory."""

    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.trail = InMemoryTrail()
        self.clock = FakeClock()
        places = InMemoryPlaces()
        self.sequencer = Sequencer(self.journals, self.trail, places, self.clock)
        self.told: list[str] = []
        self.keeping = Sequencing(
            self.sequencer, self.trail, self.clock, self.told.append
        )


def test_checkpoints_follow_records_and_a_heartbeat_the_silence() -> None:
    """At most every half second while records come, and every 30 s without any."""
    desk = Desk()
    keeping = desk.keeping
    journal = desk.journals.open(SOURCE)
    published = desk.trail.published

    async def lives() -> None:
        running = asyncio.create_task(keeping.run())
        for sequence in range(4):
            journal.append(line(sequence))
            desk.clock.advance(0.3)
            await asyncio.sleep(trail_keeping.POLL_S * 2)
        assert 1 < len(published) <= 4
        desk.clock.advance(1)
        await asyncio.sleep(trail_keeping.POLL_S * 2)
        assert published[-1] == 5
        before = len(published)
        desk.clock.advance(29)
        await asyncio.sleep(trail_keeping.POLL_S * 2)
        assert len(published) == before
        desk.clock.advance(2)
        await asyncio.sleep(trail_keeping.POLL_S * 2)
        assert len(published) == before + 1
        journal.append(line(4))
        keeping.stop()
        await running
        assert published[-1] == 6

    asyncio.run(lives())
