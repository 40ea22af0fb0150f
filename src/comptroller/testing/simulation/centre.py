"""The simulated centre: the real ledger, projection, recovery and closing.

What the control process does in a loop is done here by events; see engine/control.py
and bootstrap/site.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import msgspec

from comptroller.core.difference import difference
from comptroller.core.errors import (
    JournalUnavailableError,
    RecordError,
    StoreUnavailableError,
)
from comptroller.core.registry import Registry
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.ledger import LedgerParts
from comptroller.engine.ports import DurableJournal, Store
from comptroller.engine.projection import Projector, is_administrative
from comptroller.engine.records import Actor
from comptroller.engine.registry_fold import encode_object, fold
from comptroller.testing.simulation.disk import SimulatedJournal
from comptroller.testing.simulation.honesty import Honesty
from comptroller.testing.simulation.machine import Machine
from comptroller.testing.simulation.organization import Organization
from comptroller.testing.simulation.process import Process

PROJECT_EVERY_S: Final = 0.5
RETRY_S: Final = 2.0
RECOVERY_EVERY_S: Final = 1.0
STEP_BYTES: Final = 1024 * 1024
ACTOR: Final = Actor(person="ada", account="ada@host")
_RETRIED: Final = (StoreUnavailableError, JournalUnavailableError, RecordError)


class CentreWorld(Machine, Protocol):
    """What the centre needs of the world."""

    @property
    def is_store_away(self) -> bool:
        """Whether the store does not answer."""

    def publish(self, revision: int, registry: Registry | None) -> None:
        """Lets workers know what is applied."""

    def centre_died(self, centre: Centre) -> None:
        """The centre is gone."""


class StoreLink:
    """One process's connection to the store, which outlives it.

    What may fail, fails here: every call while the store is away, and the process may
    die just before or after each write.
    """

    def __init__(self, world: CentreWorld, process: Process) -> None:
        self._world = world
        self._process = process
        self._has_moved: bool = False

    def project(self, *arguments: Any) -> None:  # noqa: ANN401  passed on
        """A write: the process may be gone before it, or after."""
        self._look()
        self._process.step("is to commit")
        self._world.store.project(*arguments)
        self._world.witness.projected()
        self._process.step("has committed")

    def take_moved(self) -> frozenset[str] | None:
        """Kept in the memory of the one writer: a new one does not know."""
        self._look()
        moved = self._world.store.take_moved()
        if not self._has_moved:
            self._has_moved = True
            return None
        return moved

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  every read is passed on
        self._look()
        return getattr(self._world.store, name)

    def _look(self) -> None:
        if self._world.is_store_away:
            raise StoreUnavailableError


class Centre:
    """One control process, from its start to its death."""

    def __init__(self, world: CentreWorld) -> None:
        self.world = world
        self.on_death: list[Callable[[], None]] = []
        name = world.ids.new()
        self.source = f"/node/control/{name}"
        self.process = Process(f"control#{name[-3:]}", world.agenda, world.trace)
        self.process.on_killed = lambda: world.centre_died(self)
        self._journal: SimulatedJournal | None = None
        self.store = cast("Store", StoreLink(world, self.process))
        self.projector = Projector(world.disk, self.store)
        self.parts = LedgerParts(
            store=self.store,
            reader=world.disk,
            journal=self.journal,
            project=self._project,
            clock=world.agenda,
            ids=world.ids,
            boot=world.boot,
        )
        self.ledger = world.parts.ledger(self.parts, self.process)
        self.problems: dict[str, str] = {}
        self.process.run(self._start)

    @property
    def judge(self) -> Honesty:
        """Who looks at what is answered."""
        return self.world.witness.honesty

    def journal(self) -> DurableJournal:
        """The control journal, opened at the first call."""
        if self._journal is None:
            self._journal = SimulatedJournal(
                self.source, self.process, self.world.draw, to_disk=True
            )
            self.world.disk.keep(self._journal)
        return self._journal

    def look_after_ledger(self) -> None:
        """Ends the process when only a new one can go on with the ledger."""
        if self.ledger.failed is not None:
            self.world.trace.say(self.process.name, f"ends: {self.ledger.failed}")
            self.process.kill()

    def apply(self, organization: Organization) -> None:
        """Applies another configuration, as engine/administration.py does."""
        after = organization.registry()
        try:
            before = fold(self.store.registry_objects())
            revision = self.store.revision() + 1
            changes = difference(before, after)
            batch = self._batch()
            for change in changes:
                data = records.ObjectChange(
                    revision=revision,
                    kind=change.kind,
                    id=change.id,
                    after=_raw(change.after),
                    actor=ACTOR,
                )
                batch.add(records.OBJECT_CHANGED, change.kind, data)
            applied = records.RegistryApplied(
                revision=revision, changes=len(changes), digest="", actor=ACTOR
            )
            batch.add(records.REGISTRY_APPLIED, "registry", applied)
            self._project(batch.commit())
            self.publish()
        except (StoreUnavailableError, JournalUnavailableError):
            self.process.kill()  # what is recorded is projected by the next one

    def issue(self, organization: Organization) -> None:
        """Issues every credential that clients use."""
        batch = self._batch()
        for client in organization.clients():
            data = records.CredentialIssued(
                credential_id=client.where.credential,
                service=client.where.service,
                person="ada",
                secret_sha256="",
                not_before_ns=0,
                expires_ns=None,
                actor=ACTOR,
            )
            batch.add(records.CREDENTIAL_ISSUED, "credential", data)
        self._project(batch.commit())

    def publish(self) -> None:
        """Lets workers know what is applied."""
        registry = fold(self.store.registry_objects())
        self.process.step("is to publish")
        self.world.publish(self.store.revision(), registry)

    def settle_suspense(self, spent_of: Callable[[str, str], int]) -> None:
        """A named person says of every lost lease what was really spent."""
        try:
            batch = self._batch()
            for lease in self.store.suspense():
                spent = spent_of(lease.holder, lease.account)
                data = records.SuspenseSettled(
                    holder=lease.holder,
                    account=lease.account,
                    spent_nano_usd=spent,
                    reason="asked the provider",
                    actor=ACTOR,
                )
                batch.add(records.SUSPENSE_SETTLED, "suspense", data)
            if len(batch):
                self._project(batch.commit())
        except _RETRIED as error:
            self.problems["suspense"] = error.message

    # -- what the control process does over and over -------------------------

    def _start(self) -> None:
        try:
            self._project(*filter(is_administrative, self.world.disk.sources()))
            self.publish()
        except _RETRIED as error:
            self.world.trace.say(self.process.name, f"cannot start: {error}")
            self.process.kill()
            return
        self.world.network.centre = self
        self._step()
        self.process.call_later(self.world.draw.real(0, 1), self._recover)

    def _step(self) -> None:
        wait_s = PROJECT_EVERY_S
        try:
            self.projector.step(STEP_BYTES)
            self.ledger.trouble = None
            self.problems.pop("projection", None)
        except _RETRIED as error:
            self.problems["projection"] = error.message
            is_down = isinstance(error, StoreUnavailableError)
            self.ledger.trouble = error if is_down else None
            wait_s = RETRY_S
        try:
            self.ledger.tick()
        except _RETRIED as error:
            self.problems["limits"] = error.message
        self.process.call_later(wait_s, self._step)
        self.look_after_ledger()

    def _recover(self) -> None:
        parts, world = self.parts, self.world
        try:
            try:
                world.parts.recover(
                    parts.reader, parts.store, parts.journal, parts.clock, parts.ids
                )
            finally:
                problems = world.parts.close_dead(parts)
            self.problems.pop("recovery", None)
            self.problems.pop("leases", None)
            if problems:
                self.problems["leases"] = "; ".join(problems)
        except _RETRIED as error:
            self.problems["recovery"] = error.message
            if self._journal is not None and self._journal.failed:
                self.process.kill()
        # Not in step with projection: a loaded machine drifts.
        wait_s = RECOVERY_EVERY_S * self.world.draw.real(0.7, 1.2)
        self.process.call_later(wait_s, self._recover)

    def _project(self, *sources: str) -> None:
        for _ in self.projector.catch_up(sources):
            pass

    def _batch(self) -> Batch:
        return Batch(self.journal, self.world.agenda, self.world.ids)


def _raw(value: Any) -> Any:  # noqa: ANN401  of any kind of object
    return records.NULL if value is None else msgspec.Raw(encode_object(value))
