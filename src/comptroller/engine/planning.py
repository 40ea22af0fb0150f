"""Planning: what a configuration would change, and who answers for what it touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from comptroller.core.credential import CredentialState
from comptroller.core.difference import Change, answerable, difference
from comptroller.core.registry import PersonId, Registry, ServiceId
from comptroller.engine.identity import CredentialLine

_SUBJECTS_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from what is applied to a configuration."""

    before: Registry | None
    after: Registry
    revision: int
    """The revision of `before`; 0: nothing was ever applied."""
    changes: tuple[Change, ...]

    def in_words(self) -> list[str]:
        """Every difference in a line of its own, for people."""
        return [line for change in self.changes for line in change.in_words()]

    def counts(self) -> str:
        """How much changes: `2 added, 1 changed, 0 removed`."""
        added = sum(one.before is None for one in self.changes)
        removed = sum(one.after is None for one in self.changes)
        changed = len(self.changes) - added - removed
        return f"{added} added, {changed} changed, {removed} removed"

    def answering(self) -> list[str]:
        """Every person who answers for something touched, with for what."""
        touched: dict[PersonId, dict[str, list[str]]] = {}
        for change in self.changes:
            for role, person in self.answerable(change).items():
                of_person = touched.setdefault(person, {})
                of_person.setdefault(change.subject(), []).append(role)
        return [
            f"{self._name(person)}: {_few(of_person)}"
            for person, of_person in sorted(touched.items())
        ]

    def answerable(self, change: Change) -> dict[str, PersonId]:
        """Who answers for one change, by role; of a removal, who did.

        Who hands a role over is named, too: it is theirs until this is applied.
        """
        before = {}
        if self.before is not None and change.before is not None:
            removal = Change(change.kind, change.id, change.before, None)
            before = answerable(removal, self.before)
        if change.after is None:
            return before
        after = answerable(change, self.after)
        leaving = {
            f"{role} until now": person
            for role, person in before.items()
            if after.get(role) != person
        }
        return after | leaving

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        return {
            "revision": self.revision,
            "changes": [
                {
                    "kind": change.kind,
                    "id": change.id,
                    "action": _action(change),
                    "words": change.in_words(),
                    "answerable": self.answerable(change),
                    "before": msgspec.to_builtins(change.before),
                    "after": msgspec.to_builtins(change.after),
                }
                for change in self.changes
            ],
        }

    def _name(self, person: PersonId) -> str:
        for side in (self.after, self.before):
            if side is not None and person in side.people:
                return f"{side.people[person].name} ({person})"
        return person


def make_plan(before: Registry | None, revision: int, after: Registry) -> Plan:
    """Compares what is applied, at its revision, with a configuration."""
    return Plan(before, after, revision, tuple(difference(before, after)))


def credential_warnings(lines: Iterable[CredentialLine], after: Registry) -> list[str]:
    """What a configuration does to credentials that work now, in words."""
    said = []
    stranded: Counter[str] = Counter()
    for line in lines:
        if line.state != CredentialState.ACTIVE:
            continue
        if ServiceId(line.service) not in after.services:
            stranded[line.service] += 1
        elif PersonId(line.person) not in after.people:
            said.append(
                f"apply will be refused: person {line.person} holds credential"
                f" {line.credential_id} of service {line.service}: revoke it, or keep"
                " the person"
            )
    for service, count in stranded.items():
        what = "its credential" if count == 1 else f"its {count} credentials"
        said.append(f"service {service} goes: {what} will be refused")
    return said


def _action(change: Change) -> str:
    if change.before is None:
        return "add"
    return "remove" if change.after is None else "change"


def _few(roles_by_subject: dict[str, list[str]]) -> str:
    said = [
        f"{subject} ({', '.join(roles)})" for subject, roles in roles_by_subject.items()
    ]
    shown = "; ".join(said[:_SUBJECTS_SHOWN])
    more = len(said) - _SUBJECTS_SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
