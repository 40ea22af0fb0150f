"""Bookkeeping: what the records of a journal mean for the books of limits.

Every store books through this, so they cannot disagree about it. Within one run of
records all endings come first, then the rows of its requests are written, then what
happened to the ledger, in the order of the journal: an account that is opened finds
what was spent in its window before, and each request of it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from comptroller.core.account import parse_account
from comptroller.core.books import Books, Ending, Grant, Shelf
from comptroller.core.errors import RecordError
from comptroller.engine import records
from comptroller.engine.fold import LedgerAct
from comptroller.engine.ledger_rows import (
    AlertRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)

LIVE: Final = "live"
CLOSED: Final = "closed"
SUSPENDED: Final = "suspended"


class LedgerShelf(Shelf, Protocol):
    """Where the rows of the ledger are kept, as of the run that is projected."""

    def position(self, source: str) -> int:
        """The offset up to which a source was projected before this run."""

    def holder(self, holder: str) -> HolderRow | None:
        """A holder's row."""

    def keep_holder(self, row: HolderRow) -> None:
        """Keeps a new holder, or what became of one."""

    def note_alert(self, row: AlertRow) -> None:
        """Keeps the crossing of a threshold; the first one of a percentage counts."""

    def note_incident(self, row: IncidentRow) -> None:
        """Keeps an incident; the first one of a request counts."""

    def note_settlement(self, row: SettlementRow) -> None:
        """Keeps what a named person said."""


class Bookkeeping:
    """Books one run of records of one source.

    Who calls this makes it all or nothing: after an error the shelf's rows are as
    they were before the run.
    """

    def __init__(self, shelf: LedgerShelf, source: str) -> None:
        self._shelf = shelf
        self._source = source
        self._books = Books(shelf)

    def end(self, ending: Ending) -> None:
        """Books the end of an allowed request; its first end only."""
        self._books.end(ending)

    def act_all(self, acts: Sequence[LedgerAct]) -> None:
        """Books what happened to the ledger, in the order of the journal.

        Raises:
            RecordError: it does not follow from what was projected before, or it
                waits for another journal; with its place.
        """
        for act in acts:
            try:
                self._act(act)
            except RecordError as error:
                raise RecordError(
                    f"journal {self._source}, byte {act.offset}: {error}"
                ) from error

    def _act(self, act: LedgerAct) -> None:
        match act.data:
            case records.LeaseGranted() as granted:
                self._grant(granted)
            case records.LeaseReturned() as data:
                self._books.give_back(self._source, _amounts(data.returns))
            case records.HolderJoined() as joined:
                self._join(joined)
            case records.LeaseClosed() as closed:
                self._close(closed)
            case records.LeaseSuspended() as data:
                self._leave(data.holder, SUSPENDED if data.is_last else LIVE)
                self._books.suspend(data.holder, _amounts(data.leases))
            case records.SuspenseSettled() as settled:
                self._settle(settled, act.time_ns)
            case records.LimitChanged() as data:
                self._books.change_limit(data.account, data.limit, data.effective)
            case records.ThresholdCrossed() as data:
                spent, limit = data.spent_nano_usd, data.limit_nano_usd
                row = AlertRow(data.account, data.percent, act.time_ns, spent, limit)
                self._shelf.note_alert(row)
            case records.HoldExceeded() as data:
                self._shelf.note_incident(
                    IncidentRow(
                        data.decision_id,
                        act.time_ns,
                        data.service,
                        data.model,
                        data.hold_nano_usd,
                        data.cost_nano_usd,
                    )
                )

    def _join(self, joined: records.HolderJoined) -> None:
        if self._shelf.holder(joined.holder) is None:
            row = HolderRow(joined.holder, 0, joined.boot, joined.durability, LIVE, ())
            self._shelf.keep_holder(row)

    def _grant(self, granted: records.LeaseGranted) -> None:
        before = self._live(granted.holder)
        if granted.sequence <= before.sequence:
            raise RecordError(
                f"{granted.holder} was granted before what it asks as its number"
                f" {granted.sequence}"
            )
        self._books.grant(granted.holder, [_grant(one) for one in granted.grants])
        last = tuple((one.account, one.amount) for one in granted.grants)
        self._shelf.keep_holder(
            before._replace(sequence=granted.sequence, last_grants=last)
        )

    def _close(self, closed: records.LeaseClosed) -> None:
        position = self._shelf.position(closed.holder)
        if position < closed.position:
            raise RecordError(
                f"{closed.holder} was closed at byte {closed.position} of its journal,"
                f" which is projected up to {position}; it has to be read first"
            )
        self._leave(closed.holder, CLOSED if closed.is_last else LIVE)
        self._books.give_back(closed.holder, _amounts(closed.returns))

    def _settle(self, settled: records.SuspenseSettled, time_ns: int) -> None:
        self._books.settle_suspense(
            settled.holder, settled.account, settled.spent_nano_usd
        )
        self._shelf.note_settlement(
            SettlementRow(
                settled.holder,
                settled.account,
                settled.spent_nano_usd,
                time_ns,
                settled.actor.person,
                settled.actor.account,
                settled.reason,
            )
        )

    def _leave(self, holder: str, state: str) -> None:
        self._shelf.keep_holder(self._live(holder)._replace(state=state))

    def _live(self, holder: str) -> HolderRow:
        row = self._shelf.holder(holder)
        if row is None:
            raise RecordError(f"holder {holder} never joined")
        if row.state != LIVE:
            raise RecordError(f"holder {holder} is {row.state}")
        return row


def _grant(lease: records.GrantedLease) -> Grant:
    """What was granted.

    Raises:
        RecordError: its account has no name, or its amount is below 0.
    """
    try:
        parse_account(lease.account)
    except ValueError as error:
        raise RecordError(str(error)) from error
    return Grant(
        lease.account,
        _amount(lease.amount),
        lease.limit,
        lease.starts_ns,
        lease.ends_ns,
    )


def _amounts(leases: Sequence[records.ReturnedLease]) -> list[tuple[str, int]]:
    return [(one.account, _amount(one.amount)) for one in leases]


def _amount(amount: int) -> int:
    """An amount that was granted or returned.

    Raises:
        RecordError: it is below 0, which would make the one the other.
    """
    if amount < 0:
        raise RecordError(f"an amount cannot be {amount}")
    return amount
