"""What a replay found: counts and a few examples, whatever the number of decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

DIFFERENCES_MAX: Final = 100
"""Differences that are kept to be shown; all are counted."""
EXAMPLES_MAX: Final = 5
"""Decision ids kept for each service and kind of change."""
PRICED_AT_ONCE: Final = 500

Costs = Callable[[Sequence[str]], dict[str, int]]


class Kind(StrEnum):
    """How another policy would have decided."""

    REFUSED = "refused"
    """Denied, and it was let through."""
    REFUSED_ANYWAY = "refused_anyway"
    """Denied, and another control refused it anyway."""
    ALLOWED = "allowed"
    """Allowed, and the policy denied it; other controls might not have."""
    CLAMPED = "clamped"
    """Allowed with less output than it asked for, and was not."""
    WARNED = "warned"
    """Allowed with a warning that it did not have."""
    OTHERWISE = "otherwise"
    """The same effect by other rules, ceilings or rules in audit."""
    UNDECIDABLE = "undecidable"
    """The record lacks what the policy asks about."""


class Difference(NamedTuple):
    """A recorded decision that does not follow from its facts and its bundle."""

    decision_id: str
    service: str
    what: str


@dataclass(slots=True)
class Line:
    """What was found of one service and the person who answers for its policy."""

    service: str
    owner: str
    counts: Counter[Kind] = field(default_factory=Counter)
    """Requests; several attempts at one are one."""
    examples: dict[Kind, list[str]] = field(default_factory=dict)
    cost_nano_usd: int = 0
    """What the requests cost that would be refused now."""
    unpriced: int = 0
    """Of these, attempts that have not ended: what they cost is not known."""
    to_price: list[str] = field(default_factory=list)
    """Ids whose cost is to be looked up yet."""

    def count(self, kind: Kind, decision_id: str, *, is_request: bool) -> None:
        """Counts a decision; its cost, if it matters, is looked up by `price`."""
        self.counts[kind] += is_request
        if kind is Kind.REFUSED:
            self.to_price.append(decision_id)
        shown = self.examples.setdefault(kind, [])
        if len(shown) < EXAMPLES_MAX:
            shown.append(decision_id)

    def price(self, costs: Costs) -> None:
        """Adds up what the requests cost that would be refused now.

        Args:
            costs: looks costs up; without the requests that have not ended.
        """
        for begin in range(0, len(self.to_price), PRICED_AT_ONCE):
            asked = self.to_price[begin : begin + PRICED_AT_ONCE]
            found = costs(asked)
            self.cost_nano_usd += sum(found.values())
            self.unpriced += len(asked) - len(found)
        self.to_price.clear()

    def add(self, other: Line) -> None:
        """Adds what was found elsewhere."""
        self.counts.update(other.counts)
        self.cost_nano_usd += other.cost_nano_usd
        self.unpriced += other.unpriced
        self.to_price += other.to_price
        for kind, ids in other.examples.items():
            shown = self.examples.setdefault(kind, [])
            shown += ids[: EXAMPLES_MAX - len(shown)]


@dataclass(slots=True)
class Replayed:
    """What a replay, or a part of one, found."""

    decided: int = 0
    """Decisions that were decided once more."""
    changed: int = 0
    """Of these, decisions that would be another."""
    undecidable: int = 0
    """Of these, decisions of which nobody knows whether they would."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Decisions that no policy made, by their recorded reason."""
    differing: int = 0
    """Decisions that differ."""
    differences: list[Difference] = field(default_factory=list)
    """The first of them, one for each."""
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    """By service and owner."""

    def leave_out(self, reason: str) -> None:
        """Counts a decision that no policy made."""
        self.left_out[reason] += 1

    def differ(self, difference: Difference) -> None:
        """Counts a decision that differs."""
        self.differing += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(difference)

    def line(self, service: str, owner: str) -> Line:
        """The line of a service and owner."""
        found = self.lines.get((service, owner))
        if found is None:
            found = self.lines[service, owner] = Line(service, owner)
        return found

    def add(self, other: Replayed) -> None:
        """Adds what was found elsewhere."""
        self.decided += other.decided
        self.changed += other.changed
        self.undecidable += other.undecidable
        self.left_out.update(other.left_out)
        self.differing += other.differing
        free = DIFFERENCES_MAX - len(self.differences)
        self.differences += other.differences[:free]
        for line in other.lines.values():
            self.line(line.service, line.owner).add(line)

    def total(self, kind: Kind) -> int:
        """Requests of all services."""
        return sum(line.counts[kind] for line in self.lines.values())
