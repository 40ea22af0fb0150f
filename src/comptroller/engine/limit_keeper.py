"""Limits as they change: lowered step by step, thresholds told, incidents recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from comptroller.core.account import parse_account
from comptroller.core.books import AccountState
from comptroller.core.budget_path import Limited
from comptroller.core.errors import StoreUnavailableError
from comptroller.core.thresholds import is_reached, reached_percent
from comptroller.engine import records
from comptroller.engine.allotment import note_limit
from comptroller.engine.batch import Batch
from comptroller.engine.declared import Declared
from comptroller.engine.ports import Clock, Store
from comptroller.engine.recalls import Recalls

RECALL_EVERY_S: Final = 1.0
"""While more is leased than a limit allows."""
EXCESSES_EVERY_S: Final = 2.0
"""While no account moved: a request may exceed its hold without any limit, too."""
STEP: Final = 1000
"""Accounts looked at in one go."""
KNOWN_MAX: Final = 10_000
_RUN: Final = "run:"


class LimitKeeper:
    """Follows what is declared, and what was spent.

    A limit that was lowered below what is committed takes effect as leases come
    back; until then nothing is granted from the account. A limit that is not
    declared any more leaves its account as it was: nothing is granted from it, what
    holders still have of it is asked back, and what is spent is booked to its end.
    """

    def __init__(
        self, store: Store, declared: Declared, recalls: Recalls, clock: Clock
    ) -> None:
        self._store = store
        self._declared = declared
        self._recalls = recalls
        self._clock = clock
        self._revision = 0
        self._unsettled: dict[str, None] = {}
        """Accounts whose limit is not yet as declared, in the order to look at."""
        self._moved: dict[str, None] = {}
        """Accounts whose thresholds are to be looked at."""
        self._alerted: dict[str, frozenset[int]] = {}
        self._reached: dict[str, int] = {}
        """By account: the highest share at which it changes the model, if any is."""
        self.is_reached_news: bool = False
        """Whether what the workers know of such shares may be so no more."""
        self._recalled_s = 0.0
        self._excesses_s = 0.0

    def tick(self, batch: Batch) -> None:
        """Adds the records that are due to a batch, which is written at once.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        try:
            self._look(batch)
        except StoreUnavailableError:
            # What was taken off the lists is not written: look at all again.
            self._revision = 0
            self._alerted.clear()
            raise

    def _look(self, batch: Batch) -> None:
        moved = self._store.take_moved()
        if moved is not None:
            self._moved.update(_but_runs(moved))
        if moved is None or self._revision != self._declared.revision:
            every = [one.id for one in self._store.accounts_of(self._clock.now_ns())]
            others = _but_runs(every)
            self._unsettled.update(others)
            self._unsettled.update(dict.fromkeys(every))
            self._moved.update(others)
            self._revision = self._declared.revision
        now_s = self._clock.monotonic_s()
        self._settle_limits(batch, now_s)
        is_quiet = moved is not None and not moved
        self._tell_thresholds(batch)
        if not is_quiet or now_s - self._excesses_s >= EXCESSES_EVERY_S:
            self._excesses_s = now_s
            self._record_excesses(batch)

    def _settle_limits(self, batch: Batch, now_s: float) -> None:
        recalls = now_s - self._recalled_s >= RECALL_EVERY_S
        for state in self._next(self._unsettled):
            limited = self._declared.limit(parse_account(state.id))
            if limited is None:
                is_settled = not state.leased
            else:
                effective = note_limit(state, limited.limit, batch)
                is_settled = effective == limited.limit
            if is_settled:
                continue
            self._unsettled[state.id] = None
            if recalls:
                self._recalled_s = now_s
                for lease in self._store.leases(account=state.id):
                    if lease.left > 0:
                        self._recalls.recall(lease.holder, state.id)

    def _tell_thresholds(self, batch: Batch) -> None:
        for state in self._next(self._moved):
            account = parse_account(state.id)
            limited = self._declared.limit(account)
            if limited is None or limited.limit <= 0 or not account.is_money:
                continue
            self._note_reached(state, limited)
            uses = {one.percent: str(one.use) for one in limited.on_threshold}
            crossed = {
                percent
                for percent in (*limited.alert_at_percent, *uses)
                if is_reached(state.spent, limited.limit, percent)
            }
            if crossed - self._alerted.get(state.id, frozenset()):
                known = self._store.alerted(state.id)
                for percent in sorted(crossed - known):
                    data = records.ThresholdCrossed(
                        account=state.id,
                        percent=percent,
                        spent_nano_usd=state.spent,
                        limit_nano_usd=limited.limit,
                        use=uses.get(percent),
                    )
                    subject = f"account/{state.id}"
                    batch.add(records.THRESHOLD_CROSSED, subject, data)
                if len(self._alerted) >= KNOWN_MAX:
                    self._alerted.clear()
                self._alerted[state.id] = known | crossed

    def _note_reached(self, state: AccountState, limited: Limited) -> None:
        percent = reached_percent(limited, state.spent)
        if percent == self._reached.get(state.id, 0):
            return
        self.is_reached_news = True
        if len(self._reached) >= KNOWN_MAX:
            self._reached.clear()
        self._reached[state.id] = percent

    def _record_excesses(self, batch: Batch) -> None:
        for row in self._store.excesses():
            data = records.HoldExceeded(
                decision_id=row.request_id,
                service=row.service,
                model=row.model,
                hold_nano_usd=row.hold_nano_usd,
                cost_nano_usd=row.cost_nano_usd,
            )
            batch.add(records.HOLD_EXCEEDED, f"request/{row.request_id}", data)

    def _next(self, names: dict[str, None]) -> Iterable[AccountState]:
        """The first accounts of a list, which are taken from it."""
        first = list(names)[:STEP]
        states = self._store.accounts(first) if first else {}
        for name in first:
            del names[name]
        return states.values()


def _but_runs(accounts: Iterable[str]) -> dict[str, None]:
    """Accounts that may have thresholds, and whose limits are looked at first.

    Clients name runs, a million of them if they like.
    """
    return dict.fromkeys(one for one in accounts if not one.startswith(_RUN))
