"""Projection: brings the store up to what the journals say, exactly once.

Administrative journals follow one another, for one process at a time may write
the store: they are projected in the order of their age, each to its end before the
next. Workers' journals are independent, and take turns. A store that was lost is
thereby rebuilt from the journals alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from comptroller.core.errors import RecordError
from comptroller.engine.ports import JournalPosition, JournalReader, Store

CHUNK_BYTES: Final = 4 * 1024 * 1024
_WORKER: Final = re.compile(r"/[^/]+/w[0-9]+/[^/]+")


def is_administrative(source: str) -> bool:
    """Whether a journal is of a process that may write the store, not a worker."""
    return _WORKER.fullmatch(source) is None


class Projector:
    """Projects all journals of a reader into a store."""

    def __init__(self, reader: JournalReader, store: Store) -> None:
        self._reader = reader
        self._store = store
        self._ended: set[str] = set()
        self._turn = 0

    def step(self, budget_bytes: int) -> int:
        """Projects about so much, one journal after another.

        A record that cannot be projected stops its own journal only. It may wait
        for another journal, so it is tried again at every step.

        Args:
            budget_bytes: what to read at most; a record is never split.

        Returns:
            How many records it projected; 0: there was nothing new.

        Raises:
            RecordError: a journal stands still, and there was nothing else to do.
            StoreUnavailableError: nothing was changed; repeat it.
            JournalUnavailableError: a journal cannot be read.
        """
        done = 0
        stopped: RecordError | None = None
        for source in self._in_turn():
            if budget_bytes <= 0:
                break
            try:
                count, size = self._part(source, min(budget_bytes, CHUNK_BYTES))
            except RecordError as error:
                stopped = stopped or error
                continue
            done += count
            budget_bytes -= size
        if stopped is not None and not done:
            raise stopped
        return done

    def catch_up(self, sources: Sequence[str] | None = None) -> Iterator[None]:
        """Projects journals up to where they stand now.

        Args:
            sources: of which; None: of all. Others are projected too where one of
                these waits for them.

        Yields:
            After each part, so that others get their turn.

        Raises:
            RecordError: one stands still.
            StoreUnavailableError: nothing was changed; repeat it.
            JournalUnavailableError: a journal cannot be read.
        """
        wanted = self._reader.sources() if sources is None else sources
        left = {
            source: self._reader.size(source)
            for source in wanted
            if not self._is_ended(source)
        }
        read: set[str] = set()
        while left:
            done = 0
            stopped: RecordError | None = None
            due = self._administrative_due(read)
            if due is not None and any(map(is_administrative, left)):
                left.setdefault(due, self._reader.size(due))
            for source, size in list(left.items()):
                if is_administrative(source) and source != due:
                    if due is None:
                        del left[source]
                    continue  # it builds on the one that is due
                try:
                    count, _ = self._part(source, CHUNK_BYTES)
                except RecordError as error:
                    stopped = error
                    continue
                done += count
                if not count or self._store.position(source) >= size:
                    del left[source]
                    read.add(source)
                yield
            if stopped is not None and not done and not self.step(CHUNK_BYTES):
                raise stopped

    def lag(self) -> int:
        """Bytes recorded and not yet projected.

        Raises:
            StoreUnavailableError: the store does not answer.
            JournalUnavailableError: a journal cannot be read.
        """
        return sum(
            self._reader.size(source) - self._store.position(source)
            for source in self._reader.sources()
            if source not in self._ended
        )

    def _in_turn(self) -> Iterator[str]:
        """Administrative journals by age until one is not at its end, then workers'."""
        sources = [one for one in self._reader.sources() if one not in self._ended]
        for source in filter(is_administrative, sources):
            yield source
            if source in self._ended:
                continue
            if self._reader.size(source) > self._store.position(source):
                break  # the ones after it build on it
        workers = [one for one in sources if not is_administrative(one)]
        if workers:
            self._turn = (self._turn + 1) % len(workers)
            yield from workers[self._turn :]
            yield from workers[: self._turn]

    def _administrative_due(self, read: set[str]) -> str | None:
        """The oldest administrative journal with something left; None: none has.

        Args:
            read: those that are read as far as they are to be.
        """
        for source in filter(is_administrative, self._reader.sources()):
            if source in self._ended or source in read:
                continue
            if self._reader.size(source) > self._store.position(source):
                return source
        return None

    def _is_ended(self, source: str) -> bool:
        """Whether nothing of a journal is left, nor ever will be."""
        if source not in self._ended:
            # Old commands leave many of these, so that this must cost little.
            if not self._reader.is_dead(source):
                return False
            if self._reader.size(source) > self._store.position(source):
                return False
            self._ended.add(source)
        return True

    def _part(self, source: str, bytes_max: int) -> tuple[int, int]:
        """Projects the next part of a journal.

        Returns:
            How many records and bytes it was.
        """
        position = self._store.position(source)
        run = self._reader.read(source, position, bytes_max)
        if not run:
            # What a process wrote before it died may have come after the read.
            if self._reader.is_dead(source):
                run = self._reader.read(source, position, bytes_max)
                if not run:
                    self._ended.add(source)
            if not run:
                return 0, 0
        end = run[-1].offset + len(run[-1].line) + 1
        self._store.project(run, JournalPosition(source, end))
        return len(run), end - position
