"""The ledger on fakes: its centre, and workers that hold what they were granted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from comptroller.core.registry import Registry
from comptroller.engine import records
from comptroller.engine.leasing import (
    AskLeases,
    Leased,
    LeaseNeed,
    RateNeed,
    Recall,
    Refund,
)
from comptroller.engine.ledger import Ledger
from comptroller.engine.ports import JournalRecord
from comptroller.engine.records import Actor
from comptroller.testing.administration import FakeSite
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.script import Script
from comptroller.testing.timers import FakeTimers

ADA = Actor(person="ada", account="root@test")
CHECKOUT = {
    "service.name": "checkout",
    "comptroller.unit.id": "retail",
    "comptroller.tenant.id": "acme",
}


class LedgerSite(FakeSite):
    """A control process with a ledger; `anew` is the next process."""

    def __init__(self, before: FakeSite | None = None) -> None:
        super().__init__(before)
        self.timers = FakeTimers(self.clock)
        self.centre = Ledger(self.ledger, self.timers)

    def anew(self) -> LedgerSite:
        """The process that follows after this one died, started up."""
        if self.journal is not None:
            self.journal.close()
        site = LedgerSite(self)
        site.project(*site.journals.sources())
        site.administration.restore()
        return site

    def apply(self, registry: Registry) -> None:
        """Applies a configuration, and lets the ledger look at it."""
        self.administration.apply(registry, "sha256:1", ADA)
        self.centre.tick()

    def look(self) -> None:
        """Projects all there is and ticks, as the control process does."""
        self.project(*self.journals.sources())
        self.centre.tick()

    def recorded(self, kind: str) -> list[Any]:
        """The data of all records of a type, of all control journals."""
        return [
            line["data"]
            for source in self.journals.sources()
            for line in map(_decode, self.journals.read(source, 0, 10**9))
            if line["type"] == kind
        ]


class Holder:
    """A worker of a test: a journal, and asks by hand."""

    def __init__(
        self,
        site: LedgerSite,
        name: str = "w0",
        *,
        boot: str = "this boot",
        durability: str = "disk",
    ) -> None:
        self.site = site
        self.source = f"/node/{name}/{site.ids.new()}"
        self.journal: InMemoryJournal = site.journals.open(self.source)
        self.script = Script(self.journal, site.clock, site.ids)
        self.sequence = 0
        self.recalls: list[Recall] = []
        self._boot = boot
        self._durability = durability

    def start(
        self,
        needs: Mapping[str, int],
        rates: Sequence[RateNeed] = (),
        refunds: Sequence[Refund] = (),
        *,
        wants: Mapping[str, int] | None = None,
    ) -> list[Leased | None]:
        """Asks; what comes as answer comes into the list."""
        self.sequence += 1
        wants = wants or {}
        asked = AskLeases(
            self.source,
            self.sequence,
            self._boot,
            self._durability,
            [LeaseNeed(k, v, wants.get(k, v)) for k, v in needs.items()],
            list(rates),
            list(refunds),
        )
        return self.send(asked)

    def send(self, asked: AskLeases) -> list[Leased | None]:
        """Asks what was put together by hand, or asked before."""
        answers: list[Leased | None] = []
        self.site.centre.ask(asked, answers.append)
        return answers

    def ask(
        self,
        needs: Mapping[str, int],
        rates: Sequence[RateNeed] = (),
        refunds: Sequence[Refund] = (),
        *,
        wants: Mapping[str, int] | None = None,
    ) -> Leased:
        """Asks and waits for the answer.

        Raises:
            AssertionError: there was none.
        """
        answers = self.start(needs, rates, refunds, wants=wants)
        self.site.timers.advance(0.2)
        (answer,) = answers
        if answer is None:
            raise AssertionError("there is no answer")
        return answer

    def listen(self) -> None:
        """Waits for recalls from now on; each is told in `recalls`."""

        def heard(recall: Recall) -> None:
            self.recalls.append(recall)
            if recall.accounts:
                self.site.timers.call_later(0, self.listen)

        self.site.centre.await_recall(self.source, heard)

    def give_back(self, returns: Mapping[str, int]) -> None:
        """Records that it returns leases, and says so."""
        parts = [{"account": k, "amount": v} for k, v in returns.items()]
        self.script.append(records.LEASE_RETURNED, "lease", {"returns": parts})
        self.site.centre.returned(self.source)

    def spend(
        self, request_id: str, hold: int, accounts: Sequence[str], cost: int | None
    ) -> None:
        """A request of service checkout; cost None: it stays under way."""
        self.script.decided(
            request_id,
            {
                **CHECKOUT,
                "gen_ai.request.model": "small",
                "comptroller.hold.nano_usd": hold,
                "comptroller.hold.accounts": list(accounts),
            },
        )
        if cost is not None:
            self.script.settled(request_id, cost, {"input": 1})

    def die(self) -> None:
        """The kernel lets go of its lock."""
        self.journal.close()


def _decode(record: JournalRecord) -> Any:  # noqa: ANN401  JSON
    return json.loads(record.line)
