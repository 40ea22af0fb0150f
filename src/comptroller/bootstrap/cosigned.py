"""Wiring of what witnesses have signed of a trail, for whoever audits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from comptroller.adapters.tlog.cosigned import (
    CosignedNote,
    compared,
    cosigned_notes,
    kept_notes,
    kept_witnesses,
    newest_of_each,
    signed_by_log,
)
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.trail_status import witness_statuses
from comptroller.bootstrap.witnesses import witness_verifiers
from comptroller.core.checkpoint import Verifier
from comptroller.core.cosignature import Cosignature, assurance, assurance_here
from comptroller.core.errors import TrailDamagedError
from comptroller.engine.trail_ports import Published


class Judged(NamedTuple):
    """What a trail continues of what was signed, and what it contradicts."""

    seen: Sequence[Cosignature]
    """How far each witness has signed that is asked about."""
    wrong: Sequence[str]
    strength: str
    """What the trail is worth, in words."""


class KeptNotes:
    """The checkpoints that are kept beside a trail, as they stand when this is made.

    Made before the trail's checkpoint is read: a witness may sign one that is newer.

    Args:
        place: the data directory.
        vkeys: of the witnesses that an auditor trusts; none: those kept here.

    Raises:
        ConfigurationError: a key is not that of a witness.
    """

    def __init__(self, place: Place, vkeys: Sequence[str] = ()) -> None:
        self._place = place
        self._told = witness_verifiers(vkeys)
        self.kept = kept_witnesses(place.trail_witnessed)
        notes = kept_notes(place.trail, place.trail_witnessed)
        self._notes = cosigned_notes(notes, [*self._told, *self.kept])
        self._trusted = cosigned_notes(notes, self._told or self.kept)
        self._statuses = witness_statuses(place)

    def of(self, origin: str) -> list[CosignedNote]:
        """Those of a log that a known witness has signed."""
        return [one for one in self._notes if one.by and _is_of(one, origin)]

    def judge(self, published: Published, log_keys: Sequence[Verifier]) -> Judged:
        """Compares them with the trail.

        Args:
            published: the trail's checkpoint, read after these.
            log_keys: the trail's own keys.

        Raises:
            TrailUnavailableError: a file cannot be read.
        """
        size, others = published.size, published.witnesses
        notes = [
            one
            for one in signed_by_log(self._notes, log_keys)
            if _is_of(one, published.origin)
            and (one.by or one.checkpoint.head.size != size)
        ]
        try:
            fitting, wrong = compared(notes, self._place.trail, size)
        except TrailDamagedError as error:
            fitting, wrong = [], [f"what witnesses signed: {error.message}"]
        known = {one.checkpoint.head.size for one in notes}
        for one in self._statuses:
            if one.size > size and one.size not in known:
                wrong.append(
                    f"{self._place.trail_witnesses.name} says that {one.name} signed"
                    f" {one.size} records; {size} are here: truncated"
                )
        fits = {one.checkpoint for one in fitting}
        seen = newest_of_each(one for one in self._trusted if one.checkpoint in fits)
        strength = assurance(seen, size, [])
        if not self._told:
            strength = assurance_here(seen, size, others)
        return Judged(seen, [f"WRONG {one}" for one in wrong], strength)


def _is_of(one: CosignedNote, origin: str) -> bool:
    return one.checkpoint.origin == origin
