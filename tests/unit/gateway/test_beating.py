"""Heartbeats of a worker: when they are written, and what they say it enforces."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from comptroller.core.errors import JournalUnavailableError
from comptroller.core.policy.rules import (
    EnvironmentTable,
    Policy,
    PolicySet,
)
from comptroller.engine.control_records import CONTROL_HEARTBEAT, Heartbeat
from comptroller.engine.controls import CONTROLS
from comptroller.engine.desk import Desk
from comptroller.engine.judging import Judge
from comptroller.engine.records import Envelope
from comptroller.engine.snapshot import ActivePolicy, Snapshot
from comptroller.gateway.beating import Beating
from comptroller.gateway.floor import Floor
from comptroller.testing.answered import CARD, acme
from comptroller.testing.both_ends import Calling
from comptroller.testing.deployed import CREDENTIAL
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.system import FakeClock, FixedSecrets, SequentialIds

ACTIVE = ActivePolicy("sha256:aa", [])
POLICY = Policy.of([PolicySet("s", "ada", environments=(EnvironmentTable("e", {}),))])


class Worker:
    """A worker that beats every ten seconds; its journal can be made to fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.journal = InMemoryJournal("/n/w0/1")
        self.floor = Floor(
            self.journal, Calling(), self.clock, SequentialIds(), plain=True
        )
        self.beating = Beating(self.floor, "process", 10)

    def take(self, revision: int = 1, judge: Judge | None = None) -> None:
        """Takes a snapshot of a revision of the registry, and a policy."""
        snapshot = Snapshot(7, revision, acme(), [CREDENTIAL], CARD)
        desk = Desk(snapshot, FixedSecrets({}), judge)
        self.beating.take(desk)
        self.floor.take(desk)

    def wait(self, seconds: int) -> None:
        """Lets so many seconds pass, with a sweep each."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.beating.sweep()

    def beats(self) -> list[Heartbeat]:
        """All that its journal holds."""
        envelopes = [
            msgspec.json.decode(one.line, type=Envelope) for one in self.journal.records
        ]
        assert {one.type for one in envelopes} <= {CONTROL_HEARTBEAT}
        return [msgspec.json.decode(one.data, type=Heartbeat) for one in envelopes]


async def worker() -> Worker:
    return Worker()


@pytest.fixture
def one() -> Worker:
    return asyncio.run(worker())


def inactive(beat: Heartbeat) -> set[str]:
    return {one.id for one in beat.state.controls if not one.is_active}


def test_nothing_is_said_before_there_is_a_snapshot(one: Worker) -> None:
    """A worker that decides nothing enforces nothing."""
    one.wait(60)
    assert one.beats() == []


def test_a_heartbeat_follows_each_snapshot_and_each_interval(one: Worker) -> None:
    """At once with a snapshot, then when the last one is ten seconds old."""
    one.take(1)
    one.wait(9)
    assert [beat.why for beat in one.beats()] == ["snapshot"]
    one.wait(1)
    one.wait(5)
    one.take(2)
    one.wait(9)
    assert [beat.why for beat in one.beats()] == ["snapshot", "interval", "snapshot"]
    one.wait(1)
    last = one.beats()[-1]
    assert (last.why, last.snapshot) == ("interval", 7)
    assert [beat.number for beat in one.beats()] == [0, 1, 2, 3]
    assert last.state.registry_revision == 2
    assert last.state.durability == "process"
    assert last.state.every_s == 10


def test_without_a_policy_its_controls_are_off(one: Worker) -> None:
    """And so are those that need what this worker was not given."""
    one.take()
    (beat,) = one.beats()
    assert [control.id for control in beat.state.controls] == list(CONTROLS)
    assert inactive(beat) == {
        *("entitlement", "environment", "prompt_restriction"),
        *("tenant_isolation", "rate_limit", "concurrency", "budget"),
    }
    assert beat.state.policy_revision is None


def test_under_a_policy_only_what_it_declares_is_on(one: Worker) -> None:
    """A bundle without restrictions of prompts restricts none."""
    one.take(3, Judge(ACTIVE, POLICY))
    (beat,) = one.beats()
    assert not inactive(beat) & {"entitlement", "environment"}
    assert "prompt_restriction" in inactive(beat)
    said = beat.state.control("environment")
    assert said is not None
    assert said.revision == beat.state.policy_revision == "sha256:aa"
    price = beat.state.control("price")
    assert price is not None
    assert price.revision == "3"


def test_a_policy_that_cannot_be_read_is_said_to_be_so(one: Worker) -> None:
    """Nothing passes, so its controls are on; but it is not usable."""
    one.take(1, Judge(ACTIVE, None))
    (beat,) = one.beats()
    assert not beat.state.policy_is_usable
    assert "prompt_restriction" not in inactive(beat)


def test_a_heartbeat_that_cannot_be_recorded_stops_the_worker(one: Worker) -> None:
    """By interval it is told by `is_failed`; with a snapshot it raises, too."""
    one.take()
    one.journal.failed = True
    one.wait(9)
    assert not one.beating.is_failed
    one.wait(1)
    assert one.beating.is_failed
    other = asyncio.run(worker())
    other.journal.failed = True
    with pytest.raises(JournalUnavailableError):
        other.take()
    assert other.beating.is_failed
    assert other.floor.admission is None
