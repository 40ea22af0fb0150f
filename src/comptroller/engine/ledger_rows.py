"""Rows of the ledger beside its accounts and leases: what happened to limits."""

from __future__ import annotations

from typing import NamedTuple


class AlertRow(NamedTuple):
    """A threshold of a budget that was crossed; amounts in nano-USD."""

    account: str
    percent: int
    time_ns: int
    spent: int
    """Spent and held when it was crossed."""
    limit: int


class IncidentRow(NamedTuple):
    """A request that cost more than was held for it; amounts in nano-USD."""

    decision_id: str
    time_ns: int
    service: str
    model: str | None
    hold: int
    cost: int


class SettlementRow(NamedTuple):
    """What a named person said a lost holder spent of an account, in nano-USD."""

    holder: str
    account: str
    spent: int
    time_ns: int
    person: str | None
    os_account: str
    """`user@host` as the operating system has it."""
    reason: str
