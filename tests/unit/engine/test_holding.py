"""What a worker holds from its leases, and what it asks the centre for."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from comptroller.core.account import Where
from comptroller.core.registry import Budget, Limits, Registry, Window
from comptroller.engine.holding import Need
from comptroller.testing.lessee import (
    MODEL,
    WHERE,
    Lessee,
    World,
    limited_registry,
    month_budget,
)

MONTH = "service:checkout/month@2025-11"
DECEMBER = "service:checkout/month@2025-12"
ORGANIZATION = "organization:acme/total@all"
PARALLEL = "service:checkout/parallel@now"


def one_worker(limit: int = 10**9, registry: Registry | None = None) -> Lessee:
    world = World()
    world.centre.limits = {MONTH: limit, ORGANIZATION: limit, PARALLEL: 100}
    return world.lessee(registry or limited_registry(month_budget()))


def two_levels() -> Registry:
    registry = limited_registry(month_budget())
    return replace(registry, budget=Budget((Window(10**12, "total"),)))


def available(lessee: Lessee, account: str = MONTH) -> int:
    return lessee.holding.book.balance(account).available


def test_a_request_is_held_with_what_the_centre_grants() -> None:
    """What lacks is asked for once, and more, so that the next request fits."""
    lessee = one_worker()

    assert lessee.hold(1000) is None
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)

    assert lessee.answer(need) is None
    assert lessee.hold(1000) is not None
    assert len(lessee.desk.asked) == 1


def test_a_request_that_nothing_limits_costs_nothing() -> None:
    """Without budgets and limits the path is empty: no lease, no timer, no ask."""
    lessee = one_worker(registry=limited_registry(None))

    path = lessee.path()

    assert path.is_empty
    assert path.data == b""
    assert lessee.hold(10**12) is not None
    assert lessee.world.timers.pending == 0
    assert lessee.desk.asked == []


def test_a_hold_is_all_or_nothing_along_its_path() -> None:
    """Where one account lacks, no other is touched."""
    lessee = one_worker(registry=two_levels())
    lessee.path()
    lessee.holding.book.grant(ORGANIZATION, 5000)
    lessee.holding.book.grant(MONTH, 999)

    assert lessee.hold(1000) is None

    assert available(lessee, ORGANIZATION) == 5000
    assert available(lessee) == 999


def test_a_hold_names_its_accounts_as_the_decision_record_does() -> None:
    """The members of the record are JSON of what is held, widest scope first."""
    budget = month_budget(hold="progressive")
    registry = replace(
        limited_registry(budget, Limits(concurrency=3)),
        budget=Budget((Window(10**12, "total"),)),
    )
    lessee = one_worker(registry=registry)

    members = msgspec.json.decode(b"{%b}" % lessee.path().data)

    assert members == {
        "comptroller.hold.accounts": [ORGANIZATION],
        "comptroller.hold.permits": [PARALLEL],
        "comptroller.hold.progressive": [MONTH],
    }


def test_a_path_without_progressive_accounts_says_nothing_of_them() -> None:
    """Records of full holds keep their members."""
    members = msgspec.json.decode(b"{%b}" % one_worker().path().data)

    assert list(members) == ["comptroller.hold.accounts", "comptroller.hold.permits"]


def test_a_path_is_found_once_until_its_window_ends() -> None:
    """Within a month it is the same; the first nanosecond of the next is another's."""
    lessee = one_worker()
    path = lessee.path()

    last = lessee.holding.path(WHERE, MODEL, path.until_ns - 1)
    following = lessee.holding.path(WHERE, MODEL, path.until_ns)

    assert last is path
    assert [balance.account for balance in following.money] == [DECEMBER]


def test_a_path_goes_by_the_registry_in_force() -> None:
    """A budget that is taken away is not held on any more; its leases stay."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)

    lessee.holding.take(limited_registry(None), 2)
    assert lessee.path().is_empty
    lessee.settle(need, 400)

    assert lessee.holding.revision == 2
    assert lessee.world.centre.left(lessee.source, MONTH) == available(lessee)


def test_paths_of_runs_do_not_fill_the_memory() -> None:
    """Of more runs than are kept, the oldest paths are made again when needed."""
    lessee = one_worker()
    first = lessee.path()

    for number in range(20_001):
        lessee.path(Where("acme", "acme", "retail", "checkout", "key-1", f"r{number}"))

    assert lessee.path() is not first
    assert lessee.path().money[0] is first.money[0]


def test_what_ended_at_a_cost_leaves_the_rest_available() -> None:
    """A settled request costs what it cost; one that was not sent, nothing."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    before = available(lessee)

    lessee.settle(need, 300)
    assert available(lessee) == before + 700
    other = lessee.hold(1000)
    assert other is not None
    lessee.holding.release(lessee.path(), other)

    assert available(lessee) == before + 700
    assert lessee.holding.book.balance(MONTH).held == 0


def test_a_request_that_cost_more_than_its_hold_takes_no_others_lease() -> None:
    """What exceeds the hold is the centre's to book; the lease pays the hold."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    before = available(lessee)

    lessee.settle(need, 5000)

    assert available(lessee) == before


def test_ending_a_request_twice_changes_nothing() -> None:
    """Whatever ends first counts; the second finds nothing held."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 300)
    before = available(lessee)

    lessee.settle(need, 300)
    lessee.holding.release(lessee.path(), need)

    assert available(lessee) == before


def test_a_busy_worker_with_an_ample_budget_seldom_lets_requests_wait() -> None:
    """At a steady pace leases are asked for ahead: few requests wait for a trip."""
    lessee = one_worker(limit=10**15)
    waited = 0
    for _ in range(2000):
        need = lessee.hold(1000)
        if need is None:
            waited += 1
            need = lessee.ask(1000)
        lessee.world.timers.advance(0.01)
        lessee.settle(need, 270)

    assert waited <= 20
    ahead = [ask for ask in lessee.desk.asked if not any(n.amount for n in ask.needs)]
    assert len(ahead) > 3


def test_an_ask_ahead_of_need_recalls_from_nobody() -> None:
    """What nobody waits for is wanted, not needed."""
    lessee = one_worker(limit=10**15)
    for _ in range(100):
        need = lessee.hold(1000) or lessee.ask(1000)
        lessee.world.timers.advance(0.01)
        lessee.settle(need, 900)

    later = [need for ask in lessee.desk.asked[1:] for need in ask.needs]
    assert later
    assert all(need.amount == 0 < need.want for need in later)


def test_what_nobody_uses_for_long_goes_back() -> None:
    """Budgets do not stick to idle workers, and an idle worker does nothing."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(need, 300)

    lessee.world.timers.advance(9)
    assert available(lessee) > 0
    lessee.world.timers.advance(3)

    assert lessee.world.centre.leased(MONTH) == 0
    assert lessee.world.timers.pending == 0


def test_an_account_that_was_forgotten_can_be_held_on_again() -> None:
    """A path that was found before still works when its balance was let go of."""
    lessee = one_worker()
    path = lessee.path()
    held = lessee.ask(1000)
    lessee.world.timers.advance(0.01)
    lessee.settle(held, 0)
    lessee.world.timers.advance(15)
    assert MONTH not in {balance.account for balance in lessee.holding.book.idle()}

    need = Need(1000, 0, 0)
    told: list[object] = []
    lessee.holding.wait(path, need, told.append, 1.0)
    lessee.world.timers.advance(0.01)

    assert told == [None]
    assert lessee.holding.book.balance(MONTH).held == 1000


def test_leases_of_a_window_that_ended_go_back() -> None:
    """What is idle at once, what is held when it ends; then it is forgotten."""
    lessee = one_worker()
    lessee.world.centre.limits[DECEMBER] = 10**9
    lessee.world.clock.advance_to(lessee.path().until_ns - 5 * 10**9)
    need = lessee.ask(1000)
    lessee.world.timers.advance(4)
    assert available(lessee) > 0
    lessee.world.timers.advance(3)

    assert available(lessee) == 0
    assert lessee.world.centre.left(lessee.source, MONTH) == 1000
    lessee.settle(need, 400)
    lessee.world.timers.advance(2)

    assert lessee.world.centre.leased(MONTH) == 0
    assert lessee.world.centre.spent[MONTH] == 400


def test_nothing_is_asked_ahead_for_a_window_that_ended() -> None:
    """Nobody will be held on it any more."""
    lessee = one_worker()
    lessee.world.clock.advance_to(lessee.path().until_ns - 10 * 10**6)
    lessee.ask(1000)
    lessee.world.timers.advance(0.005)
    while lessee.hold(1000) is not None:
        pass
    lessee.world.timers.advance(0.5)

    assert len(lessee.desk.asked) == 1


def test_a_request_belongs_to_the_window_of_its_admission() -> None:
    """One admitted in November is settled on November's account in December."""
    lessee = one_worker()
    path = lessee.path()
    just_before = (path.until_ns - lessee.world.clock.now_ns()) / 1e9 - 0.5
    lessee.world.timers.advance(just_before)
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.4)
    assert lessee.answer(need) is None
    lessee.world.timers.advance(5)

    assert need.held is not None
    assert [balance.account for balance, _ in need.held] == [MONTH]
    assert lessee.world.centre.left(lessee.source, MONTH) == 1000


def test_a_drained_worker_has_nothing_and_holds_nothing() -> None:
    """At a graceful stop all that is idle goes back, and the rest as it ends."""
    lessee = one_worker()
    need = lessee.ask(1000)
    lessee.world.timers.advance(0.01)

    lessee.holding.drain()
    assert lessee.world.centre.left(lessee.source, MONTH) == 1000
    assert lessee.hold(1) is None
    lessee.settle(need, 250)
    lessee.holding.drain()

    assert lessee.world.centre.leased(MONTH) == 0
    assert lessee.world.timers.pending == 0


def test_a_drained_worker_lets_nobody_wait() -> None:
    """Whoever waits, and whoever comes, is refused with the ledger's own code."""
    lessee = one_worker()
    lessee.desk.is_down = True
    waiting = lessee.ask(1000)

    lessee.holding.drain()
    late = lessee.ask(1000)
    lessee.world.timers.advance(0)

    for need in (waiting, late):
        shortfall = lessee.answer(need)
        assert shortfall is not None
        assert shortfall.kind == "ledger_unavailable"


def test_what_is_granted_to_a_drained_worker_goes_back_at_once() -> None:
    """An answer that was under way strands nothing."""
    lessee = one_worker()
    lessee.ask(1000)
    lessee.world.timers.advance(0.0006)
    assert lessee.world.centre.leased(MONTH) > 0

    lessee.holding.drain()
    lessee.world.timers.advance(1)

    assert lessee.world.centre.leased(MONTH) == 0
