"""Closing: what becomes of the leases of holders that are gone.

Never by time. A holder whose journal's lock could be taken is dead: once its journal
is projected to its end and every request in it has an end, what is left of its
leases returns. Where the journal is gone, or a power loss may have taken the end of
it, what is left counts as spent until a named person settles it. While anything
holds the lock, a stopped process too, nothing is done; and where a journal cannot be
read to its end, nothing is done but to say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from comptroller.core.account import is_money
from comptroller.core.errors import JournalUnavailableError, RecordError
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.ledger import LedgerParts
from comptroller.engine.ledger_rows import HolderRow
from comptroller.engine.projection import is_administrative
from comptroller.engine.records import ReturnedLease

LEASES_MAX: Final = 128
"""Leases in one record, so that it fits."""


def close_dead(parts: LedgerParts) -> Sequence[str]:
    """Closes holders that are dead, and suspends those that are lost.

    To be called after the open requests of dead workers were ended.

    Returns:
        What keeps holders from being closed, in words.

    Raises:
        StoreUnavailableError: repeat it.
        JournalUnavailableError: repeat it, unless the control journal has failed.
        RecordError: the control journal cannot be projected; repeat it.
    """
    gone = _gone(parts)
    if not gone:
        return []
    own = parts.journal().source
    present = set(parts.reader.sources())
    if own not in present:
        return [f"the journals are not there: {own} is not among them"]
    # What an earlier attempt recorded counts before anything is recorded again.
    for source in filter(is_administrative, parts.reader.sources()):
        parts.project(source)
    batch = Batch(parts.journal, parts.clock, parts.ids)
    problems = []
    for row in gone:
        try:
            problem = _leave(row, parts, batch, is_present=row.holder in present)
        except (RecordError, JournalUnavailableError) as error:
            problem = error.message
        if problem is not None:
            problems.append(f"leases of {row.holder} are not returned: {problem}")
    if len(batch):
        parts.project(batch.commit())
    return problems


def _gone(parts: LedgerParts) -> list[HolderRow]:
    present = set(parts.reader.sources())
    return [
        row
        for row in parts.store.live_holders()
        if row.holder not in present or parts.reader.is_dead(row.holder)
    ]


def _leave(
    row: HolderRow, parts: LedgerParts, batch: Batch, *, is_present: bool
) -> str | None:
    """Adds the records of a holder that is gone; or says why it cannot be closed."""
    holder = row.holder
    if is_present:
        parts.project(holder)
        if parts.reader.read(holder, parts.store.position(holder), 1):
            return "its journal is not projected to its end"
    if parts.store.open_requests(holder):
        return None  # recovery ends them first, and says so when it cannot
    left = [
        ReturnedLease(account=lease.account, amount=lease.left)
        for lease in parts.store.leases(holder=holder)
        if lease.left > 0
    ]
    if not is_present:
        _suspend(holder, "its journal is gone", left, batch)
    elif row.durability == "process" and row.boot != parts.boot:
        # Nothing is under way any more where the machine was started anew.
        permits = [lease for lease in left if not is_money(lease.account)]
        money = [lease for lease in left if is_money(lease.account)]
        _close(holder, parts.store.position(holder), permits, batch, is_last=False)
        _suspend(holder, "the machine stopped before it was on disk", money, batch)
    else:
        position = parts.store.position(holder)
        _close(holder, position, left, batch, is_last=True)
    return None


def _close(
    holder: str,
    position: int,
    left: list[ReturnedLease],
    batch: Batch,
    *,
    is_last: bool,
) -> None:
    for part, ends in _parts_of(left):
        data = records.LeaseClosed(
            holder=holder, position=position, returns=part, is_last=ends and is_last
        )
        batch.add(records.LEASE_CLOSED, f"holder{holder}", data)


def _suspend(holder: str, why: str, left: list[ReturnedLease], batch: Batch) -> None:
    for part, ends in _parts_of(left):
        data = records.LeaseSuspended(
            holder=holder, reason=why, leases=part, is_last=ends
        )
        batch.add(records.LEASE_SUSPENDED, f"holder{holder}", data)


def _parts_of(left: list[ReturnedLease]) -> list[tuple[list[ReturnedLease], bool]]:
    """The leases as they fit into records, with whether it is the last one."""
    begins = range(0, max(1, len(left)), LEASES_MAX)
    return [(left[begin : begin + LEASES_MAX], begin == begins[-1]) for begin in begins]
