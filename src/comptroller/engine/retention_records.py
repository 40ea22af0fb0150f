"""Records of retention: what is pruned, and what may not be for a while.

See `engine.records` for the envelope.
"""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.engine.records import Actor

LEGAL_HOLD_PLACED: Final = "comptroller.legal_hold.placed.v1"
LEGAL_HOLD_LIFTED: Final = "comptroller.legal_hold.lifted.v1"


class TrailPruned(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `trail.pruned` (TRAIL_PRUNED): entries of the trail go, for good.

    The sequencer removes them once a checkpoint covers this record itself.
    """

    below: int
    """Index of the first entry that stays: whole bundles go."""
    before: int
    """The same as of the pruning before this one; 0: there was none."""
    reason: str
    actor: Actor
    approved_by: str


class LegalHoldPlaced(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `legal_hold.placed`: from now on nothing of its scope is deleted."""

    legal_hold_id: str
    reason: str
    end_user_trace: str | None
    """Commitment to the end user whom it is about, with a salt that is destroyed
    when it is lifted; None: it is about everything."""
    actor: Actor


class LegalHoldLifted(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `legal_hold.lifted`: it is in force no more."""

    legal_hold_id: str
    reason: str
    actor: Actor
