"""The ledger: the one writer that grants leases, as the control process's part of it.

Workers ask, and are answered out of what the journals say: everything that makes a
lease larger is recorded durably here before the answer goes out, and everything that
makes one smaller comes through the holder's own journal. When an account is short,
the other holders are asked for what is idle there, for a moment, before somebody is
refused. There is no loop in here: the clock and the timers are ports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from comptroller.core.errors import (
    ComptrollerError,
    InvalidArgumentError,
    JournalUnavailableError,
    RecordError,
    StoreUnavailableError,
)
from comptroller.engine import records
from comptroller.engine.allotment import Allotment, Share, check
from comptroller.engine.batch import Batch
from comptroller.engine.bookkeeping import LIVE
from comptroller.engine.declared import Declared
from comptroller.engine.leasing import AskLeases, Granted, Leased, LeaseNeed
from comptroller.engine.ledger_rows import (
    HolderRow,
)
from comptroller.engine.limit_keeper import LimitKeeper
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Ids,
    JournalReader,
    Store,
    Timers,
)
from comptroller.engine.projection import is_administrative
from comptroller.engine.rate_keeper import RateKeeper
from comptroller.engine.recalls import OnRecall, Recalls

RECALL_WAIT_S: Final = 0.1
"""How long an ask waits for what others return, before it is answered with a lack."""
BUSY_S: Final = 0.3
"""So long after an ask the ledger counts as busy."""
LOOK_EVERY_S: Final = 0.5
"""A holder's journal is projected for its refusals once in this time."""
ANSWERS_MAX: Final = 512

OnLeased: TypeAlias = Callable[[Leased | None], None]
"""Told of the answer; None: there is none now, the ask may be repeated."""

_UNAVAILABLE: Final = (StoreUnavailableError, JournalUnavailableError, RecordError)


class LedgerParts(NamedTuple):
    """What the ledger works with; bootstrap fills it in."""

    store: Store
    reader: JournalReader
    journal: Callable[[], DurableJournal]
    """The control journal; opened at the first record."""
    project: Callable[[str], None]
    """Projects one source's journal to where it ends now."""
    clock: Clock
    ids: Ids
    boot: str
    """Id of this boot of the machine; empty: unknown."""


@dataclass(slots=True)
class _Pending:
    """An ask that is not answered yet."""

    asked: AskLeases
    replies: list[OnLeased]
    awaited: set[str] = field(default_factory=set)
    """Holders that were asked to return something, and have not answered."""
    has_recalled: bool = False
    is_over: bool = False
    """It has waited long enough: it is answered as things are."""


class Ledger:
    """Grants leases and units, for the process that holds the control lock."""

    def __init__(self, parts: LedgerParts, timers: Timers) -> None:
        self._parts = parts
        self._timers = timers
        self._declared = Declared(parts.store)
        self._recalls = Recalls(timers)
        self._rates = RateKeeper(parts.clock, parts.store, parts.reader, self._declared)
        self._limits = LimitKeeper(
            parts.store, self._declared, self._recalls, parts.clock
        )
        self._pending: dict[str, _Pending] = {}
        self._answers: dict[str, Leased] = {}
        """By holder: the last answer, for a repeat."""
        self._looked_s: dict[str, float] = {}
        self._is_due = False
        self._asked_s = -BUSY_S
        self.failed: ComptrollerError | None = None
        """What was recorded and could not be projected: only a new process, which
        does that first, may go on."""
        self.trouble: ComptrollerError | None = None
        """Why the store would not take a record now; asks are not answered then."""

    @property
    def is_busy(self) -> bool:
        """Whether somebody asked within the last moments."""
        return self._parts.clock.monotonic_s() - self._asked_s < BUSY_S

    @property
    def is_reached_news(self) -> bool:
        """Whether what the workers know of reached thresholds may be so no more."""
        return self._limits.is_reached_news

    def reached_told(self) -> None:
        """The workers have been told what is reached now."""
        self._limits.is_reached_news = False

    def ask(self, asked: AskLeases, reply: OnLeased) -> None:
        """Answers an ask, at once or within about RECALL_WAIT_S.

        Args:
            asked: the ask. A repeat is answered as the first was.
            reply: called once with the answer; with None when the store or the
                journal failed meanwhile.

        Raises:
            InvalidArgumentError: no worker asks this.
            StoreUnavailableError: the store does not answer.
            JournalUnavailableError: the journal does not.
        """
        self._asked_s = self._parts.clock.monotonic_s()
        self._require_sound()
        check(asked)
        if is_administrative(asked.holder):
            raise InvalidArgumentError(f"{asked.holder} is not a worker's journal")
        row = self._parts.store.holder(asked.holder)
        if not self._may_hold(asked.holder, row):
            reply(Leased(asked.sequence, [], [], [], is_fenced=True))
            return
        repeat = self._repeated(asked, row)
        if repeat is not None:
            reply(repeat)
            return
        pending = self._pending.get(asked.holder)
        if pending is not None and pending.asked.sequence == asked.sequence:
            pending.replies.append(reply)
            return
        if pending is not None:
            self._give_up(pending)
        self._pending[asked.holder] = _Pending(asked, [reply])
        self._schedule()

    def await_recall(self, holder: str, reply: OnRecall) -> None:
        """Tells a holder what is needed elsewhere, as soon as something is."""
        self._recalls.listen(holder, reply)

    def returned(self, holder: str) -> None:
        """A holder recorded what it returns, or had nothing to return."""
        if self.failed is not None or is_administrative(holder):
            return
        try:
            self._parts.project(holder)
        except _UNAVAILABLE:
            return  # the projection, which meets it again, says so
        for pending in self._pending.values():
            pending.awaited.discard(holder)
        if self._pending:
            self._schedule()

    def tick(self) -> None:
        """Does what is due: limits, thresholds, incidents; cheap when nothing is.

        Raises:
            StoreUnavailableError: nothing was changed; repeat it.
            JournalUnavailableError: see `failed`.
            RecordError: see `failed`.
        """
        self._require_sound()
        self._declared.refresh()
        self._rates.tick()
        batch = self._batch()
        self._limits.tick(batch)
        self._commit(batch)
        self._recalls.tell_all()
        if self._pending:
            self._schedule()

    # -- asks --------------------------------------------------------------------

    def _may_hold(self, holder: str, row: HolderRow | None) -> bool:
        """Whether a holder is in the books, or may be, and its process lives."""
        if row is None and holder not in self._parts.reader.sources():
            return False
        if row is not None and row.state != LIVE:
            return False
        return not self._parts.reader.is_dead(holder)

    def _repeated(self, asked: AskLeases, row: HolderRow | None) -> Leased | None:
        """The answer to an ask that was answered before; None: it was not.

        One that comes late, after the next one, gets nothing more: its holder does
        not listen for an answer to it any more.
        """
        last = self._answers.get(asked.holder)
        if last is not None and last.sequence == asked.sequence:
            return last
        pending = self._pending.get(asked.holder)
        is_late = (last is not None and asked.sequence < last.sequence) or (
            pending is not None and asked.sequence < pending.asked.sequence
        )
        if not is_late and (row is None or asked.sequence > row.sequence):
            return None
        grants: list[Granted] = []
        if row is not None and asked.sequence == row.sequence:
            grants = [Granted(account, amount) for account, amount in row.last_grants]
        return Leased(asked.sequence, grants, [], [])

    def _schedule(self) -> None:
        """Answers together what came together."""
        if not self._is_due:
            self._is_due = True
            self._timers.call_later(0, self._answer_all)

    def _answer_all(self) -> None:
        self._is_due = False
        if self.failed is None:
            try:
                self._serve()
            except _UNAVAILABLE:
                pass  # whoever asked is told that there is no answer
            else:
                return
        for pending in list(self._pending.values()):
            self._give_up(pending)

    def _serve(self) -> None:
        self._require_sound()
        self._declared.refresh()
        holders = self._parts.store.live_holders()
        live = {row.holder for row in holders}
        count = len(live | set(self._pending))
        allotment = Allotment(
            self._parts.store,
            self._declared,
            self._parts.clock.now_ns(),
            count,
            {need.account for need in self._waited_for()},
        )
        batch = self._batch()
        served: list[tuple[_Pending, Share]] = []
        for pending in list(self._pending.values()):
            is_new = pending.asked.holder not in live
            if is_new and self._parts.store.holder(pending.asked.holder) is not None:
                self._fence(pending)  # it died, and was closed while it waited
                continue
            share = allotment.share(pending.asked.needs)
            if share.short and self._look_closer(pending.asked.holder):
                allotment.look_again(share.short)
                share = allotment.share(pending.asked.needs)
            if share.short and self._waits(pending, share):
                continue
            allotment.take(share, batch)
            self._record(pending.asked, share, batch, is_new=is_new)
            served.append((pending, share))
        self._commit(batch)
        for pending, share in served:
            self._answer(pending, share, count)
        self._recalls.tell_all()
        self._forget(live)

    def _look_closer(self, holder: str) -> bool:
        """Projects the asker's own journal, so that a refusal has figures of now."""
        now_s = self._parts.clock.monotonic_s()
        if now_s - self._looked_s.get(holder, -LOOK_EVERY_S) < LOOK_EVERY_S:
            return False
        self._looked_s[holder] = now_s
        try:
            self._parts.project(holder)
        except RecordError:
            return False  # the projection, which meets it again, says so
        return True

    def _waited_for(self) -> list[LeaseNeed]:
        return [
            need
            for pending in self._pending.values()
            if pending.has_recalled
            for need in pending.asked.needs
            if need.amount
        ]

    def _waits(self, pending: _Pending, share: Share) -> bool:
        """Whether others may return what an ask is short of; asks them once."""
        if pending.is_over:
            return False
        if not pending.has_recalled:
            pending.has_recalled = True
            pending.awaited = self._recall(pending.asked.holder, share)
            self._timers.call_later(RECALL_WAIT_S, lambda: self._expire(pending))
        return bool(pending.awaited)

    def _recall(self, holder: str, share: Share) -> set[str]:
        """Asks others for what is idle.

        Returns:
            Whom; nobody, when all that others have would not be enough.
        """
        leases = {
            account: [
                lease
                for lease in self._parts.store.leases(account=account)
                if lease.holder != holder and lease.left > 0
            ]
            for account in share.short
        }
        hopeless = {
            account
            for account, short in share.short.items()
            if sum(lease.left for lease in leases[account]) < short
        }
        if hopeless:
            # The others do not lack: what is short there could be called back.
            fine = share.short.keys() - hopeless
            share.lacks = [one for one in share.lacks if one.account not in fine]
            return set()
        for account, others in leases.items():
            for lease in others:
                self._recalls.recall(lease.holder, account)
        return {lease.holder for others in leases.values() for lease in others}

    def _expire(self, pending: _Pending) -> None:
        pending.is_over = True
        if self._pending.get(pending.asked.holder) is pending:
            self._schedule()

    def _record(
        self, asked: AskLeases, share: Share, batch: Batch, *, is_new: bool
    ) -> None:
        subject = f"holder{asked.holder}"
        if is_new:
            joined = records.HolderJoined(
                holder=asked.holder, boot=asked.boot, durability=asked.durability
            )
            batch.add(records.HOLDER_JOINED, subject, joined)
        if share.grants:
            granted = records.LeaseGranted(
                holder=asked.holder, sequence=asked.sequence, grants=share.grants
            )
            batch.add(records.LEASE_GRANTED, subject, granted)

    def _answer(self, pending: _Pending, share: Share, holders: int) -> None:
        asked = pending.asked
        rates = []
        for refund in asked.refunds:
            self._rates.refund(refund)
        # Who is refused for an account would only waste units that others need.
        if self._rates.is_ready and not share.lacks:
            rates = [self._rates.grant(need, holders) for need in asked.rates]
        answer = Leased(asked.sequence, share.granted(), share.lacks, rates)
        self._answers[asked.holder] = answer
        del self._pending[asked.holder]
        for reply in pending.replies:
            reply(answer)

    def _fence(self, pending: _Pending) -> None:
        del self._pending[pending.asked.holder]
        for reply in pending.replies:
            reply(Leased(pending.asked.sequence, [], [], [], is_fenced=True))

    def _give_up(self, pending: _Pending) -> None:
        if self._pending.get(pending.asked.holder) is pending:
            del self._pending[pending.asked.holder]
        for reply in pending.replies:
            reply(None)

    # -- records -----------------------------------------------------------------

    def _batch(self) -> Batch:
        return Batch(self._parts.journal, self._parts.clock, self._parts.ids)

    def _commit(self, batch: Batch) -> None:
        """Makes records durable and projects them, or fails for good."""
        if not len(batch):
            return
        try:
            self._parts.project(batch.commit())
        except _UNAVAILABLE as error:
            self.failed = error
            raise

    def _require_sound(self) -> None:
        error = self.failed or self.trouble
        if error is not None:
            raise error

    def _forget(self, live: set[str]) -> None:
        if len(self._answers) > ANSWERS_MAX:
            self._answers = {
                holder: answer
                for holder, answer in self._answers.items()
                if holder in live
            }
            self._recalls.forget(live)
            self._looked_s.clear()
