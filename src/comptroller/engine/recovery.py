"""Recovery: no decision stays without an end when its worker died.

A dead worker's open requests are booked at their hold, for nobody can tell what
was sent upstream. Killing the recovery itself at any moment changes nothing: what
it recorded is projected before anything is recorded again, and what it did not
record is still open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from comptroller.core.errors import RecordError
from comptroller.core.usage import UsageSource
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Ids,
    JournalReader,
    Store,
)
from comptroller.engine.projection import Projector, is_administrative

BATCH: Final = 1000
"""Records in one wait for the disk."""


def recover(
    reader: JournalReader,
    store: Store,
    journal: Callable[[], DurableJournal],
    clock: Clock,
    ids: Ids,
) -> int:
    """Ends the open requests of every worker that died, durably.

    A worker whose journal is not there any more counts as dead: what the store knows
    of it is ended; a journal that cannot be read to its end holds up no other.

    Args:
        reader: of all journals.
        store: the caller alone may write it.
        journal: the caller's own; asked for only when there is something to end.
        clock: for the records' time.
        ids: for the records' ids.

    Returns:
        How many requests it ended.

    Raises:
        JournalUnavailableError: not all were ended; a new process has to.
        StoreUnavailableError: not all were ended; repeat it.
        RecordError: a journal cannot be projected to its end, so nothing may be
            said about the requests in it; those of the others were ended.
    """
    sources = store.open_sources()
    present = set(reader.sources())
    dead = [one for one in sources if one in present and reader.is_dead(one)]
    if not dead and present.issuperset(sources):
        return 0
    # A dead journal does not grow: at its end an open request stays open. An
    # earlier recovery may have ended it in an administrative journal, though.
    projector = Projector(reader, store)
    _finish(projector, list(filter(is_administrative, reader.sources())))
    stopped: RecordError | None = None
    ended = 0
    for source in dead:
        try:
            _finish(projector, [source])
        except RecordError as error:
            stopped = stopped or error
            continue
        ended += _abandon_all(source, store, journal, clock, ids)
    # Only where our own journal is found is another one that is not found gone.
    if not present.issuperset(sources) and journal().source in reader.sources():
        for source in set(sources).difference(present, reader.sources()):
            ended += _abandon_all(source, store, journal, clock, ids)
    if ended:
        _finish(projector, [journal().source])
    if stopped is not None:
        raise stopped
    return ended


def _finish(projector: Projector, sources: Sequence[str]) -> None:
    for _ in projector.catch_up(sources):
        pass


def _abandon_all(
    source: str,
    store: Store,
    journal: Callable[[], DurableJournal],
    clock: Clock,
    ids: Ids,
) -> int:
    left = store.open_requests(source)
    for begin in range(0, len(left), BATCH):
        batch = Batch(journal, clock, ids)
        for one in left[begin : begin + BATCH]:
            data = records.Abandoned(
                decision_id=one.request_id,
                journal=source,
                cost_nano_usd=one.hold_nano_usd,
                usage=one.hold_usage,
                usage_source=UsageSource.HOLD,
            )
            batch.add(records.ABANDONED, f"request/{one.request_id}", data)
        batch.commit()
    return len(left)
