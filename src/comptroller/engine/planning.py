"""Planning: what a configuration would change, and who answers for what it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from comptroller.core.difference import Change, answerable, difference
from comptroller.core.registry import PersonId, Registry

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
        """Who answers for one change, by role; of a removal, who did."""
        side = self.before if change.after is None else self.after
        return answerable(change, side) if side is not None else {}

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
