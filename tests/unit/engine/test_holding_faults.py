"""A worker and its centre when messages are lost, and when one of them is gone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from comptroller.engine import records
from comptroller.engine.asking import Asking, Holder, Round
from comptroller.engine.holding import Holding, Ports
from comptroller.engine.leasing import AskLeases, Granted, Lack, Leased, LeaseNeed
from comptroller.engine.recording import Recorder
from comptroller.testing.lessee import Lessee, World, limited_registry, month_budget
from comptroller.testing.timers import FakeTimers

MONTH = "service:checkout/month@2025-11"


def worker(limit: int = 10**9) -> Lessee:
    world = World()
    world.centre.limits = {MONTH: limit}
    return world.lessee(limited_registry(month_budget()))


def has_all(lessee: Lessee) -> bool:
    """Whether the worker knows of every unit that it was granted."""
    balance = lessee.holding.book.balance(MONTH)
    left = lessee.world.centre.left(lessee.source, MONTH)
    return balance.available + balance.held == left


@pytest.mark.parametrize("lost", ["lose_asks", "lose_answers"])
def test_a_lost_message_changes_nothing_but_the_time(lost: str) -> None:
    """The same ask is sent again, with its number, and what it grants counts once."""
    lessee = worker()
    setattr(lessee.desk, lost, 3)
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.5)

    assert lessee.answer(need) is None
    assert len(lessee.desk.asked) == 4
    assert all(ask == lessee.desk.asked[0] for ask in lessee.desk.asked)
    lessee.world.timers.advance(1)
    assert has_all(lessee)


def test_two_answers_to_one_ask_count_once() -> None:
    """A repeat that crosses its answer is answered, too."""
    lessee = worker()
    lessee.desk.delay_s = 0.25
    need = lessee.ask(1000)
    lessee.world.timers.advance(2)

    assert lessee.answer(need) is None
    assert lessee.desk.asked[0] == lessee.desk.asked[1]
    assert has_all(lessee)


def test_without_a_centre_requests_go_on_within_leases() -> None:
    """Then they are refused, in bounded time, with a kind of their own."""
    lessee = worker()
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.desk.is_down = True
    passed = 0
    while lessee.hold(1000) is not None:
        passed += 1
    need = lessee.ask(1000, wait_s=0.5)
    lessee.world.timers.advance(1.2)

    shortfall = lessee.answer(need)

    assert first.held is not None
    assert passed == 4
    assert shortfall is not None
    assert shortfall.kind == "ledger_unavailable"
    assert shortfall.lack is None


def test_a_centre_that_is_known_to_be_gone_holds_nobody_up() -> None:
    """Whoever comes later is refused at the end of its own time."""
    lessee = worker()
    lessee.desk.is_down = True
    lessee.ask(1000, wait_s=0.1)
    lessee.world.timers.advance(2)
    need = lessee.ask(1000, wait_s=0.1)
    lessee.world.timers.advance(0.11)

    shortfall = lessee.answer(need)

    assert shortfall is not None
    assert shortfall.kind == "ledger_unavailable"


def test_without_a_centre_a_hold_that_settles_here_still_serves() -> None:
    """What is in the worker's own leases needs nobody."""
    lessee = worker(limit=1000)
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.desk.is_down = True
    need = lessee.ask(800, wait_s=1)
    lessee.world.timers.advance(0.5)
    lessee.settle(first, 100)
    lessee.world.timers.advance(0.01)

    assert lessee.answer(need) is None


def test_when_the_centre_returns_requests_pass_again() -> None:
    """Nothing was lost: the outstanding ask is answered, and the book is whole."""
    lessee = worker()
    lessee.desk.is_down = True
    refused = lessee.ask(1000, wait_s=0.2)
    lessee.world.timers.advance(5)
    lessee.desk.is_down = False
    lessee.world.timers.advance(0.2)
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.2)

    assert lessee.answer(refused) is not None
    assert lessee.answer(need) is None
    assert has_all(lessee)


def test_a_slow_centre_is_given_time_to_answer() -> None:
    """Nobody is refused because its time was shorter than one answer takes."""
    lessee = worker()
    lessee.desk.delay_s = 0.2
    need = lessee.ask(1000, wait_s=0.0)
    lessee.world.timers.advance(0.25)

    assert lessee.answer(need) is None


def test_a_fenced_worker_holds_nothing() -> None:
    """The ledger closed it: whoever waits is refused, and nobody is held any more."""
    lessee = worker()
    first = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    assert first.held is not None
    lessee.desk.is_fenced = True
    need = lessee.ask(10**7)
    lessee.world.timers.advance(0.1)

    shortfall = lessee.answer(need)

    assert lessee.holding.is_fenced
    assert shortfall is not None
    assert shortfall.kind == "ledger_unavailable"
    assert lessee.hold(1) is None
    assert not lessee.holding.extend_now(lessee.path(), first, 1)


def test_a_fenced_worker_records_no_returns() -> None:
    """The ledger took back all it had: what it says of it must not count twice."""
    lessee = worker()
    lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.desk.is_fenced = True
    lessee.ask(10**7)
    lessee.world.timers.advance(0.1)

    lessee.holding.drain()
    lessee.holding.recall([MONTH])

    assert lessee.journal.records == []


def test_returns_are_recorded_before_the_centre_counts_on_them() -> None:
    """It is told when the record is durable, and the lease is smaller before."""
    lessee = worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 0)
    lessee.journal.hold()

    lessee.holding.recall([MONTH])
    assert lessee.holding.book.balance(MONTH).available == 0
    assert lessee.desk.told == 0
    lessee.journal.release()

    assert lessee.desk.told == 1
    assert lessee.world.centre.leased(MONTH) == 0


def test_a_return_is_a_record_as_the_store_reads_it() -> None:
    """With the attributes of every record, and a number of its own."""
    lessee = worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 0)
    lessee.holding.recall([MONTH])
    (record,) = lessee.journal.records

    envelope = msgspec.json.decode(record.line, type=records.Envelope)
    data = msgspec.json.decode(envelope.data, type=records.LeaseReturned)

    assert envelope.type == records.LEASE_RETURNED
    assert envelope.source == lessee.source
    assert envelope.sequence == "0"
    assert lessee.journal.sequence == 1
    assert [(one.account, one.amount) for one in data.returns] == [(MONTH, 5000)]


@pytest.mark.parametrize("how", ["append fails", "disk fails"])
def test_what_could_not_be_recorded_is_not_used_again(how: str) -> None:
    """Nobody knows whether the record will be found: the lease stays smaller."""
    lessee = worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 0)
    if how == "append fails":
        lessee.journal.failed = True
    else:
        lessee.journal.hold()
    lessee.holding.recall([MONTH])
    if how == "disk fails":
        lessee.journal.release(is_durable=False)

    assert lessee.holding.book.balance(MONTH).available == 0
    assert lessee.desk.told == 0


def test_a_recall_of_nothing_is_answered() -> None:
    """Who waits at the centre does not wait for a worker that has nothing idle."""
    lessee = worker()

    lessee.holding.recall([MONTH, "tenant:acme/day@2025-11-24"])

    assert lessee.desk.told == 1
    assert lessee.journal.records == []


def test_a_recall_leaves_what_is_waited_for() -> None:
    """A request that could be served soon keeps what there is for it."""
    lessee = worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 0)
    lessee.ask(7000)

    lessee.holding.recall([MONTH])

    assert lessee.holding.book.balance(MONTH).available == 5000


def test_many_returns_are_several_records() -> None:
    """Every record fits a journal's line, whatever runs are called."""
    lessee = worker()
    for number in range(300):
        account = f"run:checkout/{number:0>120}/total@all"
        lessee.holding.book.grant(account, 10)
    lessee.holding.drain()

    sizes = [len(record.line) for record in lessee.journal.records]
    assert len(sizes) == 4
    assert max(sizes) < 65_535


class Letters:
    """A LeaseDesk whose answers a test gives by hand."""

    def __init__(self) -> None:
        self.sent: list[tuple[AskLeases, Callable[[Leased | None], None]]] = []

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Keeps it."""
        self.sent.append((asked, on_answer))

    def returned(self) -> None:
        """Nobody hears of it."""


LACK = Lack(MONTH, 10, 10, 0, 0, 0, None)
GRANT = [Granted(MONTH, 7)]


def asking() -> tuple[Asking, Letters, list[tuple[Leased, Round | None]], FakeTimers]:
    world = World()
    desk, heard = Letters(), list[tuple[Leased, Round | None]]()
    made = Asking(
        desk,
        world.clock,
        world.timers,
        Holder("/n/w0/1", "boot-1", "disk"),
        lambda leased, answered: heard.append((leased, answered)),
    )
    made.ask([LeaseNeed(MONTH, 7, 7)], [], [])
    world.timers.advance(0.1)
    assert len(desk.sent) == 2
    return made, desk, heard, world.timers


def test_grants_of_a_repeat_count_when_the_first_answer_had_none() -> None:
    """The centre may have decided anew on the repeat; nothing that it gave is lost."""
    made, desk, heard, _ = asking()
    desk.sent[0][1](Leased(1, [], [LACK], []))
    made.ask([LeaseNeed(MONTH, 7, 7)], [], [])

    desk.sent[1][1](Leased(1, GRANT, [], []))
    desk.sent[1][1](Leased(1, GRANT, [], []))

    assert [leased.grants for leased, _ in heard] == [[], GRANT]
    assert [answered is not None for _, answered in heard] == [True, False]
    assert made.waits_since_s is not None


def test_an_answer_to_another_ask_is_none() -> None:
    """What is numbered otherwise is ignored, and the ask is repeated."""
    made, desk, heard, timers = asking()

    desk.sent[0][1](Leased(2, GRANT, [], []))
    desk.sent[0][1](None)
    timers.advance(0.1)

    assert heard == []
    assert made.waits_since_s is not None
    assert len(desk.sent) == 3


def test_asks_are_numbered_without_gaps() -> None:
    """Each has its own number; its repeats have the same."""
    made, desk, _, timers = asking()
    desk.sent[0][1](Leased(1, GRANT, [], []))
    made.ask([], [], [])
    timers.advance(0.1)

    assert [asked.sequence for asked, _ in desk.sent] == [1, 1, 2, 2]


def test_a_request_that_was_held_as_the_worker_was_fenced_is_refused() -> None:
    """It had yet to hear of it, so it can still be turned away."""
    lessee, desk = worker(), Letters()
    ports = Ports(
        desk,
        Recorder(lessee.journal, lessee.world.clock),
        lessee.world.clock,
        lessee.world.timers,
    )
    lessee.holding = Holding(ports, Holder(lessee.source, "boot-1", "disk"))
    lessee.holding.take(limited_registry(month_budget()), 1)
    lessee.holding.book.grant(MONTH, 1000)
    large = lessee.ask(5000)
    lessee.world.timers.advance(0.01)
    need = lessee.ask(1000)
    assert need.held is not None

    desk.sent[0][1](Leased(1, [], [], [], is_fenced=True))
    lessee.world.timers.advance(0)

    for one in (large, need):
        shortfall = lessee.answer(one)
        assert shortfall is not None
        assert shortfall.kind == "ledger_unavailable"
        assert one.held is None
