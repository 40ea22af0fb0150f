"""Tests of keeping the trail: when batches are taken, and checkpoints published."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from comptroller.engine.sequencing import BATCH_RECORDS, Sequencer
from comptroller.engine.trail_keeping import (
    BATCH_EVERY_S,
    HEARTBEAT_S,
    POLL_S,
    Sequencing,
)
from comptroller.testing.journal import InMemoryJournals
from comptroller.testing.system import FakeClock
from comptroller.testing.trail import InMemoryPlaces, InMemoryTrail, record_line

SOURCE = "/n/w0/1"


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


def lives(desk: Desk, life: Callable[[], Awaitable[None]]) -> None:
    """Keeps the trail beside a life, and stops after it."""

    async def both() -> None:
        running = asyncio.create_task(desk.keeping.run())
        await life()
        desk.keeping.stop()
        await running

    asyncio.run(both())


def test_a_record_after_silence_is_published_at_once() -> None:
    """Within one look at the journals; each checkpoint has all that there is."""
    desk = Desk()
    journal = desk.journals.open(SOURCE)

    async def life() -> None:
        await asyncio.sleep(POLL_S)
        assert desk.trail.published == [0]
        for sequence in range(2):
            journal.append(record_line(SOURCE, sequence))
            desk.clock.advance(1)
            await asyncio.sleep(POLL_S * 2 + sequence * BATCH_EVERY_S)
            assert desk.trail.published[-1] == sequence + 2

    lives(desk, life)


def test_while_records_come_in_batches_wait_for_more() -> None:
    """A batch and its checkpoint each BATCH_EVERY_S, from one begin to the next."""
    desk = Desk()
    journal = desk.journals.open(SOURCE)

    async def life() -> None:
        for sequence in range(30):
            journal.append(record_line(SOURCE, sequence))
            await asyncio.sleep(0.1)

    lives(desk, life)
    # 3 s: of each begin one, and the last; a slow machine makes them fewer.
    assert 3 <= len(desk.trail.published) <= 3 / BATCH_EVERY_S + 2
    assert desk.trail.published[-1] == 31


def test_a_heartbeat_follows_silence() -> None:
    """What was published is signed anew every 30 s, and not before."""
    desk = Desk()
    desk.journals.open(SOURCE).append(record_line(SOURCE, 0))
    published = desk.trail.published

    async def life() -> None:
        await asyncio.sleep(BATCH_EVERY_S)
        assert published == [2]
        desk.clock.advance(HEARTBEAT_S - 1)
        await asyncio.sleep(POLL_S * 2)
        assert published == [2]
        desk.clock.advance(2)
        await asyncio.sleep(POLL_S * 2)
        assert published == [2, 2]

    lives(desk, life)


def test_a_backlog_is_published_while_it_is_taken() -> None:
    """Batch after batch, without a wait; what came last is in the last one."""
    desk = Desk()
    journal = desk.journals.open(SOURCE)
    for sequence in range(2 * BATCH_RECORDS + 10):
        journal.append(record_line(SOURCE, sequence))
    desk.keeping.stop()
    asyncio.run(desk.keeping.run())
    assert desk.trail.published[0] == BATCH_RECORDS
    assert desk.trail.published[-1] == 2 * BATCH_RECORDS + 11
