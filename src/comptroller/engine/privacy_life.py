"""The life of personal data: found for those who ask for it, and erased.

An erasure is first kept as an intent: which bytes, never what they say. What a kill
interrupts is finished by the next process that administers, before anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Literal, NamedTuple

import msgspec

from comptroller.core.disclosure import (
    CLIENT_ADDRESS,
    END_USER,
    Disclosed,
    read_disclosure,
    trace,
)
from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    RecordError,
    StoreUnavailableError,
)
from comptroller.core.registry import Registry
from comptroller.core.timestamps import rfc3339
from comptroller.engine.arguments import check_unsaid, one_line, require
from comptroller.engine.batch import Batch
from comptroller.engine.discretion import plain_address
from comptroller.engine.ports import Ids
from comptroller.engine.privacy_ports import DisclosureTable, Held, Span
from comptroller.engine.privacy_records import PRIVACY_ERASED, PrivacyErased
from comptroller.engine.records import Actor

_ULID_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARS: Final = 10
_NS_PER_MS: Final = 10**6


class Selection(msgspec.Struct, frozen=True):
    """Whose disclosures: exactly one way to say it."""

    by: Literal["end_user", "address", "request", "before", "person"]
    value: str = ""
    """The id of the end user, the address, or the id of the request or the person."""
    before_ns: int = 0


class Erased(msgspec.Struct, frozen=True):
    """What was erased."""

    requests: int
    disclosures: int
    """0: there was nothing, so nothing was recorded."""
    erasure_id: str | None = None


class PrivacyParts(NamedTuple):
    """What the life of personal data needs of the process that administers."""

    table: DisclosureTable
    ids: Ids
    registry: Callable[[], Registry]
    """What is applied.

    Raises:
        ConflictError: nothing is.
    """
    batch: Callable[[], Batch]
    record: Callable[[Batch], None]
    check_erasure: Callable[[Callable[[], Iterable[str]]], bool]
    """See `LegalHolds.check_erasure`."""


class _Intent(msgspec.Struct, frozen=True):
    """What an erasure is about to do."""

    spans: list[Span]
    erased: PrivacyErased


class PrivacyLife:
    """The acts on personal data, for the one process that holds the control lock."""

    def __init__(self, parts: PrivacyParts) -> None:
        self._parts = parts

    def find(self, selection: Selection) -> list[Held]:
        """What a selection names; takes seconds among millions, in any thread.

        Raises:
            InvalidArgumentError: it names nothing.
            StoreUnavailableError: the disk does not answer.
        """
        return select(self._parts.table, selection)

    def erase(
        self,
        selection: Selection,
        reason: str,
        actor: Actor,
        found: list[Held] | None = None,
    ) -> Erased:
        """Destroys disclosures, then records how many, by whom and why.

        What is written while this goes on may stay.

        Args:
            selection: whose.
            reason: why, for the records.
            actor: who does this, and answers for it.
            found: what `find` found, where it was called before.

        Raises:
            InvalidArgumentError: nobody or no reason is named, or the reason repeats
                what is to be erased.
            ConflictError: the person who is to be erased is declared.
            NotFoundError: the person who does this is not declared.
            LegalHoldError: a legal hold is on what would be erased.
            StoreUnavailableError: it could not be done; once begun, it is finished by
                the next process that administers.
            JournalUnavailableError: it could not be recorded; likewise.
        """
        parts = self._parts
        if actor.person is None:
            raise InvalidArgumentError("say who erases this: --by PERSON")
        declared = parts.registry().people
        require(actor.person, declared, "person")
        why = one_line(reason, "--reason TEXT")
        if selection.by in ("end_user", "address"):
            check_unsaid(selection.value, why)
        if selection.by == "person" and selection.value in declared:
            raise ConflictError(
                f"person {selection.value} is declared: take them out of the"
                " configuration and apply it first"
            )
        self.finish()
        if found is None:
            found = self.find(selection)
        is_held = parts.check_erasure(partial(_end_users, selection, found))
        if not found:
            if not is_held:
                # Half a line may be all that a loss of power left of them.
                parts.table.blank(parts.table.broken())
            return Erased(0, 0)
        if selection.by == "person":
            for said in (said for one in found for said in disclosed(one)):
                check_unsaid(said.value, why)
        erased = self._erased(selection, found, why, actor)
        spans = [one.span for one in found]
        if not is_held:  # what cannot be read may be of whom a legal hold is on
            spans += parts.table.broken()
        parts.table.intend(msgspec.json.encode(_Intent(spans, erased)))
        self.finish()
        return Erased(erased.requests, erased.disclosures, erased.erasure_id)

    def _erased(
        self, selection: Selection, found: list[Held], reason: str, actor: Actor
    ) -> PrivacyErased:
        is_person, first = selection.by == "person", found[0].line.id
        return PrivacyErased(
            erasure_id=self._parts.ids.new(),
            selected_by=selection.by,
            request=first if selection.by == "request" else None,
            before=rfc3339(selection.before_ns) if selection.before_ns else None,
            person=first if is_person else None,
            requests=0 if is_person else len({one.line.id for one in found}),
            disclosures=sum(len(one.line.disclosures) for one in found),
            reason=reason,
            actor=actor,
        )

    def finish(self) -> None:
        """Finishes the erasure that is intended, if one is.

        Raises:
            StoreUnavailableError: the disk refuses.
            JournalUnavailableError: it could not be recorded.
        """
        parts = self._parts
        kept = parts.table.intent()
        if kept is None:
            return
        try:
            intent = msgspec.json.decode(kept, type=_Intent)
        except msgspec.DecodeError as error:
            raise StoreUnavailableError(
                f"the erasure that is under way cannot be read: {error}"
            ) from error
        parts.table.blank(intent.spans)
        batch = parts.batch()
        subject = f"erasure/{intent.erased.erasure_id}"
        batch.add(PRIVACY_ERASED, subject, intent.erased)
        parts.record(batch)
        parts.table.forget()


def select(table: DisclosureTable, selection: Selection) -> list[Held]:
    """The lines that a selection names.

    Raises:
        InvalidArgumentError: it names nothing.
    """
    value = selection.value
    if selection.by != "before" and not value:
        raise InvalidArgumentError(f"say which: --{selection.by.replace('_', '-')}")
    if selection.by == "before":
        before_ns = selection.before_ns
        return [one for one in table.lines() if _decided_ns(one.line.id) < before_ns]
    if selection.by == "person":
        return [one for one in table.people() if one.line.id == value]
    if selection.by == "request":
        wanted = value.strip().upper()
        lines = table.lines(wanted.encode())
        return [one for one in lines if one.line.id == wanted]
    name = END_USER
    if selection.by == "address":
        name, value = CLIENT_ADDRESS, plain_address(value.strip())
    return [
        one
        for one in table.lines(trace(name, value))
        if any((said.name, said.value) == (name, value) for said in disclosed(one))
    ]


def disclosed(held: Held) -> list[Disclosed]:
    """What a line discloses; what cannot be read of it is left out."""
    found = []
    for text in held.line.disclosures:
        try:
            found.append(read_disclosure(text))
        except RecordError:
            continue
    return found


def _end_users(selection: Selection, found: list[Held]) -> Iterator[str]:
    """The end users of whom something would be erased."""
    if selection.by == "end_user":
        yield selection.value
    for said in (said for one in found for said in disclosed(one)):
        if said.name == END_USER:
            yield said.value


def _decided_ns(request_id: str) -> int:
    """When a request's id was made, which is when it arrived."""
    number = 0
    for digit in request_id[:_TIME_CHARS]:
        number = number * 32 + max(_ULID_DIGITS.find(digit), 0)
    return number * _NS_PER_MS
