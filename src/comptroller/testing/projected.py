"""A store, and journals that are projected into it when a test says so."""

from __future__ import annotations

from comptroller.engine.ports import JournalPosition, Store
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.ledger_script import LedgerScript
from comptroller.testing.system import FakeClock, SequentialIds


class Projected:
    """A store, and journals that are projected into it on demand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.journals: dict[str, InMemoryJournal] = {}

    def script(self, source: str) -> LedgerScript:
        """Writes to a source."""
        return LedgerScript(self.journal(source), self.clock, SequentialIds())

    def journal(self, source: str) -> InMemoryJournal:
        """What was written to a source."""
        return self.journals.setdefault(source, InMemoryJournal(source))

    def project(self, *sources: str, records: int | None = None) -> None:
        """Projects what is new of sources, in turn; so many records at the most."""
        for source in sources:
            journal, position = self.journals[source], self.store.position(source)
            run = [record for record in journal.records if record.offset >= position]
            run = run[:records]
            end = run[-1].offset + len(run[-1].line) + 1 if run else journal.offset
            self.store.project(run, JournalPosition(source, end))
