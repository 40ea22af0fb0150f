"""Two workers and a centre under any sequence of events: what holds at every moment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from comptroller.core.gcra import Bucket
from comptroller.core.registry import Budget, Limits, Rate, Window
from comptroller.engine.holding import Need, Shortfall, Waiting
from comptroller.testing.lessee import Lessee, World, limited_registry

MONTH = "service:checkout/month@2025-11"
TOTAL = "organization:acme/total@all"
PARALLEL = "service:checkout/parallel@now"
TOKENS = "service:checkout/tokens"
ACCOUNTS = (MONTH, TOTAL, PARALLEL)
RATE = Rate(500, 10)
WAIT_S = 0.5
BOUNDED_S = 1.5
"""After its time and the time for an answer everybody was told."""

workers = st.integers(0, 1)
amounts = st.integers(0, 900)


class Asked:
    """A request of one worker, and all that it was told."""

    def __init__(self, lessee: Lessee, need: Need, since_s: float) -> None:
        self.lessee = lessee
        self.need = need
        self.since_s = since_s
        self.told: list[Shortfall | None] = []
        self.waiting: Waiting | None = None
        self.was_short = False
        """Whether at some moment since it waits there was too little anywhere."""
        self.is_cancelled = False
        self.is_ended = False

    @property
    def waits(self) -> bool:
        """Whether it is yet to be told."""
        return not self.told and not self.is_cancelled

    @property
    def runs(self) -> bool:
        """Whether it may be settled or released."""
        return self.told == [None] and not self.is_ended


class Workers(RuleBasedStateMachine):
    """Requests come, wait, end and leave while messages are lost and time passes."""

    @initialize(limit=st.integers(0, 5000), permits=st.integers(1, 6))
    def start(self, limit: int, permits: int) -> None:
        """Two workers, two budgets, permits and a rate."""
        self.world = World()
        self.limits = {MONTH: limit, TOTAL: limit + 500, PARALLEL: permits}
        self.world.centre.limits = dict(self.limits)
        self.world.centre.buckets[TOKENS] = Bucket(RATE.count, RATE.period_s)
        budget = Budget((Window(limit, "month"),), hold="progressive")
        limits = Limits(tokens=RATE, concurrency=permits)
        registry = replace(
            limited_registry(budget, limits),
            budget=Budget((Window(limit + 500, "total"),)),
        )
        self.lessees = [self.world.lessee(registry, f"/n/w{i}/1") for i in (0, 1)]
        for lessee in self.lessees:
            lessee.desk.recall_s = 0.01
        self.asked: list[Asked] = []

    # -- what clients do ---------------------------------------------------------

    @rule(worker=workers, amount=amounts, tokens=st.integers(0, 600))
    def ask(self, worker: int, amount: int, tokens: int) -> None:
        """A request comes, and waits where it does not fit."""
        lessee = self.lessees[worker]
        need = Need(amount, amount, tokens)
        asked = Asked(lessee, need, self.world.clock.monotonic_s())
        self.asked.append(asked)
        self.look(asked)
        path = lessee.path()
        if lessee.holding.hold(path, need, self.world.clock.now_ns()):
            asked.told.append(None)
        else:
            asked.waiting = lessee.holding.wait(path, need, asked.told.append, WAIT_S)

    @precondition(lambda self: any(one.runs for one in self.asked))
    @rule(data=st.data(), cost=amounts, tokens=st.integers(0, 600))
    def settle(self, data: st.DataObject, cost: int, tokens: int) -> None:
        """A request ends at some cost."""
        asked = data.draw(st.sampled_from([one for one in self.asked if one.runs]))
        asked.is_ended = True
        asked.lessee.settle(asked.need, cost, min(tokens, asked.need.tokens))

    @precondition(lambda self: any(one.runs for one in self.asked))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A request ends that was not sent."""
        asked = data.draw(st.sampled_from([one for one in self.asked if one.runs]))
        asked.is_ended = True
        asked.lessee.holding.release(asked.lessee.path(), asked.need)

    @precondition(lambda self: any(one.runs for one in self.asked))
    @rule(data=st.data(), more=st.integers(1, 400))
    def extend(self, data: st.DataObject, more: int) -> None:
        """A stream goes on, if there is more at hand."""
        asked = data.draw(st.sampled_from([one for one in self.asked if one.runs]))
        before = asked.need.slice_nano_usd
        holding, path = asked.lessee.holding, asked.lessee.path()
        if holding.extend_now(path, asked.need, more):
            assert asked.need.slice_nano_usd == before + more
        else:
            assert asked.need.slice_nano_usd == before

    @precondition(lambda self: any(one.waiting for one in self.asked))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client leaves that waits."""
        waits = [one for one in self.asked if one.waiting and not one.told]
        if waits:
            asked = data.draw(st.sampled_from(waits))
            assert asked.waiting is not None
            asked.is_cancelled = True
            asked.lessee.holding.cancel(asked.waiting)

    def look(self, asked: Asked) -> None:
        """Whether a request's money is neither free nor idle, here or elsewhere.

        What is kept elsewhere for those who wait there is not idle.
        """
        busy = {id(one.lessee) for one in self.asked if one.waits}
        idle_at = [
            lessee
            for lessee in self.lessees
            if lessee is asked.lessee or id(lessee) not in busy
        ]
        for account in ACCOUNTS:
            amount = 1 if account == PARALLEL else asked.need.nano_usd
            idle = sum(
                lessee.holding.book.balance(account).available for lessee in idle_at
            )
            if amount > self.world.centre.free(account) + idle:
                asked.was_short = True

    # -- what the world does -----------------------------------------------------

    @rule(ms=st.sampled_from([1, 5, 60, 300, 1200]))
    def pass_time(self, ms: int) -> None:
        """Whatever is due happens."""
        end_ns = self.world.clock.now_ns() + ms * 10**6
        timers = self.world.timers
        while timers.next_ns is not None and timers.next_ns <= end_ns:
            timers.step()
            for one in self.asked:
                if not one.told:
                    self.look(one)
        timers.advance((end_ns - self.world.clock.now_ns()) / 1e9)

    @rule(worker=workers, asks=st.integers(0, 2), answers=st.integers(0, 2))
    def lose(self, worker: int, asks: int, answers: int) -> None:
        """Messages are lost."""
        self.lessees[worker].desk.lose_asks = asks
        self.lessees[worker].desk.lose_answers = answers

    @rule(worker=workers, delay_s=st.sampled_from([0.0, 0.004, 0.15]))
    def slow(self, worker: int, delay_s: float) -> None:
        """Messages take longer than a repeat."""
        self.lessees[worker].desk.delay_s = delay_s

    @rule(worker=workers)
    def recall(self, worker: int) -> None:
        """The centre asks for what is idle."""
        self.lessees[worker].holding.recall(ACCOUNTS)

    @rule(worker=workers, is_down=st.booleans())
    def break_down(self, worker: int, *, is_down: bool) -> None:
        """The centre is gone, or back."""
        self.lessees[worker].desk.is_down = is_down

    # -- what always holds -------------------------------------------------------

    @invariant()
    def a_worker_has_no_more_than_it_was_granted(self) -> None:
        """Available and held are what is left of the grants, or on the way."""
        for lessee in getattr(self, "lessees", ()):
            for account in ACCOUNTS:
                balance = lessee.holding.book.balance(account)
                assert balance.available >= 0
                assert balance.held >= 0
                left = self.world.centre.left(lessee.source, account)
                assert balance.available + balance.held <= left

    @invariant()
    def what_is_held_is_the_sum_of_what_runs(self) -> None:
        """No hold is lost, and none is left over."""
        for lessee in getattr(self, "lessees", ()):
            held = dict.fromkeys(ACCOUNTS, 0)
            for one in self.asked:
                for balance, amount in one.need.held or ():
                    if one.lessee is lessee:
                        held[balance.account] += amount
            for account in ACCOUNTS:
                assert lessee.holding.book.balance(account).held == held[account]

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        """Held and spent are within every limit, at every moment."""
        for account, limit in getattr(self, "limits", {}).items():
            assert self.world.centre.free(account) >= 0
            running = sum(
                amount
                for one in self.asked
                for balance, amount in one.need.held or ()
                if balance.account == account
            )
            assert running + self.world.centre.spent.get(account, 0) <= limit

    @invariant()
    def everybody_is_told_once_and_in_time(self) -> None:
        """One answer a wait; none to whoever left."""
        for one in getattr(self, "asked", ()):
            if one.is_cancelled:
                assert one.told == []
                assert one.need.held is None
                continue
            assert len(one.told) <= 1
            if self.world.clock.monotonic_s() - one.since_s > BOUNDED_S:
                assert len(one.told) == 1
            if one.told and one.told[0] is not None:
                assert one.need.held is None

    @invariant()
    def denials_are_honest(self) -> None:
        """Who is told that an account lacks was short at some moment of its wait."""
        for one in getattr(self, "asked", ()):
            shortfall = one.told[0] if one.told else None
            if shortfall is not None and shortfall.lack is not None:
                assert one.was_short

    @invariant()
    def equals_are_served_in_their_order(self) -> None:
        """Of two who need the same at one worker the first is served first."""
        for lessee in getattr(self, "lessees", ()):
            waits: set[tuple[int, int]] = set()
            for one in self.asked:
                if one.lessee is not lessee or one.is_cancelled or one.is_ended:
                    continue
                key = one.need.nano_usd, one.need.tokens
                if one.need.held is not None:
                    assert key not in waits
                elif not one.told:
                    waits.add(key)

    def teardown(self) -> None:
        """When all has ended and every message came, nothing is anywhere."""
        if not hasattr(self, "lessees"):
            return
        for lessee in self.lessees:
            lessee.desk.lose_asks = lessee.desk.lose_answers = 0
            lessee.desk.is_down = False
        self.world.timers.advance(5)
        self.everybody_is_told_once_and_in_time()
        for one in self.asked:
            if one.runs:
                one.lessee.settle(one.need, one.need.nano_usd // 4)
        for lessee in self.lessees:
            lessee.holding.drain()
        self.world.timers.advance(5)
        for lessee in self.lessees:
            lessee.desk.returned()
        for account in ACCOUNTS:
            assert self.world.centre.leased(account) == 0


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
