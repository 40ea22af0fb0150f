"""Fake of the ledger: its rows in memory, its answers worked out from requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from comptroller.core.account import Where, is_money
from comptroller.core.books import AccountState, Ending, LeaseState
from comptroller.core.errors import RecordError
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, Usage, total
from comptroller.engine.auditing import (
    AuditRows,
    Cost,
    contradictions,
    is_within,
    spent_of,
)
from comptroller.engine.bookkeeping import LIVE, SUSPENDED
from comptroller.engine.fold import HeldAccounts
from comptroller.engine.ledger_rows import (
    AdmissionRow,
    AlertRow,
    ExcessRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)
from comptroller.engine.ports import (
    RequestRow,
)
from comptroller.testing.shelf import InMemoryShelf


class Held(NamedTuple):
    """What a request holds, and on what, beside its row."""

    where: Where
    path: HeldAccounts
    slice_nano_usd: int
    usage: Usage

    def ending(self, row: RequestRow, cost: int) -> Ending:
        """What the books are told when it ends."""
        held = self.path.held(row.hold_nano_usd, self.slice_nano_usd)
        return Ending(row.decided_at.source, self.where, row.time_ns, cost, held)


class InMemoryLedger(InMemoryShelf):
    """Rows of the ledger, which can go back to where a run of records began.

    Satisfies `engine.bookkeeping.LedgerShelf`.
    """

    def __init__(self, positions: dict[str, int]) -> None:
        super().__init__()
        self._positions = positions
        self.holders: dict[str, HolderRow] = {}
        self.alerts: dict[tuple[str, int], AlertRow] = {}
        self.incidents: dict[str, IncidentRow] = {}
        self.settlements: list[SettlementRow] = []
        self.begin()

    # -- a run of records ----------------------------------------------------

    def begin(self) -> None:
        """Begins a run: `roll_back` leads here."""
        self._accounts_before: dict[str, AccountState | None] = {}
        self._leases_before: dict[tuple[str, str], LeaseState | None] = {}
        self._before = (
            len(self._ended),
            dict(self.holders),
            dict(self.alerts),
            dict(self.incidents),
            list(self.settlements),
        )

    def roll_back(self) -> None:
        """Makes everything what it was when the run began."""
        for name, state in self._accounts_before.items():
            if state is None:
                self._accounts.pop(name, None)
            else:
                self._accounts[name] = state
        for key, lease in self._leases_before.items():
            if lease is None:
                self._leases.pop(key, None)
            else:
                self._leases[key] = lease
        count, self.holders, self.alerts, self.incidents, self.settlements = (
            self._before
        )
        del self._ended[count:]

    def check(self) -> None:
        """What a database checks of the rows that a run changed.

        Raises:
            RecordError: a sum is not what it may be.
        """
        for name in self._accounts_before:
            state = self._accounts[name]
            lowest = min(state.limit, state.settled, state.suspense)
            over = state.committed - state.unheld - state.effective
            if over > 0 or lowest < 0 or state.effective < state.limit:
                raise RecordError(f"{state} contradicts itself")
        for key in self._leases_before:
            lease = self._leases[key]
            sums = (lease.granted, lease.returned, lease.consumed, lease.suspense)
            if min(*sums, lease.adjusted) < 0:
                raise RecordError(f"{lease} has sums below 0")

    def moved(self) -> list[str]:
        """The accounts of which more, or less, is settled or in suspense now."""
        return [
            name
            for name, before in self._accounts_before.items()
            if before is None or _spent(before) != _spent(self._accounts[name])
        ]

    # -- core.books.Shelf ----------------------------------------------------

    def account(self, account: str) -> AccountState | None:
        """An account's row."""
        state = super().account(account)
        if state is not None and account not in self._accounts_before:
            self._accounts_before[account] = replace(state)
        return state

    def add(self, account: AccountState) -> None:
        """Keeps a new account."""
        super().add(account)
        self._accounts_before.setdefault(account.id, None)

    def lease(self, holder: str, account: str) -> LeaseState:
        """The row of a lease; made, with zeroes, when there is none."""
        key = (holder, account)
        if key not in self._leases_before:
            before = self._leases.get(key)
            self._leases_before[key] = None if before is None else replace(before)
        return super().lease(holder, account)

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """All leases of a holder, on an account, of both or of neither; ordered."""
        found = super().leases(holder=holder, account=account)
        return [self.lease(lease.holder, lease.account) for lease in found]

    def covering(self, where: Where, at_ns: int) -> Sequence[AccountState]:
        """The money accounts there are of these scopes, whose window holds then."""
        found = super().covering(where, at_ns)
        for state in found:
            self.account(state.id)
        return found

    # -- engine.bookkeeping.LedgerShelf --------------------------------------

    def position(self, source: str) -> int:
        """The offset up to which a source was projected before this run."""
        return self._positions.get(source, 0)

    def holder(self, holder: str) -> HolderRow | None:
        """A holder's row."""
        return self.holders.get(holder)

    def keep_holder(self, row: HolderRow) -> None:
        """Keeps a new holder, or what became of one."""
        self.holders[row.holder] = row

    def note_alert(self, row: AlertRow) -> None:
        """Keeps the crossing of a threshold; the first one of a percentage counts."""
        self.alerts.setdefault((row.account, row.percent), row)

    def note_incident(self, row: IncidentRow) -> None:
        """Keeps an incident; the first one of a request counts."""
        self.incidents.setdefault(row.decision_id, row)

    def note_settlement(self, row: SettlementRow) -> None:
        """Keeps what a named person said."""
        self.settlements.append(row)


class InMemoryLedgerReads:
    """What the Ledger port answers, of rows and requests in memory.

    What it hands out does not change any more. Satisfies `engine.ledger_ports.Ledger`.
    """

    def __init__(self) -> None:
        self._positions: dict[str, int] = {}
        self._requests: dict[str, RequestRow] = {}
        self._held: dict[str, Held] = {}
        self._rows = InMemoryLedger(self._positions)
        self._moved: set[str] | None = None

    def accounts(self, ids: Sequence[str]) -> dict[str, AccountState]:
        """The accounts that there are, of these."""
        wanted = set(ids)
        return {
            row.id: replace(row) for row in self._rows.accounts() if row.id in wanted
        }

    def accounts_of(self, now_ns: int | None) -> Sequence[AccountState]:
        """All accounts whose window is open then, by id; None: all that there are."""
        return [
            replace(row)
            for row in self._rows.accounts()
            if now_ns is None or is_within(row, now_ns)
        ]

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """The leases of a holder, of an account, of both, or all; ordered."""
        found = InMemoryShelf.leases(self._rows, holder=holder, account=account)
        return [replace(row) for row in found]

    def holder(self, holder: str) -> HolderRow | None:
        """A holder, whatever its state."""
        return self._rows.holders.get(holder)

    def live_holders(self) -> Sequence[HolderRow]:
        """The holders that are neither closed nor suspended, by name."""
        holders = sorted(self._rows.holders.values())
        return [row for row in holders if row.state == LIVE]

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What the ended requests of a scope cost that were decided in a span."""
        return self._rows.spent_in(scope, key, starts_ns, ends_ns)

    def held_on(self, accounts: Sequence[str]) -> dict[str, int]:
        """What open requests hold on each of these accounts; 0 where none does."""
        held = dict.fromkeys(accounts, 0)
        for (_, account), amount in self._open_holds().items():
            if account in held:
                held[account] += amount
        return held

    def suspense(self) -> Sequence[LeaseState]:
        """The leases of lost holders that a named person has yet to settle."""
        return [lease for lease in self.leases() if lease.suspense]

    def settlements(self) -> Sequence[SettlementRow]:
        """Every suspense that a named person settled, oldest first."""
        rows = self._rows.settlements
        return sorted(rows, key=lambda row: (row.time_ns, row.holder, row.account))

    def alerted(self, account: str) -> frozenset[int]:
        """The percentages whose crossing is recorded."""
        return frozenset(row.percent for row in self.alerts(account))

    def alerts(self, account: str) -> Sequence[AlertRow]:
        """The crossings that are recorded, lowest percentage first."""
        rows = self._rows.alerts.values()
        return sorted(row for row in rows if row.account == account)

    def incidents(self, since_ns: int) -> Sequence[IncidentRow]:
        """The requests since then that cost more than was held, oldest first."""
        rows = [row for row in self._rows.incidents.values() if row.time_ns >= since_ns]
        return sorted(rows, key=lambda row: (row.time_ns, row.decision_id))

    def excesses(self) -> Sequence[ExcessRow]:
        """Settled requests that cost more than their hold, at most 1000, oldest first.

        Without those whose incident is projected.
        """
        rows = [
            row
            for row in self._requests.values()
            if row.state == "settled"
            and row.cost_nano_usd > row.hold_nano_usd
            and row.request_id not in self._rows.incidents
        ]
        rows.sort(key=lambda row: (row.time_ns, row.request_id))
        return [
            ExcessRow(
                row.request_id,
                row.service,
                row.model,
                row.hold_nano_usd,
                row.cost_nano_usd,
            )
            for row in rows[:1000]
        ]

    def take_moved(self) -> frozenset[str] | None:
        """The accounts of which more was settled since the last call; None: any."""
        moved, self._moved = self._moved, set()
        return None if moved is None else frozenset(moved)

    def admissions(self, since_ns: int) -> Sequence[AdmissionRow]:
        """The allowed requests decided since then, oldest first."""
        rows = [
            row
            for row in self._requests.values()
            if row.time_ns >= since_ns and row.decision == "allow"
        ]
        return [
            AdmissionRow(
                row.time_ns,
                row.service,
                row.credential_id,
                row.model or "",
                self._tokens(row),
            )
            for row in sorted(rows, key=lambda row: (row.time_ns, row.request_id))
        ]

    def books_check(self) -> Sequence[str]:
        """Works every account out anew; each contradiction in words, none: balanced."""
        accounts = self._rows.accounts()
        ended = [row for row in self._requests.values() if row.ended_at is not None]
        costs = [
            Cost(self._held[row.request_id].where, row.time_ns, row.cost_nano_usd)
            for row in ended
        ]
        holders = self._rows.holders.values()
        return contradictions(
            AuditRows(
                accounts=accounts,
                leases=self.leases(),
                settlements=self.settlements(),
                spent=spent_of(accounts, costs),
                consumed=self._consumed(ended),
                held=self._open_holds(),
                lost=frozenset(row.holder for row in holders if row.state == SUSPENDED),
            )
        )

    def _consumed(self, ended: Sequence[RequestRow]) -> dict[tuple[str, str], int]:
        consumed = defaultdict[tuple[str, str], int](int)
        for row in ended:
            ending = self._held[row.request_id].ending(row, row.cost_nano_usd)
            for account, amount in ending.held:
                if is_money(account):
                    consumed[ending.holder, account] += min(amount, ending.cost)
        return consumed

    def _open_holds(self) -> dict[tuple[str, str], int]:
        held = defaultdict[tuple[str, str], int](int)
        for row in self._requests.values():
            if row.state == "open":
                ending = self._held[row.request_id].ending(row, 0)
                for account, amount in ending.held:
                    held[ending.holder, account] += amount
        return held

    def _tokens(self, row: RequestRow) -> int:
        if row.state == "released":
            return 0
        usage = row.usage if row.state != "open" else self._held[row.request_id].usage
        return total(usage, PROMPT_CLASSES) + total(usage, GENERATED_CLASSES)


def _spent(state: AccountState) -> int:
    return state.settled + state.suspense
