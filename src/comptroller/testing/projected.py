"""A store, and journals that are projected into it when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from comptroller.engine.ports import JournalPosition, RequestQuery, Store
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.ledger_script import LedgerScript
from comptroller.testing.system import FakeClock, SequentialIds

W0: Final = "/node/w0/01A"
W1: Final = "/node/w1/01B"
CONTROL: Final = "/node/control/01C"
"""Sources of two workers and a control process."""
MONTH: Final = "service:checkout-assistant/month@2025-11"
WHOLE: Final = "organization:acme-corp/month@2025-11"
RUN: Final = "run:checkout-assistant/r1/total@all"
PERMITS: Final = "service:checkout-assistant/parallel@now"
ALWAYS: Final = (0, None)
"""The window of a total."""


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

    def leased(self, amounts: dict[str, int], limit: int = 1000) -> None:
        """The first worker is granted leases, its first."""
        control = self.script(CONTROL)
        control.joined(W0)
        control.granted(W0, 1, amounts, limit)
        self.project(CONTROL)

    def sums(self, account: str) -> Sequence[int] | None:
        """Settled, leased, suspense and unheld of an account; None: there is none."""
        state = self.store.accounts([account]).get(account)
        if state is None:
            return None
        return (state.settled, state.leased, state.suspense, state.unheld)

    def of_limits(self) -> tuple[object, ...]:
        """All that the store says of limits, and of requests."""
        store = self.store
        accounts = store.accounts_of(None)
        return (
            accounts,
            store.leases(),
            store.live_holders(),
            store.held_on([MONTH, WHOLE, RUN, PERMITS]),
            store.suspense(),
            store.settlements(),
            [store.alerts(state.id) for state in accounts],
            store.incidents(0),
            store.admissions(0),
            store.excesses(),
            store.requests(RequestQuery(limit=None)),
        )
