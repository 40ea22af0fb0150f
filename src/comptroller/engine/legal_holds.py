"""Legal holds: while one is in force, nothing of its scope is deleted.

Whom one is about is known by a commitment alone, as of the personal fields of
records; its salt is destroyed when it is lifted, and then nobody can tell any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

import msgspec

from comptroller.core.disclosure import END_USER, SALT_BYTES, commitment, disclosure
from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    LegalHoldError,
    NotFoundError,
)
from comptroller.core.registry import Registry
from comptroller.core.timestamps import rfc3339
from comptroller.engine.arguments import check_unsaid, one_line, require
from comptroller.engine.batch import Batch
from comptroller.engine.ports import Entropy, Ids, JournalReader
from comptroller.engine.projection import CHUNK_BYTES, is_administrative
from comptroller.engine.records import Actor
from comptroller.engine.retention_ports import (
    LegalHoldRow,
    LegalHoldSalts,
    RetentionReports,
)
from comptroller.engine.retention_records import (
    LEGAL_HOLD_LIFTED,
    LEGAL_HOLD_PLACED,
    LegalHoldLifted,
    LegalHoldPlaced,
)

_MARK: Final = f'"{LEGAL_HOLD_PLACED}"'.encode()


class LegalHoldParts(NamedTuple):
    """What legal holds need of the process that administers."""

    store: RetentionReports
    salts: LegalHoldSalts
    ids: Ids
    entropy: Entropy
    registry: Callable[[], Registry]
    """What is applied.

    Raises:
        ConflictError: nothing is.
    """
    batch: Callable[[], Batch]
    record: Callable[[Batch], None]


class PlacedLegalHold(msgspec.Struct, frozen=True):
    """A legal hold that is in force now."""

    legal_hold_id: str
    is_on_everything: bool


class LiftedLegalHold(msgspec.Struct, frozen=True):
    """A legal hold that is in force no more."""

    legal_hold_id: str
    in_force: int
    """How many others are."""


class LegalHolds:
    """The acts on legal holds, for the one process that holds the control lock."""

    def __init__(self, parts: LegalHoldParts) -> None:
        self._parts = parts

    def place(self, end_user: str | None, reason: str, actor: Actor) -> PlacedLegalHold:
        """Keeps everything, or what is of one end user, from being deleted.

        Args:
            end_user: the id of the end user; None: it is about everything.
            reason: why, for the records.
            actor: who does this, and answers for it.

        Raises:
            InvalidArgumentError: nobody or no reason is named, or the reason repeats
                the id.
            NotFoundError: the person who does this is not declared.
            StoreUnavailableError: the salt could not be kept; nothing was placed.
            JournalUnavailableError: nothing was placed.
        """
        why = self._answered_for(reason, actor)
        hold_id = self._parts.ids.new()
        trace = None
        if end_user is not None:
            if not end_user:
                raise InvalidArgumentError("say whose records stay: --end-user VALUE")
            check_unsaid(end_user, why)
            salt = self._parts.entropy.token(SALT_BYTES)
            # Before the record: one without its salt would be on everything.
            self._parts.salts.keep(hold_id, salt)
            trace = _trace(salt, end_user)
        placed = LegalHoldPlaced(
            legal_hold_id=hold_id, reason=why, end_user_trace=trace, actor=actor
        )
        self._record(LEGAL_HOLD_PLACED, hold_id, placed)
        return PlacedLegalHold(hold_id, trace is None)

    def lift(self, hold_id: str, reason: str, actor: Actor) -> LiftedLegalHold:
        """Lets go of what a legal hold kept.

        Args:
            hold_id: of the legal hold.
            reason: why, for the records.
            actor: who does this, and answers for it.

        Raises:
            InvalidArgumentError: nobody or no reason is named.
            NotFoundError: there is no such legal hold, or the person who does this
                is not declared.
            ConflictError: it was lifted before.
            JournalUnavailableError: it was not lifted.
            StoreUnavailableError: it was; its salt is destroyed by the next process
                that administers.
        """
        why = self._answered_for(reason, actor)
        held = _find(self._parts.store.legal_holds(), hold_id)
        if held.lifted_ns is not None:
            raise ConflictError(
                f"legal hold {held.id} was lifted at {rfc3339(held.lifted_ns)} by"
                f" {held.lifted_by or held.lifted_account}: {held.lifted_reason}"
            )
        lifted = LegalHoldLifted(legal_hold_id=held.id, reason=why, actor=actor)
        self._record(LEGAL_HOLD_LIFTED, held.id, lifted)
        self.sweep()
        return LiftedLegalHold(held.id, len(in_force(self._parts.store)))

    def sweep(self) -> None:
        """Destroys the salts of all legal holds that are not in force.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
        kept = {one.id for one in in_force(self._parts.store)}
        self._parts.salts.keep_only(kept)

    def check_erasure(self, end_users: Callable[[], Iterable[str]]) -> bool:
        """Lets personal data be erased that no legal hold is on.

        Args:
            end_users: of whom the data is; asked for only where a legal hold is on
                an end user.

        Returns:
            Whether any legal hold is in force.

        Raises:
            LegalHoldError: one is on it; the message names it.
            StoreUnavailableError: it is not known.
        """
        holds = in_force(self._parts.store)
        for held in holds:
            if held.end_user_trace is None:
                refuse(held, "nothing is erased")
        named = set(end_users()) if holds else set()
        for held in holds:
            salt = self._parts.salts.read(held.id)
            if salt is None:
                refuse(
                    held, "its salt is lost, so it is on everyone: nothing is erased"
                )
            if held.end_user_trace in {_trace(salt, one) for one in named}:
                refuse(held, "what is of that end user is not erased")
        return bool(holds)

    def _answered_for(self, reason: str, actor: Actor) -> str:
        """The reason, once it is clear who does this."""
        if actor.person is None:
            raise InvalidArgumentError("say who does this: --by PERSON")
        require(actor.person, self._parts.registry().people, "person")
        return one_line(reason, "--reason TEXT")

    def _record(self, kind: str, hold_id: str, data: msgspec.Struct) -> None:
        batch = self._parts.batch()
        batch.add(kind, f"legal_hold/{hold_id}", data)
        self._parts.record(batch)


def in_force(reports: RetentionReports) -> Sequence[LegalHoldRow]:
    """The legal holds that are in force, oldest first.

    Raises:
        StoreUnavailableError: it is not known.
    """
    return [one for one in reports.legal_holds() if one.lifted_ns is None]


def is_placed_since(reader: JournalReader, positions: Mapping[str, int]) -> bool:
    """Whether journals say of a legal hold that a store does not know yet.

    A store that was put in the place of another one lacks what is recorded since.

    Args:
        reader: of the journals.
        positions: up to where the store has each, by source.

    Returns:
        True also where that one was lifted again: the store will tell.

    Raises:
        JournalUnavailableError: a journal cannot be read.
    """
    for source in filter(is_administrative, reader.sources()):
        offset = positions.get(source, 0)
        while run := reader.read(source, offset, CHUNK_BYTES):
            if any(_MARK in record.line for record in run):
                return True
            offset = run[-1].offset + len(run[-1].line) + 1
    return False


def check_no_legal_hold(reports: RetentionReports, consequence: str) -> None:
    """Lets a deletion go on that may be of anybody's records.

    Args:
        reports: of the store, with every act in it that was recorded.
        consequence: of a legal hold, such as `no journal is deleted`.

    Raises:
        LegalHoldError: a legal hold is in force, on whatever; the message names it.
        StoreUnavailableError: it is not known whether one is.
    """
    for held in in_force(reports):
        refuse(held, consequence)


def refuse(held: LegalHoldRow, consequence: str) -> NoReturn:
    """Says why something is not deleted, and what would have to be done.

    Raises:
        LegalHoldError: always.
    """
    scope = "everything" if held.end_user_trace is None else "an end user"
    raise LegalHoldError(
        f"legal hold {held.id} on {scope} is in force since"
        f" {rfc3339(held.placed_ns)}, placed by"
        f" {held.placed_by or held.placed_account} ({held.reason}): {consequence}"
        " until it is lifted with comptroller audit legal-hold lift"
    )


def _trace(salt: bytes, end_user: str) -> str:
    return commitment(disclosure(salt, END_USER, end_user))


def _find(rows: Sequence[LegalHoldRow], hold_id: str) -> LegalHoldRow:
    wanted = hold_id.strip().upper()
    for one in rows:
        if one.id.upper() == wanted:
            return one
    raise NotFoundError(
        f"there is no legal hold {hold_id!r}; comptroller audit legal-hold list shows"
        " those there are"
    )
