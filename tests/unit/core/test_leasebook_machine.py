"""Lease books of workers, against a centre that keeps the books."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from comptroller.core.account import Where, is_money
from comptroller.core.books import Books, Ending, Grant
from comptroller.core.granting import grant
from comptroller.core.leasebook import Balance, LeaseBook
from comptroller.testing.shelf import Ended, InMemoryShelf

ORGANIZATION = "organization:acme/total@all"
SERVICE = "service:a/total@all"
PERMITS = "service:a/parallel@now"
LIMITS = {ORGANIZATION: 150, SERVICE: 100, PERMITS: 4}
PATH = tuple(LIMITS)
WHERE = Where("acme", "shop", "web", "a", "c1", None)
NOW_NS = 1

picks = st.integers(min_value=0, max_value=1000)
amounts = st.integers(min_value=1, max_value=30)


class Entry(NamedTuple):
    """One record in a worker's journal that the centre has not read yet."""

    act: Callable[[Books, InMemoryShelf], None]
    lessens: dict[str, int]
    """By account: what it takes from the worker's lease."""


@dataclass
class Worker:
    """A worker: its book, what it wrote, what was granted and not heard yet."""

    name: str
    book: LeaseBook = field(default_factory=LeaseBook)
    journal: deque[Entry] = field(default_factory=deque)
    answers: deque[tuple[str, int]] = field(default_factory=deque)
    open: list[list[tuple[Balance, int]]] = field(default_factory=list)


Amounts = dict[str, tuple[int, int, int]]


class LeaseMachine(RuleBasedStateMachine):
    """Two workers and a centre that talk slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = InMemoryShelf()
        self.books = Books(self.shelf)
        self.workers = [Worker("w1"), Worker("w2")]
        self.bill = 0
        self.exceeded = 0
        """What requests cost beyond their holds."""

    def free(self, account: str) -> int:
        """What the centre may still grant."""
        state = self.shelf.account(account)
        return LIMITS[account] if state is None else state.free

    def said(self, worker: Worker) -> Amounts:
        """What a worker's book says of each account."""
        balances = {account: worker.book.balance(account) for account in PATH}
        return {
            account: (each.available, each.held, each.taken)
            for account, each in balances.items()
        }

    def wanted(self, worker: Worker, amount: int) -> list[tuple[Balance, int]]:
        """What a request holds: the amount of money, and one permit."""
        return [
            (worker.book.balance(account), amount if is_money(account) else 1)
            for account in PATH
        ]

    def record_end(
        self, worker: Worker, held: list[tuple[Balance, int]], cost: int
    ) -> None:
        """Writes a request's end into its worker's journal."""
        names = [(balance.account, amount) for balance, amount in held]
        ended = Ended(WHERE, NOW_NS, cost)

        def act(books: Books, shelf: InMemoryShelf) -> None:
            shelf.keep_ended(ended)
            books.end(Ending(worker.name, *ended, names))

        used = {acc: min(cost, amount) for acc, amount in names if is_money(acc)}
        worker.journal.append(Entry(act, used))

    # -- what may happen -----------------------------------------------------

    @rule(who=picks, amount=amounts, more=picks)
    def ask(self, who: int, amount: int, more: int) -> None:
        """The centre grants what lacks, and ahead; the answer is under way."""
        worker = self.workers[who % 2]
        for balance, need in self.wanted(worker, amount):
            lacks = max(0, need - balance.available)
            free = self.free(balance.account)
            given = grant(free, lacks, lacks + more % 40, len(self.workers))
            assert given <= free
            if given:
                granted = Grant(
                    balance.account, given, LIMITS[balance.account], 0, None
                )
                self.books.grant(worker.name, [granted])
                worker.answers.append((balance.account, given))

    @initialize(amount=amounts)
    def begin(self, amount: int) -> None:
        """The first worker has something to work with."""
        self.ask(0, amount, 40)
        self.hear(0)

    @rule(who=picks)
    def hear(self, who: int) -> None:
        """An answer arrives."""
        worker = self.workers[who % 2]
        while worker.answers:
            worker.book.grant(*worker.answers.popleft())

    @rule(who=picks, amount=amounts)
    def hold(self, who: int, amount: int) -> None:
        """A request is held on every account, or on none."""
        worker = self.workers[who % 2]
        wanted = self.wanted(worker, amount)
        before = self.said(worker)
        lacking = [b for b, need in wanted if before[b.account][0] < need]
        answer = worker.book.hold(wanted)
        if lacking:
            assert answer is lacking[0]
            assert self.said(worker) == before
            return
        assert answer is None
        for balance, need in wanted:
            available, held, taken = before[balance.account]
            assert self.said(worker)[balance.account] == (
                available - need,
                held + need,
                taken + need,
            )
        worker.open.append(wanted)

    @rule(who=picks, which=picks, amount=amounts)
    def extend(self, who: int, which: int, amount: int) -> None:
        """A request's hold on money grows everywhere, or nowhere."""
        worker = self.workers[who % 2]
        if not worker.open:
            return
        at = which % len(worker.open)
        held = worker.open[at]
        more = [(balance, amount) for balance, _ in held if balance.is_money]
        before = self.said(worker)
        if worker.book.extend(more) is not None:
            assert self.said(worker) == before
            return
        worker.open[at] = [
            (balance, each + amount if balance.is_money else each)
            for balance, each in held
        ]

    @rule(who=picks, which=picks, percent=st.integers(min_value=0, max_value=220))
    def settle(self, who: int, which: int, percent: int) -> None:
        """A request ends; it may have cost more than was held."""
        worker = self.workers[who % 2]
        if worker.open:
            held = worker.open.pop(which % len(worker.open))
            cost = held[0][1] * percent // 100
            worker.book.settle(held, cost)
            self.record_end(worker, held, cost)
            self.bill += cost
            self.exceeded += max(0, cost - held[0][1])

    @rule(who=picks, which=picks)
    def release(self, who: int, which: int) -> None:
        """A request is not sent after all."""
        worker = self.workers[who % 2]
        if worker.open:
            held = worker.open.pop(which % len(worker.open))
            worker.book.release(held)
            self.record_end(worker, held, 0)

    @rule(who=picks, which=picks, keep=st.integers(min_value=0, max_value=20))
    def give_back(self, who: int, which: int, keep: int) -> None:
        """What is idle is returned; what is held never is."""
        worker = self.workers[who % 2]
        account = PATH[which % len(PATH)]
        before = worker.book.balance(account).held
        amount = worker.book.give_back(account, keep)
        assert worker.book.balance(account).held == before
        if amount:
            worker.journal.append(
                Entry(
                    lambda books, _: books.give_back(worker.name, [(account, amount)]),
                    {account: amount},
                )
            )

    @rule(who=picks, which=picks)
    def forget(self, who: int, which: int) -> None:
        """Only a balance with nothing in it is forgotten."""
        worker = self.workers[who % 2]
        account = PATH[which % len(PATH)]
        available, held, _ = self.said(worker)[account]
        assert worker.book.forget(account) == (not available and not held)

    @rule(who=picks, count=st.integers(min_value=1, max_value=5))
    def project(self, who: int, count: int) -> None:
        """The centre reads some of a worker's journal."""
        journal = self.workers[who % 2].journal
        for _ in range(min(count, len(journal))):
            journal.popleft().act(self.books, self.shelf)

    def teardown(self) -> None:
        """When all requests ended and all was returned and read, nothing is leased."""
        for who, worker in enumerate(self.workers):
            self.hear(who)
            for held in worker.open:
                worker.book.release(held)
                self.record_end(worker, held, 0)
            worker.open.clear()
            for idle in worker.book.idle():
                self.give_back(who, PATH.index(idle.account), 0)
            assert worker.book.idle() == []
            self.project(who, len(worker.journal))
        for state in self.shelf.accounts():
            spent = self.bill if is_money(state.id) else 0
            assert (state.settled, state.leased, state.suspense) == (spent, 0, 0)
            assert state.free == max(0, LIMITS[state.id] - spent)

    # -- what always holds ---------------------------------------------------

    @invariant()
    def the_centre_knows_where_all_of_a_lease_is(self) -> None:
        """Its balance is available, held, not yet read or not yet heard of."""
        for worker in self.workers:
            elsewhere: Counter[str] = Counter()
            for entry in worker.journal:
                elsewhere.update(entry.lessens)
            for account, amount in worker.answers:
                elsewhere[account] += amount
            for account, (available, held, _) in self.said(worker).items():
                lease = self.shelf.lease(worker.name, account)
                assert lease.left == available + held + elsewhere[account]

    @invariant()
    def nothing_is_negative(self) -> None:
        """No balance is ever below 0, and all that is held is by open requests."""
        for worker in self.workers:
            for account, (available, held, _) in self.said(worker).items():
                assert available >= 0
                assert held == sum(
                    amount
                    for request in worker.open
                    for balance, amount in request
                    if balance.account == account
                )

    @invariant()
    def spent_and_held_is_within_the_limit(self) -> None:
        """The bill and all open holds fit, but for what holds were too small."""
        for account, limit in LIMITS.items():
            held = sum(self.said(each)[account][1] for each in self.workers)
            if is_money(account):
                assert self.bill + held <= limit + self.exceeded
            else:
                assert held <= limit


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
