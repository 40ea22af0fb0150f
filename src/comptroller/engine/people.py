"""People: records commit to who they are, and the side table discloses it.

A person's id stands in records, for owners refer to it. The name and the address are
salted commitments (core/disclosure.py), in the store as in the records. Their
disclosures are durable before the record that commits to them: a process killed in
between leaves a disclosure that nothing commits to, which an erasure of that person
removes like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from comptroller.core.disclosure import (
    ALGORITHM,
    Disclosed,
    commitment,
    disclosure,
    read_disclosure,
)
from comptroller.core.errors import RecordError
from comptroller.core.registry import Person, PersonId
from comptroller.engine.privacy_ports import DisclosureTable

KIND: Final = "person"
"""The kind of object that people are, in records and in the store."""
NAME: Final = "name"
EMAIL: Final = "email"


class CommittedPerson(msgspec.Struct, frozen=True):
    """A person as records and the store hold one."""

    id: str
    commitments: list[str] = msgspec.field(name="_sd", default_factory=list)
    """Empty: it was recorded before commitments were, with all that it says."""
    algorithm: str = msgspec.field(name="_sd_alg", default=ALGORITHM)


class Known(NamedTuple):
    """A disclosure and what it says."""

    text: str
    said: Disclosed


class Commitments(NamedTuple):
    """A person before and after a change, as a record says it."""

    before: bytes | None
    after: bytes | None
    changed: list[str]
    """Members whose value is another one, by name; never the value."""
    disclosures: list[str]
    """That are new."""


_committed: Final = msgspec.json.Decoder(CommittedPerson).decode
_plain: Final = msgspec.json.Decoder(Person).decode


def disclosures_of_people(table: DisclosureTable) -> dict[str, str]:
    """What the side table discloses of people, by commitment.

    Raises:
        StoreUnavailableError: the disk does not answer.
    """
    return {
        commitment(text): text
        for held in table.people()
        for text in held.line.disclosures
    }


def commitments_of(body: bytes) -> list[str]:
    """The commitments of a stored person; empty: all that it says is plain.

    Raises:
        msgspec.ValidationError: it is no person.
    """
    return _committed(body).commitments


def read_person(body: bytes, disclosures: Mapping[str, str]) -> Person:
    """A stored person, as far as it is disclosed.

    Args:
        body: JSON, with commitments, or plain as older releases recorded it.
        disclosures: by commitment.

    Returns:
        What is not disclosed any more has the id for its name, and no address.

    Raises:
        msgspec.ValidationError: it is no person.
    """
    stored = _committed(body)
    if not stored.commitments:
        return _plain(body)
    said = {one.said.name: one.said.value for one in _known(stored, disclosures)}
    return Person(PersonId(stored.id), said.get(NAME, stored.id), said.get(EMAIL, ""))


def commit(
    change: tuple[Person | None, Person | None],
    stored: bytes | None,
    disclosures: Mapping[str, str],
    new_salt: Callable[[], bytes],
) -> Commitments:
    """Commits to a person before and after a change.

    What stays as it was keeps its commitment, so that a record shows which one of a
    person's commitments is another.

    Args:
        change: before and after.
        stored: the body before, as the store has it.
        disclosures: what is disclosed, by commitment.
        new_salt: makes one that was never used.
    """
    before, after = change
    known: list[Known] = []
    if stored is not None and before is not None:
        known = _known(_committed(stored), disclosures)
        if not commitments_of(stored):
            # What it was stands in an older record: no need to disclose it again.
            known = _disclose(before, (), new_salt)
            stored = _encode(before.id, known)
    if after is None:
        return Commitments(stored, None, [], [])
    now = _disclose(after, known, new_salt)
    changed = [one.said.name for one in now if one not in known and stored is not None]
    new = [one.text for one in now if commitment(one.text) not in disclosures]
    return Commitments(stored, _encode(after.id, now), changed, new)


def _known(stored: CommittedPerson, disclosures: Mapping[str, str]) -> list[Known]:
    """What is disclosed of a person's commitments; what cannot be read is left out."""
    found = []
    for one in stored.commitments:
        text = disclosures.get(one)
        if text is None:
            continue
        try:
            found.append(Known(text, read_disclosure(text)))
        except RecordError:
            continue
    return found


def _disclose(
    person: Person, known: Sequence[Known], new_salt: Callable[[], bytes]
) -> list[Known]:
    """A disclosure for each of a person's values: one that is known, or a new one."""
    texts = {(one.said.name, one.said.value): one for one in known}
    found = []
    for name, value in ((NAME, person.name), (EMAIL, person.email)):
        one = texts.get((name, value))
        if one is None:
            text = disclosure(new_salt(), name, value)
            one = Known(text, read_disclosure(text))
        found.append(one)
    return found


def _encode(person_id: str, known: list[Known]) -> bytes:
    committed = sorted(commitment(one.text) for one in known)
    return msgspec.json.encode(CommittedPerson(person_id, committed))
