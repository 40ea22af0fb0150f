"""Administration: what is applied, and which credentials exist.

Every act is validated against the store, recorded durably in the control journal,
projected, and published to the workers, in this order. An act that was recorded
happened, even if the process dies before the rest: the next one projects and
publishes it. An act that was not recorded changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from comptroller.core import credential as credentials
from comptroller.core.account import is_money
from comptroller.core.credential import Credential, CredentialId, CredentialState
from comptroller.core.difference import difference
from comptroller.core.disclosure import SALT_BYTES
from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    StoreUnavailableError,
)
from comptroller.core.money import usd
from comptroller.core.rates import RateCard
from comptroller.core.registry import PersonId, Registry, ServiceId
from comptroller.core.timestamps import rfc3339
from comptroller.engine import records, snapshot
from comptroller.engine.access import Readings
from comptroller.engine.applying import Applied
from comptroller.engine.arguments import one_line, require
from comptroller.engine.batch import Batch
from comptroller.engine.legal_holds import LegalHoldParts
from comptroller.engine.policy_life import PolicyLife, PolicyParts
from comptroller.engine.policy_ports import BundleArchive, BundleChecker
from comptroller.engine.ports import (
    Clock,
    DurableJournal,
    Entropy,
    Ids,
    RateCards,
    SnapshotStore,
    Store,
)
from comptroller.engine.privacy_life import PrivacyLife, PrivacyParts
from comptroller.engine.privacy_ports import DisclosureTable, PromptKeys
from comptroller.engine.records import Actor
from comptroller.engine.retention import Retention
from comptroller.engine.retention_ports import LegalHoldSalts
from comptroller.engine.snapshot import ReachedThreshold
from comptroller.engine.thresholds import reached_thresholds
from comptroller.engine.trail_ports import Published

OVERLAP_DEFAULT_NS: Final = 24 * 3600 * 10**9
OVERLAP_MAX_NS: Final = 90 * 24 * 3600 * 10**9
PROMPT_KEY_BYTES: Final = 32
_PLACES: Final = 9


class Parts(NamedTuple):
    """What administration works with; bootstrap fills it in."""

    journal: Callable[[], DurableJournal]
    """The control journal; opened at the first act, so that a look costs no file."""
    project: Callable[[str], None]
    """Projects one source's journal to its end."""
    store: Store
    snapshots: SnapshotStore
    cards: RateCards
    """Every card is kept before a worker may price by it."""
    archive: BundleArchive
    check_bundle: BundleChecker
    compile_rates: Callable[[Registry, int], RateCard]
    rates_source: str
    """Where rates come from now; a card from elsewhere is compiled again."""
    clock: Clock
    ids: Ids
    entropy: Entropy
    disclosures: DisclosureTable
    prompt_keys: PromptKeys
    legal_hold_salts: LegalHoldSalts
    published: Callable[[], Published | None]
    """The last checkpoint of the trail."""


class AppliedResult(msgspec.Struct, frozen=True):
    """A configuration took effect, or nothing in it was new."""

    revision: int
    changes: int
    """0: it says what was applied already, so there is no new revision."""


class IssuedSecret(msgspec.Struct, frozen=True):
    """A new secret: shown once, never stored."""

    credential_id: str
    secret: str
    service: str
    person: str
    expires_ns: int | None
    old_until_ns: int | None = None
    """After a rotation: until when the old secret works."""


class Revoked(msgspec.Struct, frozen=True):
    """A credential that no worker accepts any more."""

    credential_id: str
    revoked_ns: int
    reason: str


class SuspenseEnded(msgspec.Struct, frozen=True):
    """What a lost holder may have spent of an account is settled."""

    holder: str
    account: str
    spent_nano_usd: int
    freed_nano_usd: int


class Administration:
    """The acts of administration, for the one process that holds the control lock."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sequence = 0
        self._in_force = Applied(parts.store, parts.disclosures)
        self._card: tuple[int, RateCard] | None = None
        """The compiled rate card and the revision for which it was compiled."""
        self.policies = PolicyLife(
            PolicyParts(
                store=parts.store,
                archive=parts.archive,
                check=parts.check_bundle,
                registry=self._applied,
                batch=self._batch,
                take_effect=self._take_effect,
                record=self._record,
                publish=self.publish,
            )
        )
        acting = self._applied, self._batch, self._record
        salts, ids, entropy = parts.legal_hold_salts, parts.ids, parts.entropy
        held = LegalHoldParts(parts.store, salts, ids, entropy, *acting)
        self.retention = Retention(held, parts.published)
        check = self.retention.legal_holds.check_erasure
        self.privacy = PrivacyLife(PrivacyParts(parts.disclosures, ids, *acting, check))
        self.readings = Readings(self.registry, self._batch, self._record)
        self.reached: list[ReachedThreshold] = []
        """As last published."""

    def restore(self) -> None:
        """Takes up the last publication and publishes what the store holds now.

        A rate card that still holds is taken over: compiling costs half a second.

        Raises:
            StoreUnavailableError: the store or the snapshot's disk does not answer.
        """
        self.privacy.finish()
        self.retention.legal_holds.sweep()
        document = self._parts.snapshots.read_if_changed()
        if document is not None:
            try:
                last = snapshot.decode(document)
            except StoreUnavailableError:
                # Another release wrote it: everything in it is in the store, too.
                self._sequence = self._parts.clock.now_ns() // 1000
            else:
                self._sequence = last.sequence
                self.policies.take_up(last.policy)
                if last.rate_card.source == self._parts.rates_source:
                    self._card = (last.revision, last.rate_card)
                if self.rates_are_due():
                    self._card = None
        self.publish()

    def publish(self) -> None:
        """Publishes the store's state to the workers; nothing before a first apply.

        Raises:
            StoreUnavailableError: the disk refuses; workers keep the last one.
        """
        registry = self.registry()
        if registry is None:
            return
        if registry.gateway.privacy.prompt_fingerprint:
            new_key = partial(self._parts.entropy.token, PROMPT_KEY_BYTES)
            self._parts.prompt_keys.prepare(tuple(registry.tenants), new_key)
        revision = self._parts.store.revision()
        if self._card is None or self._card[0] != revision:
            self._card = (revision, self.compile(registry))
        self._parts.cards.keep(self._card[1])
        now_ns = self._parts.clock.now_ns()
        self.reached = reached_thresholds(self._parts.store, registry, now_ns)
        self._sequence += 1
        document = snapshot.Snapshot(
            sequence=self._sequence,
            revision=revision,
            registry=registry,
            credentials=[row.credential for row in self._parts.store.credentials()],
            rate_card=self._card[1],
            policy=self.policies.active(),
            reached=self.reached,
        )
        self._parts.snapshots.publish(snapshot.encode(document))

    def compile(self, registry: Registry) -> RateCard:
        """Compiles the rate card of a registry at this moment; may take a second."""
        return self._parts.compile_rates(registry, self._parts.clock.now_ns())

    def rates_are_due(self) -> bool:
        """Whether the catalogue's prices have changed since the card was compiled."""
        changes_ns = self._card[1].changes_ns if self._card is not None else None
        return changes_ns is not None and changes_ns <= self._parts.clock.now_ns()

    def adopt(self, revision: int, card: RateCard) -> None:
        """Publishes a newly compiled rate card, unless it is no news."""
        if self._card is not None and self._card == (revision, card):
            return
        if revision == self._parts.store.revision():
            self._card = (revision, card)
            self.publish()

    def card(self) -> RateCard | None:
        """The rate card last published; None: none yet."""
        return self._card[1] if self._card is not None else None

    def registry(self) -> Registry | None:
        """What is applied; None: nothing yet."""
        return self._in_force.registry()

    def revision(self) -> int:
        """The revision of what is applied; 0: nothing yet."""
        return self._parts.store.revision()

    def apply(
        self,
        after: Registry,
        digest: str,
        actor: Actor,
        based_on: int | None = None,
    ) -> AppliedResult:
        """Makes a configuration take effect, as a whole.

        Args:
            after: the configuration.
            digest: `sha256:` of its text.
            actor: who does this.
            based_on: the revision whose difference was looked at; None: any.

        Raises:
            ConflictError: somebody applied another configuration since.
            NotFoundError: the actor's person is in neither configuration.
            JournalUnavailableError: nothing was applied.
            StoreUnavailableError: nothing was recorded, or it was and is not
                published: the next process that administers does that.
        """
        before = self.registry()
        revision = self.revision()
        if based_on is not None and based_on != revision:
            raise ConflictError(
                f"revision {revision} was applied meanwhile, after the revision"
                f" {based_on} that this plan compares with: plan again"
            )
        people = {**(before.people if before else {}), **after.people}
        require(actor.person, people, "person")
        changes = difference(before, after)
        if not changes:
            return AppliedResult(revision, 0)
        self._check_credentials_owned(after)
        self.policies.check_owners(after)
        batch = self._batch()
        writer = self._in_force.writer(partial(self._parts.entropy.token, SALT_BYTES))
        for change in changes:
            batch.add(*writer.record(change, revision + 1, actor))
        if writer.lines:
            self._parts.disclosures.keep(self._parts.ids.new(), writer.lines)
        applied = records.RegistryApplied(
            revision=revision + 1, changes=len(changes), digest=digest, actor=actor
        )
        batch.add(records.REGISTRY_APPLIED, "registry", applied)
        self._take_effect(batch)
        return AppliedResult(revision + 1, len(changes))

    def issue(
        self, service: str, person: str, expires_ns: int | None, actor: Actor
    ) -> IssuedSecret:
        """Issues a credential of a service to a person.

        Raises:
            NotFoundError: no such service or person is declared.
            InvalidArgumentError: it would expire in the past.
            ConflictError: nothing is applied yet.
        """
        registry = self._applied()
        require(actor.person, registry.people, "person")
        require(service, registry.services, "service")
        require(person, registry.people, "person")
        now_ns = self._parts.clock.now_ns()
        if expires_ns is not None and expires_ns <= now_ns:
            raise InvalidArgumentError(f"{rfc3339(expires_ns)} is in the past")
        credential_id = self._unused_id()
        secret = self._new_secret(credential_id)
        issued = records.CredentialIssued(
            credential_id=credential_id,
            service=service,
            person=person,
            secret_sha256=credentials.hash_secret(secret),
            not_before_ns=now_ns,
            expires_ns=expires_ns,
            actor=actor,
        )
        self._act(records.CREDENTIAL_ISSUED, credential_id, issued)
        return IssuedSecret(credential_id, secret, service, person, expires_ns)

    def rotate(self, credential_id: str, overlap_ns: int, actor: Actor) -> IssuedSecret:
        """Gives a credential a new secret; the old ones work until the overlap ends.

        Raises:
            NotFoundError: there is no such credential.
            ConflictError: it is revoked or expired.
            InvalidArgumentError: the overlap is not between 0 and 90 days.
        """
        require(actor.person, self._applied().people, "person")
        if not 0 <= overlap_ns <= OVERLAP_MAX_NS:
            raise InvalidArgumentError("an overlap is between 0 and 90 days long")
        now_ns = self._parts.clock.now_ns()
        found = self._active(credential_id, now_ns)
        secret = self._new_secret(found.id)
        rotated = records.CredentialRotated(
            credential_id=found.id,
            secret_sha256=credentials.hash_secret(secret),
            not_before_ns=now_ns,
            old_not_after_ns=now_ns + overlap_ns,
            actor=actor,
        )
        self._act(records.CREDENTIAL_ROTATED, found.id, rotated)
        return IssuedSecret(
            found.id,
            secret,
            found.service,
            found.person,
            found.expires_ns,
            now_ns + overlap_ns,
        )

    def revoke(self, credential_id: str, reason: str, actor: Actor) -> Revoked:
        """Ends a credential with all its secrets, for good.

        Raises:
            NotFoundError: there is no such credential.
            ConflictError: it is revoked already.
            InvalidArgumentError: there is no reason, or it is too long.
        """
        require(actor.person, self._applied().people, "person")
        why = one_line(reason, "--reason TEXT")
        found = self._find(credential_id)
        if found.revoked_ns is not None:
            raise ConflictError(
                f"credential {found.id} was revoked at {rfc3339(found.revoked_ns)}:"
                f" {found.revoked_reason}"
            )
        now_ns = self._parts.clock.now_ns()
        revoked = records.CredentialRevoked(
            credential_id=found.id, reason=why, revoked_ns=now_ns, actor=actor
        )
        self._act(records.CREDENTIAL_REVOKED, found.id, revoked)
        return Revoked(found.id, now_ns, why)

    def settle_suspense(
        self, holder: str, account: str, spent_nano_usd: int, reason: str, actor: Actor
    ) -> SuspenseEnded:
        """Books what a lost holder spent of an account; the rest is free again.

        Raises:
            NotFoundError: the person, or such a holder, is not known.
            ConflictError: nothing of that holder is in suspense there.
            InvalidArgumentError: nobody or no reason is named, or more was spent
                than is in suspense.
        """
        if actor.person is None:
            raise InvalidArgumentError("say who settles this: --by PERSON")
        require(actor.person, self._applied().people, "person")
        why = one_line(reason, "--reason TEXT")
        leases = self._parts.store.leases(holder=holder, account=account)
        held = sum(lease.suspense for lease in leases)
        if not held:
            raise ConflictError(
                f"nothing of {holder} is in suspense on {account}: see comptroller"
                " budget suspense list for what is"
            )
        if spent_nano_usd and not is_money(account):
            raise InvalidArgumentError(
                f"{account} counts requests under way, and a lost process has none:"
                " settle it with 0"
            )
        if not 0 <= spent_nano_usd <= held:
            raise InvalidArgumentError(
                f"{usd(held, _PLACES)} USD of {holder} are in suspense on {account}; it"
                f" cannot have spent {usd(spent_nano_usd, _PLACES)} USD"
            )
        settled = records.SuspenseSettled(
            holder=holder,
            account=account,
            spent_nano_usd=spent_nano_usd,
            reason=why,
            actor=actor,
        )
        batch = self._batch()
        batch.add(records.SUSPENSE_SETTLED, f"account/{account}", settled)
        self._record(batch)
        freed = held - spent_nano_usd
        return SuspenseEnded(holder, account, spent_nano_usd, freed)

    def _act(self, kind: str, credential_id: str, data: msgspec.Struct) -> None:
        batch = self._batch()
        batch.add(kind, f"credential/{credential_id}", data)
        self._take_effect(batch)

    def _batch(self) -> Batch:
        return Batch(self._parts.journal, self._parts.clock, self._parts.ids)

    def _record(self, batch: Batch) -> None:
        self._parts.project(batch.commit())

    def _take_effect(self, batch: Batch) -> None:
        self._record(batch)
        self.publish()

    def _applied(self) -> Registry:
        registry = self.registry()
        if registry is None:
            raise ConflictError(
                "nothing is applied in this data directory yet: run comptroller apply"
                " first, or name another directory with --data"
            )
        return registry

    def _check_credentials_owned(self, after: Registry) -> None:
        """Refuses to take away a person who answers for a live credential."""
        now_ns = self._parts.clock.now_ns()
        for row in self._parts.store.credentials():
            one = row.credential
            live = credentials.state(one, now_ns) == CredentialState.ACTIVE
            served = ServiceId(one.service) in after.services
            if live and served and PersonId(one.person) not in after.people:
                raise ConflictError(
                    f"person {one.person} holds credential {one.id} of service"
                    f" {one.service}: revoke it, or keep the person"
                )

    def _find(self, credential_id: str) -> Credential:
        if credential_id.startswith(credentials.PREFIX):
            # After a leak people paste what leaked; no message may repeat it.
            public = credential_id.removeprefix(credentials.PREFIX).partition("_")[0]
            raise InvalidArgumentError(
                f"that is a secret, not an id: {public} is the id of its credential"
            )
        known = {
            row.credential.id: row.credential for row in self._parts.store.credentials()
        }
        require(credential_id, known, "credential")
        return known[CredentialId(credential_id)]

    def _active(self, credential_id: str, now_ns: int) -> Credential:
        found = self._find(credential_id)
        state = credentials.state(found, now_ns)
        if state != CredentialState.ACTIVE:
            raise ConflictError(
                f"credential {found.id} is {state}: issue a new one with"
                f" comptroller key issue {found.service} --for {found.person}"
            )
        return found

    def _unused_id(self) -> CredentialId:
        taken = {row.credential.id for row in self._parts.store.credentials()}
        while True:
            made = credentials.public_id(self._token())
            if made not in taken:
                return made

    def _new_secret(self, credential_id: CredentialId) -> str:
        return credentials.compose(credential_id, self._token())

    def _token(self) -> bytes:
        return self._parts.entropy.token(credentials.ENTROPY_BYTES_MIN)
