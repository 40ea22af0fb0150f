"""Applying: what is applied, and the records that say what a configuration changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from comptroller.core.difference import Change, RegistryValue
from comptroller.core.registry import Person, Registry
from comptroller.engine import people, records
from comptroller.engine.ports import RegistryObject, Store
from comptroller.engine.privacy_ports import DisclosureLine, DisclosureTable
from comptroller.engine.records import Actor
from comptroller.engine.registry_fold import encode_object, fold


class Applied:
    """What is applied, for the one process that writes the store.

    It is put together once a revision: a thousand people take 20 ms.
    """

    def __init__(self, store: Store, table: DisclosureTable) -> None:
        self._store = store
        self._table = table
        self._known: tuple[int, Registry | None] | None = None
        """The registry last put together, and its revision."""

    def registry(self) -> Registry | None:
        """The registry, with who its people are; None: nothing is applied yet.

        Raises:
            StoreUnavailableError: the store or the side table does not answer.
        """
        revision = self._store.revision()
        if self._known is None or self._known[0] != revision:
            disclosures = people.disclosures_of_people(self._table)
            registry = fold(self._store.registry_objects(), disclosures)
            self._known = (revision, registry)
        return self._known[1]

    def writer(self, new_salt: Callable[[], bytes]) -> ChangeWriter:
        """Writes what is to change of it.

        Raises:
            StoreUnavailableError: the store or the side table does not answer.
        """
        disclosures = people.disclosures_of_people(self._table)
        return ChangeWriter(self._store.registry_objects(), disclosures, new_salt)


class ChangeWriter:
    """Writes changes as records; of people, only that they changed.

    Args:
        stored: everything applied until now, as the store has it.
        disclosures: what is disclosed of people, by commitment.
        new_salt: makes a salt that was never used.
    """

    def __init__(
        self,
        stored: Sequence[RegistryObject],
        disclosures: Mapping[str, str],
        new_salt: Callable[[], bytes],
    ) -> None:
        self._people = {one.id: one.body for one in stored if one.kind == people.KIND}
        self._disclosures = disclosures
        self._new_salt = new_salt
        self.lines: list[DisclosureLine] = []
        """What discloses the people of the records; to be kept before they are."""

    def record(
        self, change: Change, revision: int, actor: Actor
    ) -> tuple[str, str, records.ObjectChange]:
        """The type, the subject and the data of a change's record."""
        kind = records.OBJECT_CHANGED
        if change.before is None:
            kind = records.OBJECT_CREATED
        elif change.after is None:
            kind = records.OBJECT_REMOVED
        before, after = _body(change.before), _body(change.after)
        changed: list[str] | msgspec.UnsetType = msgspec.UNSET
        if change.kind == people.KIND:
            said = self._commit(change)
            before, after = said.before, said.after
            changed = said.changed or msgspec.UNSET
        data = records.ObjectChange(
            revision=revision,
            kind=change.kind,
            id=change.id,
            before=_raw(before),
            after=_raw(after),
            changed=changed,
            actor=actor,
        )
        return kind, f"{change.kind}/{change.id}", data

    def _commit(self, change: Change) -> people.Commitments:
        said = people.commit(
            (_person(change.before), _person(change.after)),
            self._people.get(change.id),
            self._disclosures,
            self._new_salt,
        )
        if said.disclosures:
            self.lines.append(DisclosureLine(change.id, said.disclosures))
        return said


def _person(value: RegistryValue | None) -> Person | None:
    return value if isinstance(value, Person) else None


def _body(value: RegistryValue | None) -> bytes | None:
    return None if value is None else encode_object(value)


def _raw(body: bytes | None) -> msgspec.Raw:
    return records.NULL if body is None else msgspec.Raw(body)
