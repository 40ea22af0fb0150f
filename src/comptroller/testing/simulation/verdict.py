"""Verdicts: what must be true when everything has come to rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comptroller.core.account import is_money, parse_account
from comptroller.core.books import AccountState
from comptroller.core.budget_path import RateLimit, declared_rate
from comptroller.core.errors import RecordError
from comptroller.engine.auditing import Cost, spent_of
from comptroller.engine.projection import Projector
from comptroller.testing.simulation.centre import Centre
from comptroller.testing.simulation.invariants import BrokenError
from comptroller.testing.simulation.store import WatchedStore
from comptroller.testing.simulation.witness import SETTLED, Case
from comptroller.testing.simulation.world import World

_S: Final = 1_000_000_000
RESTS: Final = 30
SLICE_S: Final = 1.0
"""A slice of a rate may be used so long after it was charged."""
REFUNDED_WITHIN_S: Final = 2.5
"""A refund may be booked so long after its cause: it was a slice, or was said late."""


def judge_rest(world: World) -> None:
    """When nobody asks any more, and all that was begun has ended."""
    everybody_is_answered(world)
    for _ in range(RESTS):
        # What is idle goes back now and then; in between, both sides agree.
        try:
            everything_is_projected(world)
            world.witness.compare_leases(is_exact=True)
        except BrokenError:
            world.pass_time(0.13)
        else:
            return
    everything_is_projected(world)
    world.witness.compare_leases(is_exact=True)


def judge_end(world: World) -> None:
    """When every worker has ended, and what they left is closed."""
    everything_is_projected(world)
    every_hold_has_ended_once(world)
    bills_are_booked(world)
    settle_suspense(world)
    nothing_is_leased(world)
    bills_are_covered(world)
    books_add_up(world)
    rates_held(world)
    if not world.is_lost:
        journals_give_the_same_again(world)


def everybody_is_answered(world: World) -> None:
    """13: no request waits for ever."""
    for exchange in world.witness.unanswered:
        raise BrokenError(13, f"{exchange.id} of {exchange.worker.source}")


def everything_is_projected(world: World) -> None:
    """4: nothing stands still: what is recorded is in the books."""
    for source in world.disk.sources():
        position = world.store.position(source)
        for record in world.disk.read(source, position, 1):
            raise BrokenError(4, f"not projected: {record}; {_problems(world)}")


def every_hold_has_ended_once(world: World) -> None:
    """4: every request that was allowed has exactly one end."""
    store = world.store
    if store.conflicts():
        raise BrokenError(4, f"{store.conflicts()} requests ended twice")
    for source in store.open_sources():
        raise BrokenError(4, f"{source} has open requests; {_problems(world)}")
    for case in world.witness.cases.values():
        row = store.request(case.exchange.id)
        if row is None:
            continue
        is_settled = case.state == SETTLED and row.state == "settled"
        if is_settled and row.cost_nano_usd != case.cost:
            raise BrokenError(4, f"{row} cost {case.cost}")
        if row.state == "released" and case.is_sent:
            raise BrokenError(7, f"{row} was sent")
        if row.state == "abandoned" and row.cost_nano_usd != case.bound:
            raise BrokenError(7, f"{row} held {case.bound}")


def bills_are_booked(world: World) -> None:
    """7: settled and suspense are no less than the bill, and how much more is known."""
    for state, bill, slack in _bills(world):
        if state.settled + state.suspense < bill:
            raise BrokenError(7, f"{bill} was billed of {state}")
        if state.settled - bill > slack:
            raise BrokenError(7, f"{bill} was billed, {slack} unknown, of {state}")


def bills_are_covered(world: World) -> None:
    """3: at the end no bill is more than is in force, but for what nobody held."""
    for state, bill, _ in _bills(world):
        if state.settled < bill - world.witness.excess.get(state.id, 0):
            raise BrokenError(7, f"{bill} was billed of {state}")
        if bill > state.effective + state.unheld:
            raise BrokenError(3, f"{bill} was billed of {state}")


def settle_suspense(world: World) -> None:
    """A named person asks the provider, and books what was really spent."""
    centre = world.centre
    assert centre is not None  # noqa: S101

    def spent_of(holder: str, account: str) -> int:
        if not is_money(account):
            return 0
        spent = sum(
            min(case.cost, case.bound)
            for case in world.witness.cases.values()
            if case.exchange.worker.source == holder
            and case.is_sent
            and account in case.money
        )
        lease = world.store.lease_state(holder, account)
        # What was booked at its bound, and cost less, may have been spent again.
        if lease is None or spent - lease.consumed > lease.suspense:
            raise BrokenError(7, f"{spent} billed, not all of it in {lease}")
        return max(0, spent - lease.consumed)

    def settle(centre: Centre) -> None:
        centre.settle_suspense(spent_of)

    centre.process.run(lambda: settle(centre))
    for lease in world.store.suspense():
        raise BrokenError(9, f"{lease} stays in suspense; {_problems(world)}")


def nothing_is_leased(world: World) -> None:
    """9: all leases are back, and what is free is limit - settled."""
    for state in world.store.states():
        if state.leased or state.suspense:
            raise BrokenError(9, f"{state}; {_problems(world)}")
        if state.free != max(0, state.limit - state.settled):
            raise BrokenError(9, f"{state} has {state.free} free")


def books_add_up(world: World) -> None:
    """5: every account worked out anew, and parents against their parts."""
    for contradiction in world.store.books_check():
        raise BrokenError(5, contradiction)


def rates_held(world: World) -> None:
    """10: in every interval no more than count + count * t / period, refunds apart."""
    registry = world.published[1]
    assert registry is not None  # noqa: S101
    admitted: dict[str, list[tuple[float, int, Case]]] = {}
    for case in world.witness.cases.values():
        for limit, units in case.rates:
            at_s = case.decided_ns / _S
            admitted.setdefault(limit, []).append((at_s, units, case))
    for limit, taken in admitted.items():
        rate = declared_rate(registry, limit, world.service_of.get)
        if rate is not None:
            _hold_rate(rate, sorted(taken, key=lambda one: one[0]))


def _hold_rate(rate: RateLimit, taken: list[tuple[float, int, Case]]) -> None:
    per_s = rate.count / rate.period_s
    room = rate.count + per_s * SLICE_S + 1e-6
    level, last_s = 0.0, 0.0
    for place, (at_s, units, _) in enumerate(taken):
        level = max(0.0, level - (at_s - last_s) * per_s) + units
        last_s = at_s
        if level > room:
            _hold_exactly(rate, taken[: place + 1], room)


def _hold_exactly(
    rate: RateLimit, taken: list[tuple[float, int, Case]], room: float
) -> None:
    """Every interval that ends with the last one, refunds taken into account."""
    end_s = taken[-1][0]
    units = 0
    for first in range(len(taken) - 1, -1, -1):
        begin_s = taken[first][0]
        units += taken[first][1]
        refunded = _refunds(rate, taken, (begin_s - REFUNDED_WITHIN_S, end_s))
        allowed = room + refunded + (end_s - begin_s) * rate.count / rate.period_s
        if units > allowed:
            raise BrokenError(
                10,
                f"{rate.id}: {units} of {rate.count} per {rate.period_s} s within"
                f" {end_s - begin_s:.3f} s, with {refunded} refunded",
            )


def _refunds(
    rate: RateLimit, taken: list[tuple[float, int, Case]], span: tuple[float, float]
) -> int:
    if rate.unit != "tokens":
        return 0
    return sum(
        units - case.tokens_used
        for _, units, case in taken
        if case.ended_ns and span[0] <= case.ended_ns / _S <= span[1]
    )


def journals_give_the_same_again(world: World) -> None:
    """14: a store that is lost is made anew, with the same rows."""
    again = WatchedStore()
    try:
        for _ in Projector(world.disk, again).catch_up():
            pass
    except RecordError as error:
        raise BrokenError(14, error.message) from error
    for state in world.store.states():
        if again.state(state.id) != state:
            raise BrokenError(14, f"{state} became {again.state(state.id)}")
    before = {(one.holder, one.account): one for one in world.store.leases()}
    after = {(one.holder, one.account): one for one in again.leases()}
    if before != after:
        raise BrokenError(14, "the leases became others")


def usable_share(world: World) -> list[float]:
    """Of every budget that lacked for somebody: the share that was spent."""
    return [
        state.settled / state.limit
        for state in world.store.states()
        if is_money(state.id) and state.id in world.witness.denied and state.limit
    ]


def _bills(world: World) -> Iterator[tuple[AccountState, int, int]]:
    """Each money account, what was billed of it, and what crashes held beyond that."""
    states = [one for one in world.store.states() if parse_account(one.id).is_money]
    bills, unknown = [], []
    lost: dict[str, int] = {}
    for case in world.witness.cases.values():
        where, at_ns = case.exchange.where, case.decided_ns // 1000 * 1000
        row = world.store.request(case.exchange.id)
        if case.is_sent:
            # Where nobody heard what it cost, nobody can know that it was more.
            is_known = row is not None and row.state == "settled"
            cost = case.cost if is_known else min(case.cost, case.bound)
            if row is not None:
                bills.append(Cost(where, at_ns, cost))
            # Where its record is lost, only those know of it that it was held on.
            for account in case.money if row is None else ():
                lost[account] = lost.get(account, 0) + cost
        if row is not None and row.state == "abandoned":
            more = case.bound - (case.cost if case.is_sent else 0)
            unknown.append(Cost(where, at_ns, max(0, more)))
    billed, slack = spent_of(states, bills), spent_of(states, unknown)
    for state in states:
        yield state, billed[state.id] + lost.get(state.id, 0), slack[state.id]


def _problems(world: World) -> str:
    return "no problems" if world.centre is None else str(world.centre.problems)
