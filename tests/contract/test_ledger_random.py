"""Both stores do the same with whatever workers and control process may write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.core.errors import RecordError
from comptroller.engine.ports import JournalPosition, Store
from comptroller.testing.projected import (
    CONTROL,
    MONTH,
    PERMITS,
    RUN,
    W0,
    W1,
    WHOLE,
    Projected,
)
from comptroller.testing.store import InMemoryStore

LIMIT = 1000
MONEY = [MONTH, WHOLE, RUN]
"""RUN is progressive: it holds slices."""
SOURCES = [CONTROL, W0, W1]
FIRST_SLICE = 10
FIRST = [(MONTH, 200), (WHOLE, 400), (RUN, 50), (PERMITS, 3)]


class Node:
    """Two workers and a control process that keep to the rules.

    They write what they are told to, where the rules allow it: the control process
    grants what is free after it read all, a worker holds what it has.
    """

    def __init__(self) -> None:
        self.books = Projected(InMemoryStore())
        self._sequences = dict.fromkeys((W0, W1), 0)
        self._open: dict[str, dict[str, dict[str, int]]] = {W0: {}, W1: {}}
        self._count = 0
        for worker in (W0, W1):
            self.books.script(CONTROL).joined(worker)
            self.books.journal(worker)
        for worker in (W0, W1):
            for account, amount in FIRST:
                self.grant(worker, account, amount)

    def grant(self, worker: str, account: str, amount: int) -> None:
        """The control process grants what there is of it."""
        self._read()
        state = self.books.store.accounts([account]).get(account)
        free = LIMIT if state is None else state.limit - state.committed
        if state is None and account in MONEY:
            scope, _, key = account.rpartition("/")[0].partition(":")
            free -= self.books.store.spent_in(scope, key, 0, None)
        amount = min(amount, max(0, free))
        if self._is_live(worker):
            self._sequences[worker] += 1
            limit = LIMIT if state is None else state.limit
            control = self.books.script(CONTROL)
            control.granted(worker, self._sequences[worker], {account: amount}, limit)

    def hold(self, worker: str, account: str, amount: int) -> None:
        """A worker decides: on the organization's account and on another."""
        accounts = [account, WHOLE] if account in {MONTH, PERMITS} else [WHOLE]
        held = {each: 1 if each == PERMITS else amount for each in accounts}
        if account == RUN:
            held[RUN] = FIRST_SLICE
        if any(self._left(worker, each) < held[each] for each in held):
            held = {}
        self._count += 1
        name = f"R{self._count:03d}"
        members: dict[str, object] = {
            "comptroller.run": "r1" if account == RUN else None,
            "comptroller.hold.permits": [each for each in held if each == PERMITS],
            "comptroller.hold.progressive": [each for each in held if each == RUN],
            "comptroller.hold.slice_nano_usd": held.get(RUN, 0),
        }
        whole = [each for each in held if each in {MONTH, WHOLE}]
        self.books.script(worker).held(name, amount, whole, members)
        self._open[worker][name] = held
        self.books.clock.advance(600)

    def extend(self, worker: str, _: str, amount: int) -> None:
        """The oldest stream of a worker goes on, as far as its lease goes."""
        for name, held in self._open[worker].items():
            if RUN in held and self._left(worker, RUN) >= amount:
                held[RUN] += amount
                self.books.script(worker).extended(name, held[RUN])
                return

    def settle(self, worker: str, _: str, amount: int) -> None:
        """The oldest request of a worker ends, at any cost; the dearer are free."""
        if not self._open[worker]:
            return
        name = next(iter(self._open[worker]))
        script = self.books.script(worker)
        if amount > 90:
            script.released(name)
        else:
            script.settled(name, amount, {"input": amount})
        del self._open[worker][name]

    def give_back(self, worker: str, account: str, amount: int) -> None:
        """A worker returns what it does not hold."""
        amount = min(amount, self._left(worker, account))
        self.books.script(worker).returned({account: amount})

    def change(self, _: str, account: str, amount: int) -> None:
        """The limit is declared anew; what is committed stays in force."""
        self._read()
        state = self.books.store.accounts([account]).get(account)
        if state is not None:
            effective = max(amount * 10, state.committed - state.unheld)
            control = self.books.script(CONTROL)
            control.limit_changed(account, amount * 10, effective)

    def bury(self, worker: str, _: str, amount: int) -> None:
        """A worker dies, is read to its end, and another takes its place.

        Or its journal is lost, and a person settles a part of the suspense.
        """
        self._read()
        if worker != W1 or not self._is_live(worker) or amount < 80:
            return
        control = self.books.script(CONTROL)
        for name in self._open[worker]:
            control.abandoned(name, worker)
        self._open[worker].clear()
        self.books.project(CONTROL)
        leases = self.books.store.leases(holder=worker)
        left = {lease.account: lease.left for lease in leases if lease.left}
        if amount < 90:
            control.closed(worker, self.books.journal(worker).offset, left)
            return
        control.suspended(worker, left)
        for account, suspense in left.items():
            control.suspense_settled(worker, account, suspense * (amount - 90) // 10)

    def _read(self) -> None:
        self.books.project(W0, W1, CONTROL)

    def _is_live(self, worker: str) -> bool:
        row = self.books.store.holder(worker)
        return row is not None and row.state == "live"

    def _left(self, worker: str, account: str) -> int:
        self._read()
        leases = self.books.store.leases(holder=worker, account=account)
        left = sum(lease.left for lease in leases)
        return left - sum(held.get(account, 0) for held in self._open[worker].values())


ACTS: list[Callable[[Node, str, str, int], None]] = [
    Node.grant,
    Node.grant,
    Node.hold,
    Node.hold,
    Node.extend,
    Node.settle,
    Node.settle,
    Node.give_back,
    Node.change,
    Node.bury,
]
steps = st.tuples(
    st.sampled_from(ACTS),
    st.sampled_from([W0, W1]),
    st.sampled_from([*MONEY, PERMITS]),
    st.integers(0, 100),
)
reads = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(1, 9)), max_size=12)


def is_read(store: Store, books: Projected, source: str, count: int) -> bool:
    """Reads some records of a journal; whether there were any that it took."""
    position = store.position(source)
    journal = books.journals[source].records
    run = [record for record in journal if record.offset >= position][:count]
    if not run:
        return False
    end = run[-1].offset + len(run[-1].line) + 1
    try:
        store.project(run, JournalPosition(source, end))
    except RecordError:
        return False
    return True


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=10, max_size=50), reads)
def test_both_stores_agree_on_anything(
    acts: list[tuple[Callable[[Node, str, str, int], None], str, str, int]],
    asked: list[tuple[str, int]],
) -> None:
    """Read in any order, in parts of any size: the same is refused, and it adds up.

    And both are what the control process saw, which read everything in its order.
    """
    node = Node()
    for act, worker, account, amount in acts:
        act(node, worker, account, amount)
    node.books.project(*SOURCES[1:], CONTROL)
    with TemporaryDirectory() as folder:
        memory, database = InMemoryStore(), SqliteStore(Path(folder) / "store")
        for source, count in asked:
            said = [
                is_read(each, node.books, source, count) for each in (memory, database)
            ]
            assert said[0] == said[1]
            assert answers(memory) == answers(database)
        for _ in range(3):
            for source in SOURCES:
                for each in (memory, database):
                    is_read(each, node.books, source, 10**6)
        assert answers(memory) == answers(database) == answers(node.books.store)
        assert memory.books_check() == database.books_check() == []
        database.close()


def answers(store: Store) -> tuple[object, ...]:
    """All that a store says of limits."""
    return Projected(store).of_limits()
