"""The books under any interleaving, and read again in any order of journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comptroller.core.account import Account, Where, is_money, parse_account
from comptroller.core.books import AccountState, Books, Ending, Grant
from comptroller.core.errors import RecordError
from comptroller.core.granting import grant
from comptroller.testing.shelf import Ended, InMemoryShelf

CONTROL = "control"
DAY_NS = 100
SERIES = (
    ("organization", "acme", "day"),
    ("service", "a", "total"),
    ("service", "a", "parallel"),
    ("service", "b", "day"),
    ("organization", "acme", "total"),
    ("service", "a", "day"),
    ("run", "a/r1", "total"),
)
"""What can be limited; the first three are from the beginning."""
A = Where("acme", "shop", "web", "a", "c1", None)
WHERES = (A, A._replace(run="r1"), A._replace(service="b", credential="c2"))

picks = st.integers(min_value=0, max_value=1000)
amounts = st.integers(min_value=1, max_value=20)
limits = st.integers(min_value=0, max_value=120)


class Request(NamedTuple):
    """A request under way."""

    holder: str
    where: Where
    decided_ns: int
    held: tuple[tuple[str, int], ...]


class Event(NamedTuple):
    """What one record in a journal does."""

    act: Callable[[Books, InMemoryShelf], None]
    after: tuple[str, int] | None = None
    """A journal that must have been read up to here before."""


def within_limit(state: AccountState) -> bool:
    return (
        state.settled + state.leased + state.suspense - state.unheld <= state.effective
    )


def replay(journals: dict[str, list[Event]], turns: Sequence[int]) -> InMemoryShelf:
    """Reads all journals anew, each in its own order, the next by turns."""
    shelf = InMemoryShelf()
    read = dict.fromkeys(journals, 0)
    blocked: set[str] = set()
    turn = 0
    while left := [name for name in journals if read[name] < len(journals[name])]:
        ready = [name for name in left if name not in blocked]
        assert ready, "every journal waits for another one"
        name = ready[turns[turn % len(turns)] % len(ready)]
        turn += 1
        event = journals[name][read[name]]
        trial = shelf.copy()
        try:
            if event.after is not None and read[event.after[0]] < event.after[1]:
                raise RecordError  # noqa: TRY301  as the projection does
            event.act(Books(trial), trial)
        except RecordError:
            blocked.add(name)
            continue
        shelf = trial
        read[name] += 1
        blocked.clear()
        assert all(within_limit(each) for each in shelf.accounts())
    return shelf


class BooksMachine(RuleBasedStateMachine):
    """Three workers, a control process, and a model of what is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = InMemoryShelf()
        self.holders = ["w1", "w2", "w3"]
        self.journals: dict[str, list[Event]] = {CONTROL: [], "w1": [], "w2": []}
        self.journals["w3"] = []
        self.now_ns = 1
        self.declared: dict[tuple[str, str, str], int] = dict.fromkeys(SERIES[:3], 100)
        self.declared[SERIES[2]] = 3
        self.open: list[Request] = []
        self.left: Counter[tuple[str, str]] = Counter()
        """By holder and account: what it may still spend."""
        self.suspense: Counter[tuple[str, str]] = Counter()
        self.adjusted: Counter[str] = Counter()
        self.covered: Counter[str] = Counter()
        """By account: what of its spending a lease paid."""
        self.ended: list[Ended] = []
        self.limit: dict[str, int] = {}
        self.effective: dict[str, int] = {}

    # -- the model -----------------------------------------------------------

    def record(
        self,
        journal: str,
        act: Callable[[Books, InMemoryShelf], None],
        after: str | None = None,
    ) -> None:
        """Writes a record, and projects it at once; all or nothing."""
        trial = self.shelf.copy()
        act(Books(trial), trial)
        self.shelf = trial
        position = None if after is None else (after, len(self.journals[after]))
        self.journals[journal].append(Event(act, position))

    def spent(self, account: str) -> int:
        """What ended requests of an account's scope cost, decided in its window."""
        if not is_money(account):
            return 0
        scope, key, _, _ = parse_account(account)
        starts, ends = self.span(account)
        return sum(
            cost
            for where, decided_ns, cost in self.ended
            if (scope, key) in where.scopes()
            and starts <= decided_ns
            and (ends is None or decided_ns < ends)
        )

    def leased(self, account: str) -> int:
        """What workers may still spend of an account."""
        return sum(n for (_, name), n in self.left.items() if name == account)

    def in_suspense(self, account: str) -> int:
        """What lost workers may have spent of an account."""
        return sum(n for (_, name), n in self.suspense.items() if name == account)

    def counted(self, account: str) -> int:
        """What counts against what is in force."""
        paid = self.covered[account] + self.adjusted[account]
        return paid + self.leased(account) + self.in_suspense(account)

    def held(self, holder: str | None, account: str) -> int:
        """What requests under way hold, of one worker or of all."""
        return sum(
            amount
            for each in self.open
            if holder in {None, each.holder}
            for name, amount in each.held
            if name == account
        )

    def span(self, account: str) -> tuple[int, int | None]:
        """From when to when an account's window is."""
        label = parse_account(account).label
        if not label.startswith("d"):
            return 0, None
        starts = int(label[1:]) * DAY_NS
        return starts, starts + DAY_NS

    def account_now(self, series: tuple[str, str, str]) -> str:
        """The account of a series whose window is open."""
        window = series[2]
        labels = {"day": f"d{self.now_ns // DAY_NS}", "total": "all", "parallel": "now"}
        return Account(*series, labels[window]).id

    def free(self, account: str) -> int:
        """What the centre may grant, of an account that may not be there yet."""
        state = self.shelf.account(account)
        if state is not None:
            return state.free
        scope, key, window, _ = parse_account(account)
        return max(0, self.declared[(scope, key, window)] - self.spent(account))

    def grant(self, holder: str, wanted: Sequence[tuple[str, int]]) -> None:
        """The centre grants so much."""
        grants = []
        for account, amount in wanted:
            scope, key, window, _ = parse_account(account)
            limit = self.limit.get(account, self.declared[(scope, key, window)])
            grants.append(Grant(account, amount, limit, *self.span(account)))
        self.record(CONTROL, lambda books, _: books.grant(holder, grants))
        for given in grants:
            self.left[holder, given.account] += given.amount
            if given.account not in self.limit:
                self.limit[given.account] = given.limit
                self.effective[given.account] = given.limit

    def end(self, journal: str, request: Request, cost: int) -> None:
        """A request ends, by the record of its worker or of the control process."""
        ended = Ended(request.where, request.decided_ns, cost)
        ending = Ending(request.holder, *ended, request.held)

        def act(books: Books, shelf: InMemoryShelf) -> None:
            shelf.keep_ended(ended)
            books.end(ending)

        dead = request.holder if journal == CONTROL else None
        self.record(journal, act, after=dead)
        self.ended.append(ended)
        for account, amount in request.held:
            if is_money(account):
                used = min(cost, amount)
                self.left[request.holder, account] -= used
                self.covered[account] += used

    # -- what may happen -----------------------------------------------------

    @rule(who=picks, what=picks, amount=amounts, more=picks)
    def begin(self, who: int, what: int, amount: int, more: int) -> None:
        """A request is held; its worker asks for what it lacks."""
        holder, where = self.holders[who % 3], WHERES[what % len(WHERES)]
        wanted = []
        for series in self.declared:
            if series[:2] in where.scopes():
                account = self.account_now(series)
                wanted.append((account, amount if is_money(account) else 1))
        grants = []
        for account, need in wanted:
            lacks = need - self.left[holder, account] + self.held(holder, account)
            if lacks > 0:
                free = self.free(account)
                given = grant(free, lacks, lacks + more % 30, 3)
                if not given:
                    return
                grants.append((account, given))
        if grants:
            self.grant(holder, grants)
        self.open.append(Request(holder, where, self.now_ns, tuple(wanted)))

    @rule(which=picks, percent=st.integers(min_value=0, max_value=220))
    def settle(self, which: int, percent: int) -> None:
        """A request ends: for nothing, less than its hold, or more than it."""
        if self.open:
            request = self.open.pop(which % len(self.open))
            amount = request.held[0][1] if request.held else 10
            self.end(request.holder, request, amount * percent // 100)

    @rule(which=picks, amount=amounts)
    def give_back(self, which: int, amount: int) -> None:
        """A worker returns something of what none of its requests holds."""
        idle = [
            (key, left - self.held(*key))
            for key, left in sorted(self.left.items())
            if left > self.held(*key) and key[0] in self.holders
        ]
        if idle:
            (holder, account), most = idle[which % len(idle)]
            returns = [(account, min(amount, most))]
            self.record(holder, lambda books, _: books.give_back(holder, returns))
            self.left[holder, account] -= returns[0][1]

    @rule(who=picks)
    def die(self, who: int) -> None:
        """A worker is dead and its journal read: its requests cost their hold."""
        holder = self.holders[who % 3]
        for request in [each for each in self.open if each.holder == holder]:
            self.open.remove(request)
            amount = request.held[0][1] if request.held else 10
            self.end(CONTROL, request, amount)
        self.replace(holder)
        left = self.rest_of(holder)
        self.record(CONTROL, lambda books, _: books.give_back(holder, left), holder)

    @rule(who=picks, spent=picks)
    def lose(self, who: int, spent: int) -> None:
        """A worker is gone with its journal: what it had is in suspense.

        At times somebody says at once what it spent.
        """
        holder = self.holders[who % 3]
        self.open = [each for each in self.open if each.holder != holder]
        self.replace(holder)
        left = self.rest_of(holder)
        self.record(CONTROL, lambda books, _: books.suspend(holder, left))
        for account, amount in left:
            self.suspense[holder, account] += amount
        if spent % 2:
            self.settle_suspense(0, spent)

    def replace(self, holder: str) -> None:
        """Another worker takes a dead one's place."""
        new = holder + "'"
        self.holders[self.holders.index(holder)] = new
        self.journals[new] = []

    def rest_of(self, holder: str) -> list[tuple[str, int]]:
        """Takes what a dead worker had left."""
        rest = [(acc, n) for (h, acc), n in self.left.items() if h == holder and n]
        for account, _ in rest:
            self.left[holder, account] = 0
        return rest

    @rule(which=picks, spent=amounts)
    def settle_suspense(self, which: int, spent: int) -> None:
        """A named person says what a lost worker spent; never more than it had."""
        there = [(key, n) for key, n in sorted(self.suspense.items()) if n]
        if not there:
            return
        (holder, account), most = there[which % len(there)]
        with pytest.raises(RecordError):
            Books(self.shelf).settle_suspense(holder, account, most + 1)
        spent = min(spent, most)
        self.record(
            CONTROL, lambda books, _: books.settle_suspense(holder, account, spent)
        )
        self.suspense[holder, account] = 0
        self.adjusted[account] += spent

    @rule(which=picks, limit=limits)
    def change_limit(self, which: int, limit: int) -> None:
        """A limit is changed; what is committed stays in force while it is more."""
        if not self.limit:
            return
        account = sorted(self.limit)[which % len(self.limit)]
        effective = max(limit, self.counted(account))
        too_low = self.counted(account) - 1
        with pytest.raises(RecordError):
            Books(self.shelf.copy()).change_limit(account, limit, too_low)
        self.record(
            CONTROL, lambda books, _: books.change_limit(account, limit, effective)
        )
        self.limit[account], self.effective[account] = limit, effective

    @rule(who=picks, which=picks, amount=picks)
    def grant_any(self, who: int, which: int, amount: int) -> None:
        """A grant is refused exactly when more would be committed than is in force."""
        if not self.limit:
            return
        account = sorted(self.limit)[which % len(self.limit)]
        room = self.effective[account] - self.counted(account)
        amount = max(0, room - 3 + amount % 7)
        before = self.shelf
        if amount > room:
            with pytest.raises(RecordError):
                self.grant(self.holders[who % 3], [(account, amount)])
            assert self.shelf is before
        else:
            self.grant(self.holders[who % 3], [(account, amount)])

    @rule(which=picks, limit=limits)
    def declare(self, which: int, limit: int) -> None:
        """A budget is declared of which spending is there already."""
        self.declared.setdefault(SERIES[which % len(SERIES)], limit)

    @rule(step=st.integers(min_value=1, max_value=DAY_NS))
    def pass_time(self, step: int) -> None:
        """Days end while requests are under way."""
        self.now_ns += step

    @rule(turns=st.lists(picks, min_size=1, max_size=40))
    def read_again(self, turns: list[int]) -> None:
        """The journals read in any order of turns make the same rows."""
        again = replay(self.journals, turns)
        assert again.accounts() == self.shelf.accounts()
        assert again.leases() == self.shelf.leases()

    def teardown(self) -> None:
        """Reads all journals again in three orders."""
        for turns in ([0], [999], [0, 1, 2]):
            self.read_again(turns)

    # -- what always holds ---------------------------------------------------

    @invariant()
    def nothing_is_over_its_limit(self) -> None:
        """What is spent, held and in suspense is within what is in force."""
        for state in self.shelf.accounts():
            assert within_limit(state)
            assert min(state.settled, state.leased, state.suspense, state.unheld) >= 0
            at_most = state.effective + state.unheld
            held = self.held(None, state.id)
            assert state.settled + held + state.suspense <= at_most
            assert held <= state.leased

    @invariant()
    def the_rows_say_what_happened(self) -> None:
        """Every sum is what the model has counted by itself."""
        for state in self.shelf.accounts():
            spent = self.spent(state.id)
            assert state.settled == spent + self.adjusted[state.id]
            assert state.leased == self.leased(state.id)
            assert state.suspense == self.in_suspense(state.id)
            assert state.unheld == spent - self.covered[state.id]
            assert (state.limit, state.effective) == (
                self.limit[state.id],
                self.effective[state.id],
            )
        for lease in self.shelf.leases():
            key = (lease.holder, lease.account)
            assert (lease.left, lease.suspense) == (self.left[key], self.suspense[key])

    @invariant()
    def leases_sum_up_to_their_account(self) -> None:
        """Accounts and leases tell the same, apart from the model."""
        for state in self.shelf.accounts():
            leases = self.shelf.leases(account=state.id)
            assert state.leased == sum(each.left for each in leases)
            assert state.suspense == sum(each.suspense for each in leases)
            adjusted = sum(each.adjusted for each in leases)
            consumed = sum(each.consumed for each in leases)
            assert state.settled - state.unheld == consumed + adjusted

    @invariant()
    def a_parent_spent_what_its_children_spent(self) -> None:
        """An organization's day is the sum of its services' days."""
        for parent in self.shelf.accounts():
            scope, _, window, label = parse_account(parent.id)
            if (scope, window) != ("organization", "day"):
                continue
            children = [
                self.shelf.account(Account("service", key, window, label).id)
                for key in ("a", "b")
            ]
            there = [each for each in children if each is not None]
            if len(there) == 2:
                parts = sum(each.settled - self.adjusted[each.id] for each in there)
                assert parent.settled - self.adjusted[parent.id] == parts


TestBooks = BooksMachine.TestCase
TestBooks.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
