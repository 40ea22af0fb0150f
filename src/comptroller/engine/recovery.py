"""Recovery: no decision stays without an end when its worker died.

A dead worker's open requests are booked at their hold, for nobody can tell what
was sent upstream. Killing the recovery itself at any moment changes nothing: what
it recorded is projected before anything is recorded again, and what it did not
record is still open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from comptroller.core.timestamps import rfc3339
from comptroller.core.usage import UsageSource
from comptroller.engine import records
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Ids,
    JournalReader,
    OpenRequest,
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
            said about the requests in it.
    """
    dead = [source for source in store.open_sources() if reader.is_dead(source)]
    if not dead:
        return 0
    # A dead journal does not grow: at its end an open request stays open. An
    # earlier recovery may have ended it in an administrative journal, though.
    earlier = [one for one in reader.sources() if is_administrative(one)]
    projector = Projector(reader, store)
    for _ in projector.catch_up([*dead, *earlier]):
        pass
    ended = 0
    for source in dead:
        left = store.open_requests(source)
        for begin in range(0, len(left), BATCH):
            _abandon(journal(), source, left[begin : begin + BATCH], clock, ids)
        ended += len(left)
    if ended:
        for _ in projector.catch_up([journal().source]):
            pass
    return ended


def _abandon(
    journal: DurableJournal,
    source: str,
    left: Sequence[OpenRequest],
    clock: Clock,
    ids: Ids,
) -> None:
    time = rfc3339(clock.now_ns())
    first = journal.sequence
    batch = [
        records.encode(
            {
                "specversion": "1.0",
                "id": ids.new(),
                "source": journal.source,
                "type": records.ABANDONED,
                "time": time,
                "subject": f"request/{one.request_id}",
                "sequence": str(first + number),
                "data": records.Abandoned(
                    decision_id=one.request_id,
                    journal=source,
                    cost_nano_usd=one.hold_nano_usd,
                    usage=one.hold_usage,
                    usage_source=UsageSource.HOLD,
                ),
            }
        )
        for number, one in enumerate(left)
    ]
    journal.append_all(batch)
    journal.sequence = first + len(batch)
