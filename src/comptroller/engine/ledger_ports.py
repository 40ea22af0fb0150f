"""Ports of the books of limits, as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from comptroller.core.books import AccountState, LeaseState
from comptroller.engine.ledger_rows import (
    AdmissionRow,
    AlertRow,
    ExcessRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)


class LedgerReports(Protocol):
    """Reads of the books of limits; any process may hold one."""

    def accounts(self, ids: Sequence[str]) -> dict[str, AccountState]:
        """The accounts that there are, of these."""

    def accounts_of(self, now_ns: int | None) -> Sequence[AccountState]:
        """All accounts whose window is open then; None: all that there are."""

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """The leases of a holder, of an account, or of both."""

    def holder(self, holder: str) -> HolderRow | None:
        """A holder, whatever its state."""

    def live_holders(self) -> Sequence[HolderRow]:
        """The holders that are neither closed nor suspended."""

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """What the ended requests of a scope cost that were decided in a span."""

    def held_on(self, accounts: Sequence[str]) -> dict[str, int]:
        """What open requests hold on each of these accounts; 0 where none does.

        As projected: at most what is leased. Permits count one a request.
        """

    def suspense(self) -> Sequence[LeaseState]:
        """The leases of lost holders that a named person has yet to settle."""

    def settlements(self) -> Sequence[SettlementRow]:
        """Every suspense that a named person settled, oldest first."""

    def alerted(self, account: str) -> frozenset[int]:
        """The percentages whose crossing is recorded."""

    def alerts(self, account: str) -> Sequence[AlertRow]:
        """The crossings that are recorded, lowest percentage first."""

    def incidents(self, since_ns: int) -> Sequence[IncidentRow]:
        """The requests since then that cost more than was held, oldest first."""

    def books_check(self) -> Sequence[str]:
        """Works every account out anew; each contradiction in words, none: balanced.

        Reads all requests. See `engine.auditing` for what is compared.
        """

    def admissions(self, since_ns: int) -> Sequence[AdmissionRow]:
        """The allowed requests decided since then, oldest first."""


class Ledger(LedgerReports, Protocol):
    """The books of limits in the store: a fold of the journals, like all of it."""

    def excesses(self) -> Sequence[ExcessRow]:
        """Settled requests that cost more than their hold, at most 1000, oldest first.

        Without those whose `incident.hold_exceeded` is projected.
        """

    def take_moved(self) -> frozenset[str] | None:
        """The accounts of which more is settled, or in suspense, than at the last call.

        Kept in the memory of the one writer; it costs nothing when nothing moved.

        Returns:
            None at the first call: any may have moved.
        """
