"""Administration on fakes: everything in memory, time moved by the test."""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.core.rates import ModelRates, RateCard, Step, rate_card
from comptroller.core.registry import (
    GatewaySettings,
    Model,
    ModelId,
    Owners,
    Person,
    PersonId,
    Provider,
    ProviderId,
    Registry,
    Service,
    ServiceId,
    Tenant,
    TenantId,
    Unit,
    UnitId,
)
from comptroller.engine.administration import Administration, Parts
from comptroller.engine.closing import close_dead
from comptroller.engine.control import Control, ControlParts
from comptroller.engine.deleting import DeletionParts, JournalDeletion
from comptroller.engine.ledger import Ledger, LedgerParts
from comptroller.engine.policy_ports import BundleFile
from comptroller.engine.projection import Projector
from comptroller.engine.records import Actor
from comptroller.engine.recovery import recover
from comptroller.engine.snapshot import Snapshot, decode
from comptroller.engine.trail_ports import Published
from comptroller.testing.cards import InMemoryCards
from comptroller.testing.deletions import NoJournalFiles, NoTrailCover
from comptroller.testing.disclosures import InMemoryDisclosures, InMemoryPromptKeys
from comptroller.testing.journal import InMemoryJournal, InMemoryJournals
from comptroller.testing.policy_life import InMemoryArchive, check_plainly
from comptroller.testing.retention import InMemorySalts
from comptroller.testing.snapshot import InMemorySnapshots
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import FakeClock, SeededEntropy, SequentialIds

RATES_SOURCE = "fake-prices 1"
ADA = Actor(person="ada", account="root@test")


def small_registry(
    people: tuple[str, ...] = ("ada", "grace", "alan"),
    services: tuple[str, ...] = ("checkout", "search"),
    purpose: str = "Tests",
) -> Registry:
    """A registry of one tenant, one unit, one model, and services owned by ada."""
    ids = [PersonId(name) for name in people]
    tenant, unit, model = TenantId("acme"), UnitId("retail"), ModelId("small")
    provider = ProviderId("local")
    owners = Owners(policy=ids[0], billing=ids[0], technical=ids[0])
    return Registry(
        organization="acme",
        timezone="Europe/Amsterdam",
        people={one: Person(one, one.title(), f"{one}@acme.example") for one in ids},
        gateway=GatewaySettings(owner=ids[0]),
        providers={
            provider: Provider(provider, "http://127.0.0.1:9", {"openai": "/v1"})
        },
        models={model: Model(model, provider, "small-1")},
        tenants={tenant: Tenant(tenant)},
        units={"acme/retail": Unit(unit, tenant, ids[0])},
        services={
            ServiceId(name): Service(
                ServiceId(name),
                tenant,
                unit,
                purpose,
                "internal",
                "test",
                owners,
                (model,),
            )
            for name in services
        },
    )


class FakeSite:
    """What one process that administers holds; `again` is the next process."""

    def __init__(self, before: FakeSite | None = None) -> None:
        self.clock: FakeClock = before.clock if before else FakeClock()
        self.ids: SequentialIds = before.ids if before else SequentialIds()
        self.entropy: SeededEntropy = before.entropy if before else SeededEntropy()
        self.journals: InMemoryJournals = (
            before.journals if before else InMemoryJournals()
        )
        self.store: InMemoryStore = before.store if before else InMemoryStore()
        self.published: InMemorySnapshots = (
            before.published if before else InMemorySnapshots()
        )
        self.cards: InMemoryCards = before.cards if before else InMemoryCards()
        self.archive: InMemoryArchive = before.archive if before else InMemoryArchive()
        self.disclosures: InMemoryDisclosures = (
            before.disclosures if before else InMemoryDisclosures()
        )
        self.prompt_keys: InMemoryPromptKeys = (
            before.prompt_keys if before else InMemoryPromptKeys()
        )
        self.salts: InMemorySalts = before.salts if before else InMemorySalts()
        self.trail_size: int | None = before.trail_size if before else None
        """Of the last checkpoint; None: none is published."""
        self.projector = Projector(self.journals, self.store)
        self.price_pico_usd = 7
        self.prices_change_ns: int | None = None
        self.journal: InMemoryJournal | None = None
        self.ledger = LedgerParts(
            store=self.store,
            reader=self.journals,
            journal=self.open_journal,
            project=self.project,
            clock=self.clock,
            ids=self.ids,
            boot="this boot",
        )
        self.administration = Administration(
            Parts(
                journal=self.open_journal,
                project=self.project,
                store=self.store,
                snapshots=self.published.reader(),
                cards=self.cards,
                archive=self.archive,
                check_bundle=check_plainly,
                compile_rates=self._compile,
                rates_source=RATES_SOURCE,
                clock=self.clock,
                ids=self.ids,
                entropy=self.entropy,
                disclosures=self.disclosures,
                prompt_keys=self.prompt_keys,
                legal_hold_salts=self.salts,
                published=self._published,
            )
        )

    def again(self) -> FakeSite:
        """The process that follows after this one died, started up."""
        if self.journal is not None:
            self.journal.close()
        site = FakeSite(self)
        site.project(*site.journals.sources())
        site.administration.restore()
        return site

    def open_journal(self) -> InMemoryJournal:
        """The control journal, opened at the first call."""
        if self.journal is None:
            self.journal = self.journals.open(f"/node/control/{self.ids.new()}")
        return self.journal

    def project(self, *sources: str) -> None:
        """Projects journals to their end."""
        for _ in self.projector.catch_up(sources):
            pass

    def recover(self) -> Sequence[str]:
        """Ends what dead workers left open, and closes their leases."""
        recover(self.journals, self.store, self.open_journal, self.clock, self.ids)
        return close_dead(self.ledger)

    def snapshot(self) -> Snapshot:
        """What workers serve from now.

        Raises:
            LookupError: nothing was published.
        """
        if self.published.content is None:
            raise LookupError("nothing was published")
        return decode(self.published.content)

    def control(self, ledger: Ledger) -> Control:
        """The control process over all this."""
        return Control(
            ControlParts(
                administration=self.administration,
                store=self.store,
                reader=self.journals,
                projector=self.projector,
                recover=self.recover,
                ledger=ledger,
                journal_failed=lambda: self.open_journal().failed,
                clock=self.clock,
                deletion=self._deletion(),
            )
        )

    def _deletion(self) -> JournalDeletion:
        """What would delete journals, if they had files."""
        return JournalDeletion(
            DeletionParts(
                store=self.store,
                reader=self.journals,
                files=NoJournalFiles(),
                trail=NoTrailCover(),
                journal=self.open_journal,
                project=self.project,
                clock=self.clock,
                ids=self.ids,
                rest=lambda _: False,
                stop=lambda: None,
            ),
            keep_s=60.0,
        )

    def publish_policy(self, *files: BundleFile) -> str:
        """Publishes a bundle that is fit, as Ada; its revision.

        Raises:
            RuntimeError: it is not published.
        """
        result = self.administration.policies.publish(files, "", ADA)
        if result.state != "published":
            raise RuntimeError(f"the bundle is {result.state}")
        return result.revision

    def policy_in_force(self) -> str | None:
        """The revision that workers decide by now; None: no policy is active."""
        policy = self.snapshot().policy
        return None if policy is None else policy.revision

    def _published(self) -> Published | None:
        if self.trail_size is None:
            return None
        return Published("trail.example", self.trail_size, bytes(32), 0, ())

    def _compile(self, registry: Registry, now_ns: int) -> RateCard:
        rates = ModelRates("small-1", (Step(0, {"input": self.price_pico_usd}),))
        models: dict[str, dict[str, ModelRates]] = {
            provider: {"small-1": rates} for provider in registry.providers
        }
        changes_ns = self.prices_change_ns
        if changes_ns is not None and changes_ns <= now_ns:
            changes_ns = None
        return rate_card(RATES_SOURCE, models, None, changes_ns)


def applied_site() -> FakeSite:
    """A process with a small configuration, which Ada has applied."""
    site = FakeSite()
    site.administration.apply(small_registry(), "sha256:1", ADA)
    return site
