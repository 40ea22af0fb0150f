"""Known: everything that was ever put into force for a service, and what of it stands.

What was in force at a time is read off the acts in their order; the records of these
acts say whether the store has them right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from comptroller.core.registry import Service
from comptroller.engine.control_answers import Declaration, Since
from comptroller.engine.control_checking import Checked
from comptroller.engine.control_coverage import NOT_BORNE_OUT, Configured, Gap
from comptroller.engine.control_declared import Declared, Step
from comptroller.engine.control_evidence import Fault, InForce, Moment
from comptroller.engine.control_history import BEFORE_ALL, in_force
from comptroller.engine.control_ports import ChangeRow, RecordPlace
from comptroller.engine.controls import BUNDLED
from comptroller.engine.policy_ports import ActivationRow


class Known(NamedTuple):
    """Everything that was ever in force for a service."""

    service: str
    steps: Sequence[Step]
    first: int
    """The first revision whose objects are known."""
    activations: Sequence[ActivationRow]
    places: Mapping[int, RecordPlace]
    changes: Sequence[ChangeRow]
    checked: Checked
    """What the records say of all of this."""

    @property
    def times(self) -> list[int]:
        """When each revision was applied."""
        return [one.row.time_ns for one in self.steps]

    @property
    def policy_times(self) -> list[int]:
        """When each activation was."""
        return [one.time_ns for one in self.activations]

    def registry_at(self, at_ns: int) -> tuple[InForce, Step | None]:
        """The revision in force at a time."""
        indices = in_force(self.times, at_ns)
        if indices[-1] == BEFORE_ALL:
            return InForce(None, None, None), None
        step = self.steps[indices[-1]]
        unclear = _unclear("registry revision", [str(one + 1) for one in indices])
        row = step.row
        if unclear is None and row.revision < self.first:
            unclear = (
                f"what registry revision {row.revision} held is not known here: an"
                f" older release applied it, and only {self.first} and later are kept"
            )
        own = InForce(str(row.revision), row.time_ns, row.place, unclear, row)
        return own, step

    def policy_at(self, at_ns: int) -> InForce:
        """The bundle in force at a time."""
        indices = in_force(self.policy_times, at_ns)
        if indices[-1] == BEFORE_ALL:
            return InForce(None, None, None)
        row = self.activations[indices[-1]]
        numbers = [str(one + 1) for one in indices]
        unclear = _unclear("policy activation", numbers)
        place = self.places.get(row.number)
        return InForce(row.revision, row.time_ns, place, unclear, row)

    def faults(self, moment: Moment, since: Mapping[str, Since | None]) -> list[Fault]:
        """What the records do not bear out of what was in force at a moment.

        Args:
            moment: asked about.
            since: the act that each control is dated by.
        """
        found = []
        for one in self.checked.faults:
            if one.bears_on(moment.at_ns):
                found.append(one.fault)
                continue
            place = one.fault.piece.place
            dated = {
                name
                for name, act in since.items()
                if act is not None and place is not None and act.place == place
            }
            if dated:
                found.append(one.fault._replace(controls=frozenset(dated)))
        return found

    def differing(self) -> dict[str, list[Gap]]:
        """When each control rests on what the records do not bear out."""
        found: dict[str, list[Gap]] = {}
        for fault, begin_ns, end_ns in self.checked.faults:
            for name in fault.controls:
                gap = Gap(begin_ns, end_ns, NOT_BORNE_OUT)
                found.setdefault(name, []).append(gap)
        return found

    def declarations(self, moment: Moment) -> list[Declaration]:
        """The objects that declare what is in force, as last changed by then."""
        revision = moment.registry.revision
        if revision is None:
            return []
        step = next(
            (one for one in self.steps if str(one.row.revision) == revision), None
        )
        if step is None or step.service is None:
            return []
        wanted = set(_declaring(step.service))
        last = {
            (one.kind, one.id): one.revision
            for one in self.changes
            if one.revision <= int(revision) and (one.kind, one.id) in wanted
        }
        times = {one.row.revision: one.row.time_ns for one in self.steps}
        return [
            Declaration(
                *key, number, times[number], self.checked.objects.get((number, *key))
            )
            for key, number in sorted(last.items())
            if number in times
        ]

    def since(self, control: str, moment: Moment) -> Since | None:
        """The act since which a control is as it was at a moment."""
        revision = moment.registry.revision
        index = next(
            (
                i
                for i, one in enumerate(self.steps)
                if str(one.row.revision) == revision
            ),
            None,
        )
        step = None if index is None else self.steps[index]
        own = None if step is None or step.declared is None else step.declared[control]
        if control in BUNDLED or own is None or not (own.is_on or own.limits):
            of_policy = moment.declared is not None and moment.declared[control].is_on
            return self._since_policy(moment) if of_policy else None
        begin = index or 0
        while begin and self._is_same(begin - 1, control, own):
            begin -= 1
        row = self.steps[begin].row
        is_exact = begin == 0 or row.revision > self.first
        return Since(
            row.time_ns, str(row.revision), row.place, row, None, is_exact=is_exact
        )

    def _is_same(self, index: int, control: str, own: Declared) -> bool:
        declared = self.steps[index].declared
        return declared is not None and declared[control] == own

    def _since_policy(self, moment: Moment) -> Since | None:
        index = in_force(self.policy_times, moment.at_ns)[-1]
        if index == BEFORE_ALL:
            return None
        row = self.activations[index]
        place = self.places.get(row.number)
        return Since(row.time_ns, row.revision, place, applied=None, activated=row)


def _declaring(service: Service) -> list[tuple[str, str]]:
    """The objects that may declare a limit of a service: kind and id of each."""
    return [
        ("organization", "organization"),
        ("gateway", "gateway"),
        ("tenant", service.tenant),
        ("unit", f"{service.tenant}/{service.unit}"),
        ("service", service.id),
        *(("model", one) for one in service.models),
    ]


def configured_in(known: Known, span: tuple[int, int]) -> list[Configured]:
    """What was in force for each part of a span."""
    times = {*span, *known.times, *known.policy_times}
    cuts = sorted(one for one in times if span[0] <= one <= span[1])
    found = []
    for begin, end in pairwise(cuts):
        registry, policy = known.registry_at(begin)[0], known.policy_at(begin)
        revision = None if registry.revision is None else int(registry.revision)
        found.append(Configured(begin, end, revision, policy.revision))
    return found


def _unclear(what: str, names: Sequence[str]) -> str | None:
    if len(names) == 1:
        return None
    listed = " or ".join("none" if one == "0" else one for one in names)
    return (
        f"the clock was set back: {what} {listed} may have been in force at this time"
    )
