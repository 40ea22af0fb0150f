"""A scripted centre: grants leases in memory, late, twice or never, as a test says.

It books what it grants and what comes back, and nothing else: what the real ledger
does with records and journals is tested with the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from comptroller.core.gcra import Bucket
from comptroller.core.granting import grant
from comptroller.engine import records
from comptroller.engine.leasing import (
    AskLeases,
    Granted,
    Lack,
    Leased,
    RateGranted,
    RateNeed,
)
from comptroller.engine.ports import Timers
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.system import FakeClock

SLICE_VALID_S = 1.0
_PER_S = 1e9


class _Line(msgspec.Struct):
    """What is read of a record."""

    type: str
    data: msgspec.Raw


class ScriptedCentre:
    """What may be spent of every account, and what holders were granted."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.limits: dict[str, int] = {}
        """By account; what is not here has no room at all."""
        self.buckets: dict[str, Bucket] = {}
        """By rate limit."""
        self.spent: dict[str, int] = {}
        self.granted: dict[tuple[str, str], int] = {}
        """By holder and account, all that ever was."""
        self.returned: dict[tuple[str, str], int] = {}
        self.consumed: dict[tuple[str, str], int] = {}
        """As the test says."""
        self.holders: set[str] = set()
        self.is_rating = True
        """Whether it hands out units of rates."""
        self.on_recall: dict[str, Callable[[Sequence[str]], None]] = {}
        """By holder: how to ask it for what is idle."""
        self._answers: dict[str, Leased] = {}

    def free(self, account: str) -> int:
        """What may still be granted."""
        committed = self.spent.get(account, 0) + self.leased(account)
        return self.limits.get(account, 0) - committed

    def leased(self, account: str) -> int:
        """What holders have of an account, held or not."""
        keys = [key for key in self.granted if key[1] == account]
        return sum(self.left(*key) for key in keys)

    def left(self, holder: str, account: str) -> int:
        """What one holder has of an account, held or not."""
        key = holder, account
        gone = self.returned.get(key, 0) + self.consumed.get(key, 0)
        return self.granted.get(key, 0) - gone

    def consume(self, holder: str, account: str, amount: int) -> None:
        """A request of a holder ended, and so much of its lease is spent."""
        key = holder, account
        self.consumed[key] = self.consumed.get(key, 0) + amount
        self.spent[account] = self.spent.get(account, 0) + amount

    def give_back(self, holder: str, account: str, amount: int) -> None:
        """A holder recorded that it returned so much."""
        key = holder, account
        self.returned[key] = self.returned.get(key, 0) + amount

    def recall(self, asked: AskLeases) -> bool:
        """Asks all other holders for what an ask is short of; whether it is.

        Nobody is asked when all that others have would not be enough.
        """
        lacking = {
            need.account: need.amount - self.free(need.account)
            for need in asked.needs
            if need.amount > self.free(need.account)
        }
        for account, amount in lacking.items():
            others = self.leased(account) - self.left(asked.holder, account)
            if others < amount:
                return False
        for holder, on_recall in self.on_recall.items():
            if lacking and holder != asked.holder:
                on_recall(list(lacking))
        return len(lacking) > 0

    def answer(self, asked: AskLeases) -> Leased:
        """Grants what there is; the same for a repeat."""
        last = self._answers.get(asked.holder)
        if last is not None and asked.sequence <= last.sequence:
            return last
        self.holders.add(asked.holder)
        grants: list[Granted] = []
        lacks: list[Lack] = []
        for need in asked.needs:
            free = self.free(need.account)
            amount = grant(free, need.amount, need.want, len(self.holders))
            if amount:
                key = asked.holder, need.account
                self.granted[key] = self.granted.get(key, 0) + amount
                grants.append(Granted(need.account, amount))
            elif need.amount:
                lacks.append(self._lack(need.account, free))
        now_ns = self.clock.now_ns()
        for refund in asked.refunds:
            self.buckets[refund.limit].refund(now_ns, refund.units)
        is_rating = self.is_rating and not lacks
        rates = [self._rate(need) for need in asked.rates if is_rating]
        leased = Leased(asked.sequence, grants, lacks, rates)
        self._answers[asked.holder] = leased
        return leased

    def _lack(self, account: str, free: int) -> Lack:
        leased = self.leased(account)
        spent = self.spent.get(account, 0)
        limit = self.limits.get(account, 0)
        return Lack(account, limit, spent, leased, 0, max(0, free), None)

    def _rate(self, need: RateNeed) -> RateGranted:
        now_ns = self.clock.now_ns()
        bucket = self.buckets[need.limit]
        units = need.units
        if bucket.count >= 20 * bucket.period_s:
            quota = bucket.count // bucket.period_s
            ahead = min(need.want, quota, bucket.remaining(now_ns))
            units = max(units, ahead)
        wait_ns = bucket.wait_ns(now_ns, units)
        if wait_ns or not bucket.take(now_ns, units):
            units = 0
        return RateGranted(
            need.limit,
            units,
            SLICE_VALID_S,
            bucket.count,
            bucket.remaining(now_ns),
            bucket.reset_ns(now_ns) / _PER_S,
            wait_ns / _PER_S if wait_ns >= 0 else -1.0,
        )


class ScriptedDesk:
    """The LeaseDesk port of one holder, on a centre that all holders share.

    Args:
        centre: who answers.
        timers: for delays.
        journal: of the holder; the centre reads its returns there when it is told.
    """

    def __init__(
        self, centre: ScriptedCentre, timers: Timers, journal: InMemoryJournal
    ) -> None:
        self._centre = centre
        self._timers = timers
        self._journal = journal
        self._read = 0
        self.delay_s = 0.001
        """From an ask to its answer."""
        self.timeout_s = 0.5
        """After so long, an answer that was lost is known not to come."""
        self.lose_asks = 0
        """So many of the next asks do not arrive."""
        self.lose_answers = 0
        """So many of the next answers do not arrive."""
        self.recall_s = 0.0
        """What the centre waits for others to return; 0: it does not ask them."""
        self.is_down = False
        self.is_fenced = False
        self.asked: list[AskLeases] = []
        """All that were sent."""
        self.told = 0
        """How often it was said that something was returned."""

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Asks once; see the port."""
        self.asked.append(asked)
        if self.is_down or self.lose_asks:
            self.lose_asks = max(0, self.lose_asks - 1)
            self._timers.call_later(self.timeout_s, partial(on_answer, None))
            return
        half_s = self.delay_s / 2
        self._timers.call_later(half_s, partial(self._arrived, asked, on_answer))

    def returned(self) -> None:
        """Reads what was recorded since the last time."""
        self.told += 1
        if self.is_down:
            return
        for record in self._journal.records[self._read :]:
            line = msgspec.json.decode(record.line, type=_Line)
            if line.type == records.LEASE_RETURNED:
                data = msgspec.json.decode(line.data, type=records.LeaseReturned)
                for one in data.returns:
                    self._centre.give_back(
                        self._journal.source, one.account, one.amount
                    )
        self._read = len(self._journal.records)

    def _arrived(
        self, asked: AskLeases, on_answer: Callable[[Leased | None], None]
    ) -> None:
        if self.recall_s and self._centre.recall(asked):
            answer = partial(self._answer, asked, on_answer)
            self._timers.call_later(self.recall_s, answer)
        else:
            self._answer(asked, on_answer)

    def _answer(
        self, asked: AskLeases, on_answer: Callable[[Leased | None], None]
    ) -> None:
        if self.is_fenced:
            leased = Leased(asked.sequence, [], [], [], is_fenced=True)
        else:
            leased = self._centre.answer(asked)
        half_s = self.delay_s / 2
        if self.lose_answers:
            self.lose_answers -= 1
            self._timers.call_later(self.timeout_s, partial(on_answer, None))
        else:
            self._timers.call_later(half_s, partial(on_answer, leased))
