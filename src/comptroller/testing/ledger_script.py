"""Records of the ledger as workers and the control process write them, for tests."""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.engine import records
from comptroller.testing.script import Script

STARTS_NS: Final = 1_761_955_200_000_000_000
"""1 November 2025, 00:00 UTC: where the windows of these grants begin."""
ENDS_NS: Final = 1_764_547_200_000_000_000
"""1 December 2025, 00:00 UTC."""


class LedgerScript(Script):
    """Appends whole records of leases and limits to a journal."""

    def held(
        self,
        request_id: str,
        hold: int,
        accounts: list[str],
        members: dict[str, object] | None = None,
    ) -> None:
        """An allowed decision that holds on money accounts; see `decided`."""
        held = {
            "comptroller.hold.nano_usd": hold,
            "comptroller.hold.accounts": accounts,
        }
        self.decided(request_id, {**held, **(members or {})})

    def extended(self, request_id: str, a_slice: int) -> None:
        """A progressive hold grew."""
        data = records.Extended(decision_id=request_id, slice_nano_usd=a_slice)
        self._append(records.EXTENDED, data)

    def joined(self, holder: str) -> None:
        """A holder may be granted leases."""
        data = records.HolderJoined(holder=holder, boot="boot-1", durability="disk")
        self._append(records.HOLDER_JOINED, data)

    def granted(
        self,
        holder: str,
        sequence: int,
        amounts: dict[str, int],
        limit: int = 1000,
        span: tuple[int, int | None] = (STARTS_NS, ENDS_NS),
    ) -> None:
        """A holder may spend so much more."""
        grants = [
            records.GrantedLease(
                account=account,
                amount=amount,
                limit=limit,
                starts_ns=span[0],
                ends_ns=span[1],
            )
            for account, amount in amounts.items()
        ]
        data = records.LeaseGranted(holder=holder, sequence=sequence, grants=grants)
        self._append(records.LEASE_GRANTED, data)

    def returned(self, amounts: dict[str, int]) -> None:
        """The holder that writes this journal returns so much."""
        data = records.LeaseReturned(returns=_leases(amounts))
        self._append(records.LEASE_RETURNED, data)

    def closed(self, holder: str, position: int, amounts: dict[str, int]) -> None:
        """A dead holder's leases return."""
        data = records.LeaseClosed(
            holder=holder, position=position, returns=_leases(amounts)
        )
        self._append(records.LEASE_CLOSED, data)

    def suspended(self, holder: str, amounts: dict[str, int]) -> None:
        """A holder is lost, with what it may have spent."""
        data = records.LeaseSuspended(
            holder=holder, reason="journal lost", leases=_leases(amounts)
        )
        self._append(records.LEASE_SUSPENDED, data)

    def suspense_settled(self, holder: str, account: str, spent: int) -> None:
        """A named person says what a lost holder spent."""
        data = records.SuspenseSettled(
            holder=holder,
            account=account,
            spent_nano_usd=spent,
            reason="the provider's bill",
            actor=records.Actor(person="ada", account="ada@host"),
        )
        self._append(records.SUSPENSE_SETTLED, data)

    def limit_changed(self, account: str, limit: int, effective: int) -> None:
        """An account's limit was declared anew."""
        data = records.LimitChanged(account=account, limit=limit, effective=effective)
        self._append(records.LIMIT_CHANGED, data)

    def crossed(self, account: str, percent: int, spent: int) -> None:
        """A threshold of a budget was crossed."""
        data = records.ThresholdCrossed(
            account=account, percent=percent, spent_nano_usd=spent, limit_nano_usd=1000
        )
        self._append(records.THRESHOLD_CROSSED, data)

    def exceeded(self, request_id: str, hold: int, cost: int) -> None:
        """A request cost more than was held."""
        data = records.HoldExceeded(
            decision_id=request_id,
            service="checkout-assistant",
            model="gpt-5-mini",
            hold_nano_usd=hold,
            cost_nano_usd=cost,
        )
        self._append(records.HOLD_EXCEEDED, data)

    def _append(self, kind: str, data: msgspec.Struct) -> None:
        self.append(kind, "ledger", msgspec.to_builtins(data))


def _leases(amounts: dict[str, int]) -> list[records.ReturnedLease]:
    return [
        records.ReturnedLease(account=account, amount=amount)
        for account, amount in amounts.items()
    ]
