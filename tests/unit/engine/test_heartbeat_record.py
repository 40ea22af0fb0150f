"""The record of a heartbeat: its shape, its size, its place in a journal."""

from __future__ import annotations

import msgspec

from comptroller.engine import fold, records
from comptroller.engine.control_records import (
    CONTROL_HEARTBEAT,
    Heartbeat,
    HeartbeatControl,
    HeartbeatState,
)
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.recording import Recorder
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.system import START_NS, FakeClock

HEARTBEAT_BYTES_MAX = 2048
POLICY = f"sha256:{'a' * 64}"


def heartbeat() -> Heartbeat:
    state = HeartbeatState(
        registry_revision=2**31,
        policy_revision=POLICY,
        policy_is_usable=True,
        durability="process",
        every_s=30,
        controls=tuple(
            HeartbeatControl(name, False, POLICY if name in BUNDLED else str(2**31))
            for name in CONTROLS
        ),
    )
    return Heartbeat(why="snapshot", snapshot=2**40, state=state)


def test_a_heartbeat_is_read_as_it_was_written() -> None:
    """What a store folds is what the worker said, with its place and time."""
    journal = InMemoryJournal("/node/w0/01A")
    recorder = Recorder(journal, FakeClock())
    recorder.unauthenticated("no_credential", 1)
    recorder.heartbeat(heartbeat())
    envelope = msgspec.json.decode(journal.records[1].line, type=records.Envelope)
    assert envelope.type == CONTROL_HEARTBEAT
    assert envelope.sequence == "1"
    assert fold.fold(journal.records).signs == [fold.Sign(heartbeat(), START_NS, 1)]


def test_a_heartbeat_is_small() -> None:
    """Even with the longest revisions it is less than 2 KiB."""
    journal = InMemoryJournal("/a-node-with-a-long-name/w15/01KAJ3C0000000000000000000")
    Recorder(journal, FakeClock()).heartbeat(heartbeat())
    assert len(journal.records[0].line) < HEARTBEAT_BYTES_MAX
