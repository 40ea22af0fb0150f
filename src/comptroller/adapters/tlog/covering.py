"""What of the journals a signed checkpoint of the log covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from comptroller.adapters.tlog.cosigned import continued, cosigned_notes, kept_notes
from comptroller.adapters.tlog.covered import Covered
from comptroller.adapters.tlog.reader import read_checkpoint, read_file
from comptroller.adapters.tlog.state import STATE_BYTES_MAX, TrailState, decode_state
from comptroller.core.checkpoint import Verifier, parse_checkpoint, verified
from comptroller.engine.deleting import Coverage
from comptroller.engine.trail_ports import ENDED, source_positions

WAIT_S: Final = 5.0
"""So long a checkpoint of what is in the log now is waited for."""
POLL_S: Final = 0.25


class Witnesses(NamedTuple):
    """Who is asked to sign the log."""

    folder: Path
    """Where is kept what they have signed; see `cosigned`."""
    keys: Sequence[Verifier]
    """Theirs; none: no witness is needed."""


class TrailCover:
    """What a log covers of the journals.

    Satisfies `engine.deleting.TrailCovers`.

    Args:
        folder: of the log.
        places: the folder of the index beside it.
        key: what verifies the log's signature.
        witnesses: one of them has to have signed it, too.
        rest: waits for so many seconds; says whether to give up.
    """

    def __init__(
        self,
        folder: Path,
        places: Path,
        key: Verifier,
        witnesses: Witnesses,
        rest: Callable[[float], bool],
    ) -> None:
        self._folder = folder
        self._places = places
        self._key = key
        self._witnesses = witnesses
        self._rest = rest

    def coverage(self) -> Coverage | str:
        """What is covered now; a text: why nothing is.

        Raises:
            NoteError: the checkpoint is not signed by the log's key.
            TrailDamagedError: the log is not what was written.
            TrailUnavailableError: it cannot be read.
        """
        data = read_file(self._folder / "state.json", STATE_BYTES_MAX)
        if data is None:
            return "there is no trail"
        state = decode_state(data)
        why = ""
        for _ in range(int(WAIT_S / POLL_S)):
            found = self._covers(state)
            if not isinstance(found, str):
                return found
            why = found
            if self._rest(POLL_S):
                break
        return why

    def _covers(self, state: TrailState) -> Coverage | str:
        # What is signed is read before the checkpoint, which may grow meanwhile.
        folder, keys = self._witnesses
        signed = cosigned_notes(kept_notes(self._folder, folder), keys)
        note = read_checkpoint(self._folder)
        if note is None:
            return "no checkpoint of the trail is published yet"
        origin, head = parse_checkpoint(verified(note, [self._key])[0].body)
        if head.size < state.size:
            return f"no checkpoint covers all {state.size} records of the trail yet"
        seen = continued(signed, origin, self._folder, head.size)
        covering = [one for one in seen if one.size >= state.size]
        if keys and not covering:
            return f"no witness has signed all {state.size} records of the trail yet"
        size = min([head.size, *(one.size for one in covering)])
        names = [one.witness for one in covering]
        lines = Covered(self._folder, self._places, head, state.minimum)
        return Coverage(size, _ended(state), names, lines)


def _ended(state: TrailState) -> dict[str, int]:
    """How many bytes of each journal there were when it had ended."""
    return {
        source: position.offset
        for source, position in source_positions(state.positions).items()
        if position.state == ENDED
    }
