"""Leasing: what a worker and the control process say to each other about limits.

A worker (a *holder*, named by its journal's source) spends from leases. It asks for
more by numbered asks: the same number is answered once, however often it is sent.
What makes a lease smaller goes through the holder's own journal, exactly once:
settlements, and `lease.returned` records. So no message that is lost, late or
repeated can change the books (facts: escrow leases with proof of death).
"""

from __future__ import annotations

import msgspec


class LeaseNeed(msgspec.Struct, frozen=True):
    """So much is needed on an account."""

    account: str
    """An account's id (core.account)."""
    amount: int
    """What is lacking for the request that waits; 0: nothing waits."""
    want: int
    """What would be good to have, to ask less often; at least the amount."""


class RateNeed(msgspec.Struct, frozen=True):
    """So many units of a rate limit are needed now."""

    limit: str
    """`SCOPE:KEY/requests` or `SCOPE:KEY/tokens`."""
    units: int
    want: int


class Refund(msgspec.Struct, frozen=True):
    """Units of a rate limit that were charged, and not used after all."""

    limit: str
    units: int


class AskLeases(msgspec.Struct, frozen=True, tag="ask_leases"):
    """A holder asks for leases and units."""

    holder: str
    """Source of its journal."""
    sequence: int
    """1 for its first ask; a repeat has the number and content of what it repeats."""
    boot: str
    """Id of the machine's boot, for a journal whose end a power loss took."""
    durability: str
    """`disk` or `process`: how durable its journal's records are."""
    needs: list[LeaseNeed]
    rates: list[RateNeed]
    refunds: list[Refund]


class Granted(msgspec.Struct, frozen=True):
    """More may be spent on an account."""

    account: str
    amount: int


class Lack(msgspec.Struct, frozen=True):
    """An account does not have what is needed, even after others gave back."""

    account: str
    limit: int
    """As declared; nano-USD, or requests under way."""
    spent: int
    leased: int
    """Held by requests under way, or leased to workers that may hold it."""
    suspense: int
    free: int
    """At least 0."""
    resets_ns: int | None
    """When its window ends; None: never."""


class RateGranted(msgspec.Struct, frozen=True):
    """Units that may be used within a time; what is not used then is gone."""

    limit: str
    units: int
    """0: none, see retry_after_s."""
    valid_s: float
    """From when the ask was sent, by the holder's monotonic clock."""
    burst: int
    """The limit's count: what a full bucket holds."""
    remaining: int
    """What the bucket still holds after this."""
    reset_s: float
    """Until the bucket is full."""
    retry_after_s: float
    """Until the units asked for are there; 0: they are; below 0: more than the limit
    itself was asked for, so never."""


class Leased(msgspec.Struct, frozen=True):
    """The answer to an ask."""

    sequence: int
    grants: list[Granted]
    lacks: list[Lack]
    rates: list[RateGranted]
    """In the order of the ask. One that is missing was not looked at: because an
    account lacks, or for a second after the control process started (what its
    predecessor handed out has to expire first). Ask again when it is still needed."""
    is_fenced: bool = False
    """The ledger has closed this holder: it must not hold anything any more."""


class AwaitRecall(msgspec.Struct, frozen=True, tag="await_recall"):
    """Asks which leases are needed elsewhere.

    Answered when there are some, or with none after a while.
    """

    holder: str


class Recall(msgspec.Struct, frozen=True):
    """Leases that are needed elsewhere: what is idle of them should be returned."""

    accounts: list[str]


class LeasesReturned(msgspec.Struct, frozen=True, tag="leases_returned"):
    """Says that a `lease.returned` record is durable in the holder's journal.

    Also sent when there was nothing to return, so that nobody waits for it.
    """

    holder: str
