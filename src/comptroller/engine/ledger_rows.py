"""Rows of the ledger beside its accounts and leases."""

from __future__ import annotations

from typing import NamedTuple


class AlertRow(NamedTuple):
    """A threshold of a budget that was crossed; amounts in nano-USD."""

    account: str
    percent: int
    time_ns: int
    spent: int
    """Settled, or in suspense, when it was crossed."""
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


class HolderRow(NamedTuple):
    """A worker that may have leases."""

    holder: str
    sequence: int
    """Of the last ask that was granted something; 0: none yet."""
    boot: str
    durability: str
    state: str
    """`live`, `closed` or `suspended`."""
    last_grants: tuple[tuple[str, int], ...]
    """Account and amount of the last `lease.granted`, to answer a repeat."""


class AdmissionRow(NamedTuple):
    """An allowed request, as rate limits count it."""

    time_ns: int
    service: str
    credential_id: str
    model: str
    tokens: int
    """What it used; while it is under way, what was held for it."""


class ExcessRow(NamedTuple):
    """A settled request that cost more than was held for it."""

    request_id: str
    service: str
    model: str | None
    hold_nano_usd: int
    cost_nano_usd: int
