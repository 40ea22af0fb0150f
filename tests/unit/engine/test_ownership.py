from __future__ import annotations

from comptroller.engine.objects import Owned
from comptroller.engine.ownership import (
    AGAIN_S,
    ASKS_MAX,
    REMEMBERED_MAX,
    TENANT_WAITING_MAX,
    WAITING_MAX,
    Ownership,
)
from comptroller.testing.objects import ScriptedObjectDesk
from comptroller.testing.system import FakeClock
from comptroller.testing.timers import FakeTimers
from comptroller.wire.references import ObjectKind, Reference

Answer = tuple[Owned, ...] | None


def response(object_id: str) -> Reference:
    return Reference(ObjectKind.RESPONSE, object_id, "previous_response_id")


def owned(object_id: str, tenant: str = "acme") -> Owned:
    return Owned(object_id, "openai", "response", tenant, "checkout", "m", "R1")


class Worker:
    """A worker's ownership, its desk, and the answers that it got."""

    def __init__(self) -> None:
        self.timers = FakeTimers(FakeClock())
        self.desk = ScriptedObjectDesk(self.timers)
        self.ownership = Ownership(self.desk, self.timers)
        self.answers: list[Answer] = []

    def ask(self, *ids: str, tenant: str = "acme") -> None:
        """Asks, as a request does; the answer comes later."""
        before = len(self.answers)
        listed = [response(one) for one in ids]
        self.ownership.whose(tenant, listed, self.answers.append)
        assert len(self.answers) == before, "answered inside the call"

    def answer(self, *ids: str, tenant: str = "acme") -> Answer:
        """Asks, and lets time pass until the answer."""
        self.ask(*ids, tenant=tenant)
        while len(self.answers) == 0:
            assert self.timers.step()
        return self.answers.pop()


def test_ones_own_is_found_and_remembered() -> None:
    """The second time nobody is asked."""
    worker = Worker()
    worker.desk.objects = [owned("resp_1")]
    assert worker.ownership.known("acme", [response("resp_1")]) is None

    assert worker.answer("resp_1") == (owned("resp_1"),)

    assert worker.ownership.known("acme", [response("resp_1")]) == (owned("resp_1"),)
    assert worker.answer("resp_1") == (owned("resp_1"),)
    assert len(worker.desk.asked) == 1


def test_what_this_worker_made_needs_no_asking() -> None:
    """A conversation that stays with its worker costs no question."""
    worker = Worker()
    worker.desk.is_down = True
    worker.ownership.made([owned("resp_1")])

    assert worker.answer("resp_1") == (owned("resp_1"),)
    assert worker.ownership.known("umbrella", [response("resp_1")]) is None


def test_anothers_and_nobodys_are_answered_alike_and_equally_late() -> None:
    """Neither the answer, nor its time, nor what is remembered tells them apart."""
    found: list[tuple[Answer, int, int]] = []
    for objects in ([owned("resp_1", "umbrella")], []):
        worker = Worker()
        worker.desk.objects = list(objects)
        worker.ownership.made(objects)
        for _ in range(2):
            before_ns = worker.timers.clock.now_ns()
            answer = worker.answer("resp_1")
            took_ns = worker.timers.clock.now_ns() - before_ns
            found.append((answer, took_ns, len(worker.desk.asked)))

    assert found[:2] == found[2:]
    assert [one[0] for one in found] == [()] * 4
    assert found[1][2] == 2 * ASKS_MAX


def test_what_is_recorded_a_moment_later_is_found() -> None:
    """Another worker's record may still be on its way."""
    worker = Worker()
    worker.ask("resp_1")
    worker.timers.advance(AGAIN_S / 2)
    assert worker.answers == []
    worker.desk.objects = [owned("resp_1")]
    worker.timers.advance(1)

    assert worker.answers == [(owned("resp_1"),)]


def test_nobody_there_is_no_answer() -> None:
    """Nothing is called unowned because nobody could say."""
    worker = Worker()
    worker.desk.is_down = True

    assert worker.answer("resp_1") is None
    worker.desk.is_down = False
    worker.desk.objects = [owned("resp_1")]
    assert worker.answer("resp_1") == (owned("resp_1"),)


def test_who_comes_meanwhile_goes_with_the_next_ask() -> None:
    """One ask is under way at a time, however many requests wait."""
    worker = Worker()
    worker.desk.objects = [owned(f"resp_{n}") for n in range(9)]
    for number in range(9):
        worker.ask(f"resp_{number}")
    worker.timers.advance(1)

    assert worker.answers == [(owned(f"resp_{n}"),) for n in range(9)]
    assert [len(one.objects) for one in worker.desk.asked] == [1, 8]


def test_an_id_that_nobody_gives_is_not_asked_for() -> None:
    """What a client may write is any text; none of it reaches the control process."""
    worker = Worker()

    assert worker.answer("../resp_1", "x" * 300, "") == ()
    assert worker.desk.asked == []


def test_so_many_wait_and_no_more() -> None:
    """Who asks for unknown ids again and again does not fill the memory."""
    worker = Worker()
    worker.desk.is_down = True
    for number in range(WAITING_MAX + 1):
        worker.ask(f"resp_{number}", tenant=f"tenant-{number % 8}")
    worker.timers.advance(0.01)
    assert worker.answers == [None]
    worker.timers.advance(9)
    assert worker.answers == [None] * (WAITING_MAX + 1)


def test_one_tenants_guesses_turn_no_other_away() -> None:
    """A tenant that names what is not there waits with its own requests alone."""
    worker = Worker()
    worker.desk.objects = [owned("resp_1", "umbrella")]
    for number in range(WAITING_MAX):
        worker.ask(f"guess_{number}")
    worker.timers.advance(0.01)
    assert worker.answers == [None] * (WAITING_MAX - TENANT_WAITING_MAX)
    worker.answers.clear()

    worker.ask("resp_1", tenant="umbrella")
    worker.timers.advance(9)

    assert (owned("resp_1", "umbrella"),) in worker.answers
    assert worker.answers.count(()) == TENANT_WAITING_MAX
    worker.answers.clear()
    worker.ask("guess_1")
    worker.timers.advance(9)
    assert worker.answers == [()]


def test_the_oldest_is_forgotten() -> None:
    """The memory is bounded; what is forgotten is asked for."""
    worker = Worker()
    worker.ownership.made([owned(f"resp_{n}") for n in range(REMEMBERED_MAX + 1)])

    assert worker.ownership.known("acme", [response("resp_0")]) is None
    assert worker.ownership.known("acme", [response("resp_1")]) is not None
