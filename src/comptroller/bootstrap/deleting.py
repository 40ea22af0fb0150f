"""Wiring of the deletion of journals."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from comptroller.adapters.journal.files import DirectoryJournalFiles
from comptroller.engine.deleting import DeletionParts, JournalDeletion

if TYPE_CHECKING:
    from comptroller.bootstrap.place import Place
    from comptroller.bootstrap.site import Site
    from comptroller.bootstrap.witnesses import WitnessTold
    from comptroller.engine.deleting import Coverage


def journal_deletion(
    site: Site, place: Place, keep_s: float, witnesses: Sequence[WitnessTold]
) -> JournalDeletion:
    """What deletes the journals of a data directory that the trail has.

    Args:
        site: of the process that may write the store.
        place: the data directory.
        keep_s: how long a journal stays after it was last written to.
        witnesses: of the trail; one must have signed what has the journal.
    """
    return JournalDeletion(deletion_parts(site, place, witnesses), keep_s)


def deletion_parts(
    site: Site, place: Place, witnesses: Sequence[WitnessTold]
) -> DeletionParts:
    """What it works with; see `journal_deletion`."""
    stopped = threading.Event()
    return DeletionParts(
        store=site.store,
        reader=site.reader,
        files=DirectoryJournalFiles(place.journal),
        trail=_Trail(place, witnesses, stopped),
        journal=site.journal,
        project=site.project,
        clock=site.clock,
        ids=site.ids,
        rest=stopped.wait,
        stop=stopped.set,
    )


class _Trail:
    """The trail of a data directory; what verifies it is loaded when it is needed.

    Satisfies `engine.deleting.TrailCovers`.
    """

    def __init__(
        self, place: Place, witnesses: Sequence[WitnessTold], stopped: threading.Event
    ) -> None:
        self._place = place
        self._vkeys = [vkey for _, vkey in witnesses]
        self._stopped = stopped

    def coverage(self) -> Coverage | str:
        """What is covered now; a text: why nothing is.

        Raises:
            NoteError: the checkpoint is not signed by the trail's key.
            TrailDamagedError: the trail is not what was written.
            TrailUnavailableError: it cannot be read.
        """
        from comptroller.adapters.tlog.covering import TrailCover, Witnesses
        from comptroller.adapters.tlog.keys import verifier
        from comptroller.bootstrap.trail_audit import own_vkey
        from comptroller.bootstrap.witnesses import witness_verifiers
        from comptroller.core.checkpoint import parse_vkey

        place = self._place
        if not place.trail_vkey.exists():
            return "there is no trail"
        key = verifier(parse_vkey(own_vkey(place)))

        cover = TrailCover(
            place.trail,
            place.trail_places,
            key,
            Witnesses(place.trail_witnessed, witness_verifiers(self._vkeys)),
            self._stopped.wait,
        )
        return cover.coverage()
