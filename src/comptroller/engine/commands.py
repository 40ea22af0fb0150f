"""Commands: the acts of administration as values, the same in process and over RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from comptroller.core import errors
from comptroller.core.registry import Registry
from comptroller.engine import replies
from comptroller.engine.access import Scope
from comptroller.engine.administration import (
    OVERLAP_DEFAULT_NS,
    Administration,
    AppliedResult,
    IssuedSecret,
    Revoked,
    SuspenseEnded,
)
from comptroller.engine.leasing import (
    AskLeases,
    AwaitRecall,
    Leased,
    LeasesReturned,
    Recall,
)
from comptroller.engine.legal_holds import LiftedLegalHold, PlacedLegalHold
from comptroller.engine.objects import Owners, Whose
from comptroller.engine.policy_life import ActivatedPolicy, PolicyLife, PublishedPolicy
from comptroller.engine.policy_ports import BundleFile, CheckedBundle
from comptroller.engine.privacy_life import Erased, Selection
from comptroller.engine.privacy_ports import Held
from comptroller.engine.records import Actor
from comptroller.engine.retention import Pruned


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Asks whether anybody is there."""


class Sync(msgspec.Struct, frozen=True, tag="sync"):
    """Asks that everything recorded until now be in the store."""


class AskStatus(msgspec.Struct, frozen=True, tag="status"):
    """Asks how the control process is doing."""


class Apply(msgspec.Struct, frozen=True, tag="apply"):
    """Asks that a configuration take effect."""

    registry: Registry
    digest: str
    based_on: int | None
    by: str | None


class Issue(msgspec.Struct, frozen=True, tag="issue"):
    """Asks for a credential."""

    service: str
    person: str
    expires_ns: int | None
    by: str | None


class Rotate(msgspec.Struct, frozen=True, tag="rotate"):
    """Asks for a new secret of a credential."""

    credential_id: str
    overlap_ns: int
    by: str | None


class Revoke(msgspec.Struct, frozen=True, tag="revoke"):
    """Asks that a credential end."""

    credential_id: str
    reason: str
    by: str | None


class SettleSuspense(msgspec.Struct, frozen=True, tag="settle_suspense"):
    """Asks that what a lost holder may have spent be replaced by what it did spend."""

    holder: str
    account: str
    spent_nano_usd: int
    reason: str
    by: str
    """A declared person: nobody settles this unnamed."""


class PublishPolicy(msgspec.Struct, frozen=True, tag="publish_policy"):
    """Asks that a bundle be checked, tested, kept and recorded."""

    files: list[BundleFile]
    note: str
    by: str
    """Its author."""


class ActivatePolicy(msgspec.Struct, frozen=True, tag="activate_policy"):
    """Asks that a published bundle decide from now on."""

    revision: str
    by: str
    """Who approves it."""


class DeactivatePolicy(msgspec.Struct, frozen=True, tag="deactivate_policy"):
    """Asks that no bundle decide from now on."""

    author: str
    note: str
    by: str
    """Who approves it."""


class ErasePersonal(msgspec.Struct, frozen=True, tag="erase_personal"):
    """Asks that what discloses persons be destroyed."""

    selection: Selection
    reason: str
    by: str
    """A declared person: nobody erases this unnamed."""


class NoteReading(msgspec.Struct, frozen=True, tag="note_reading"):
    """Asks that a reading be recorded, before it is answered."""

    what: str
    scope: Scope
    by: str | None


class PlaceLegalHold(msgspec.Struct, frozen=True, tag="place_legal_hold"):
    """Asks that everything, or what is of one end user, be kept."""

    end_user: str | None
    """None: everything."""
    reason: str
    by: str


class LiftLegalHold(msgspec.Struct, frozen=True, tag="lift_legal_hold"):
    """Asks that a legal hold be in force no more."""

    legal_hold_id: str
    reason: str
    by: str


class PruneTrail(msgspec.Struct, frozen=True, tag="prune_trail"):
    """Asks that the first entries of the trail go."""

    below: int
    reason: str
    approved_by: str
    by: str


RetentionAct: TypeAlias = PlaceLegalHold | LiftLegalHold | PruneTrail
PolicyAct: TypeAlias = PublishPolicy | ActivatePolicy | DeactivatePolicy
Act: TypeAlias = (
    Apply
    | Issue
    | Rotate
    | Revoke
    | SettleSuspense
    | PolicyAct
    | ErasePersonal
    | RetentionAct
    | NoteReading
)
Prepared: TypeAlias = CheckedBundle | list[Held]
"""What an act needs and what takes long to find; see `perform`."""
Leasing: TypeAlias = AskLeases | AwaitRecall | LeasesReturned
Command: TypeAlias = Ping | Sync | AskStatus | Act | Leasing | Whose


class Done(msgspec.Struct, frozen=True):
    """An answer without content."""


class Status(msgspec.Struct, frozen=True):
    """How the control process is doing."""

    revision: int
    workers: int
    """Journals of workers that live now."""
    lag_bytes: int
    """Recorded and not yet projected."""
    credentials: int
    """Credentials that are neither revoked nor expired."""
    rate_card: str | None
    problems: list[str]
    """What keeps it from its work now; empty: nothing."""


_Result = TypeVar("_Result", bound=msgspec.Struct)
Result: TypeAlias = (
    Done
    | Status
    | AppliedResult
    | IssuedSecret
    | Revoked
    | SuspenseEnded
    | PublishedPolicy
    | ActivatedPolicy
    | Erased
    | PlacedLegalHold
    | LiftedLegalHold
    | Pruned
    | Leased
    | Recall
    | Owners
)


RESULTS: Final[Mapping[type[Command], type[Result]]] = {
    Ping: Done,
    Sync: Done,
    AskStatus: Status,
    Apply: AppliedResult,
    Issue: IssuedSecret,
    Rotate: IssuedSecret,
    Revoke: Revoked,
    SettleSuspense: SuspenseEnded,
    PublishPolicy: PublishedPolicy,
    ActivatePolicy: ActivatedPolicy,
    DeactivatePolicy: ActivatedPolicy,
    ErasePersonal: Erased,
    PlaceLegalHold: PlacedLegalHold,
    LiftLegalHold: LiftedLegalHold,
    PruneTrail: Pruned,
    NoteReading: Done,
    AskLeases: Leased,
    AwaitRecall: Recall,
    LeasesReturned: Done,
    Whose: Owners,
}

_COMMANDS: Final[msgspec.json.Decoder[Command]] = msgspec.json.Decoder(Command)


def decode_command(line: bytes) -> Command:
    """Reads a command.

    Raises:
        InvalidArgumentError: it is none that this release knows.
    """
    try:
        return _COMMANDS.decode(line)
    except msgspec.DecodeError as error:
        raise errors.InvalidArgumentError(f"not a command: {error}") from error


def decode_reply(command: Command, line: bytes) -> Result:
    """Reads the answer to a command.

    Raises:
        ComptrollerError: the error that the answer states, of its own class.
        ControlUnavailableError: it is no answer of this release.
    """
    return replies.decode_as(RESULTS[type(command)], line)


def perform(
    command: Act,
    administration: Administration,
    account: str,
    prepared: Prepared | None = None,
) -> Result:
    """Performs an act.

    Args:
        command: what to do.
        administration: of the process that holds the control lock.
        account: `user@host` of whoever asks, as the operating system has it.
        prepared: what was found of the bundle that is to be published, or of what is
            to be erased; None: it is looked for here.

    Raises:
        ComptrollerError: nothing was done.
    """
    actor = Actor(person=command.by, account=account)
    match command:
        case Apply(registry, digest, based_on):
            return administration.apply(registry, digest, actor, based_on)
        case Issue() | Rotate() | Revoke():
            return _perform_on_credential(command, administration, actor)
        case SettleSuspense(holder, lease, spent, reason):
            return administration.settle_suspense(holder, lease, spent, reason, actor)
        case PublishPolicy() | ActivatePolicy() | DeactivatePolicy():
            checked = prepared if isinstance(prepared, CheckedBundle) else None
            return _perform_policy(command, administration.policies, actor, checked)
        case ErasePersonal() | PlaceLegalHold() | LiftLegalHold() | PruneTrail():
            found = prepared if isinstance(prepared, list) else None
            return _perform_on_kept(command, administration, actor, found)
        case NoteReading(what, scope):
            administration.readings.note(what, scope, actor)
            return Done()


def _perform_on_credential(
    command: Issue | Rotate | Revoke, administration: Administration, actor: Actor
) -> IssuedSecret | Revoked:
    match command:
        case Issue(service, person, expires_ns):
            return administration.issue(service, person, expires_ns, actor)
        case Rotate(credential_id, overlap_ns):
            return administration.rotate(credential_id, overlap_ns, actor)
        case Revoke(credential_id, reason):
            return administration.revoke(credential_id, reason, actor)


def _perform_policy(
    command: PolicyAct,
    policies: PolicyLife,
    actor: Actor,
    checked: CheckedBundle | None,
) -> PublishedPolicy | ActivatedPolicy:
    match command:
        case PublishPolicy(files, note):
            return policies.publish(files, note, actor, checked)
        case ActivatePolicy(revision):
            return policies.activate(revision, actor)
        case DeactivatePolicy(author, note):
            return policies.deactivate(author, note, actor)


def _perform_on_kept(
    command: ErasePersonal | RetentionAct,
    administration: Administration,
    actor: Actor,
    found: list[Held] | None,
) -> Erased | PlacedLegalHold | LiftedLegalHold | Pruned:
    retention = administration.retention
    match command:
        case ErasePersonal(selection, reason):
            return administration.privacy.erase(selection, reason, actor, found)
        case PlaceLegalHold(end_user, reason):
            return retention.legal_holds.place(end_user, reason, actor)
        case LiftLegalHold(legal_hold_id, reason):
            return retention.legal_holds.lift(legal_hold_id, reason, actor)
        case PruneTrail(below, reason, approved_by):
            return retention.prune(below, reason, actor, approved_by)


class Administrator:
    """Administration for a person at a terminal, wherever it is performed.

    Args:
        send: performs a command here, or has the control process perform it.
        by: the declared person who acts, where one was named.
    """

    def __init__(self, send: Callable[[Act], Result], by: str | None = None) -> None:
        self._send = send
        self._by = by

    def apply(
        self, after: Registry, digest: str, based_on: int | None = None
    ) -> AppliedResult:
        """See `Administration.apply`."""
        return self._ask(Apply(after, digest, based_on, self._by), AppliedResult)

    def issue(
        self, service: str, person: str, expires_ns: int | None = None
    ) -> IssuedSecret:
        """See `Administration.issue`."""
        return self._ask(Issue(service, person, expires_ns, self._by), IssuedSecret)

    def rotate(
        self, credential_id: str, overlap_ns: int = OVERLAP_DEFAULT_NS
    ) -> IssuedSecret:
        """See `Administration.rotate`."""
        return self._ask(Rotate(credential_id, overlap_ns, self._by), IssuedSecret)

    def revoke(self, credential_id: str, reason: str) -> Revoked:
        """See `Administration.revoke`."""
        return self._ask(Revoke(credential_id, reason, self._by), Revoked)

    def settle_suspense(
        self, holder: str, account: str, spent_nano_usd: int, reason: str
    ) -> SuspenseEnded:
        """See `Administration.settle_suspense`.

        Raises:
            InvalidArgumentError: nobody is named.
        """
        if self._by is None:
            raise errors.InvalidArgumentError(
                "say who settles this: --by PERSON, a person of the configuration"
            )
        asked = SettleSuspense(holder, account, spent_nano_usd, reason, self._by)
        return self._ask(asked, SuspenseEnded)

    def publish_policy(
        self, files: Sequence[BundleFile], note: str, author: str
    ) -> PublishedPolicy:
        """See `PolicyLife.publish`."""
        return self._ask(PublishPolicy(list(files), note, author), PublishedPolicy)

    def activate_policy(self, revision: str, approver: str) -> ActivatedPolicy:
        """See `PolicyLife.activate`."""
        return self._ask(ActivatePolicy(revision, approver), ActivatedPolicy)

    def deactivate_policy(
        self, author: str, note: str, approver: str
    ) -> ActivatedPolicy:
        """See `PolicyLife.deactivate`."""
        return self._ask(DeactivatePolicy(author, note, approver), ActivatedPolicy)

    def erase_personal(self, selection: Selection, reason: str) -> Erased:
        """See `PrivacyLife.erase`.

        Raises:
            InvalidArgumentError: nobody is named.
        """
        if self._by is None:
            raise errors.InvalidArgumentError(
                "say who erases this: --by PERSON, a person of the configuration"
            )
        return self._ask(ErasePersonal(selection, reason, self._by), Erased)

    def place_legal_hold(
        self, end_user: str | None, reason: str, by: str
    ) -> PlacedLegalHold:
        """See `LegalHolds.place`."""
        return self._ask(PlaceLegalHold(end_user, reason, by), PlacedLegalHold)

    def lift_legal_hold(
        self, legal_hold_id: str, reason: str, by: str
    ) -> LiftedLegalHold:
        """See `LegalHolds.lift`."""
        return self._ask(LiftLegalHold(legal_hold_id, reason, by), LiftedLegalHold)

    def prune_trail(self, below: int, reason: str, approved_by: str, by: str) -> Pruned:
        """See `Retention.prune`."""
        return self._ask(PruneTrail(below, reason, approved_by, by), Pruned)

    def note_reading(self, what: str, scope: Scope) -> None:
        """See `Readings.note`."""
        self._ask(NoteReading(what, scope, self._by), Done)

    def _ask(self, command: Act, kind: type[_Result]) -> _Result:
        result = self._send(command)
        if not isinstance(result, kind):
            raise errors.ControlUnavailableError(
                f"the answer to {type(command).__name__} is no {kind.__name__}"
            )
        return result
