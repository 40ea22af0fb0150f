"""The snapshot: all that a worker needs to decide, as one document.

The process that administers publishes a whole snapshot after every act; workers
replace theirs as a whole. There is no partial update to lose or to reorder.
"""

from __future__ import annotations

import msgspec

from comptroller.core.credential import Credential
from comptroller.core.errors import StoreUnavailableError
from comptroller.core.policy.plain import PlainSet
from comptroller.core.rates import RateCard
from comptroller.core.registry import Registry


class ActivePolicy(msgspec.Struct, frozen=True):
    """The policy bundle that is in force, as it was checked when it was published."""

    revision: str
    """`sha256:` and hex; names its content."""
    sets: list[PlainSet]


class ReachedThreshold(msgspec.Struct, frozen=True):
    """A budget's window of which a share is spent, at which requests change."""

    account: str
    """See core.account; names its window, so the next one begins anew."""
    percent: int


class Snapshot(msgspec.Struct, frozen=True):
    """What workers serve from."""

    sequence: int
    """Increases with every publication, also over restarts."""
    revision: int
    """Of the applied configuration; from 1."""
    registry: Registry
    credentials: list[Credential]
    """All of them, so that a revoked one is told from an unknown one."""
    rate_card: RateCard
    policy: ActivePolicy | None = None
    """None: there is none; what the registry declares decides alone."""
    reached: list[ReachedThreshold] = []
    """Of budgets that have `on_threshold`."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Writes a snapshot as JSON."""
    return _ENCODER.encode(snapshot)


def decode(document: bytes) -> Snapshot:
    """Reads a snapshot back.

    Raises:
        StoreUnavailableError: it is not a snapshot of this release. Whoever has a
            good one keeps it.
    """
    try:
        return _DECODER.decode(document)
    except msgspec.DecodeError as error:
        raise StoreUnavailableError(
            f"the snapshot cannot be read: {error}; restarting the control process"
            " publishes a new one"
        ) from error
