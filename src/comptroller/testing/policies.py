"""Fake of what a store knows of policies: rows in lists."""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.core.errors import RecordError
from comptroller.engine.fold import PolicyAct
from comptroller.engine.policy_ports import ActivationRow, PolicyLoadRow, PolicyRow
from comptroller.engine.policy_records import (
    PolicyActivated,
    PolicyDeactivated,
    PolicyLoaded,
    PolicyPublished,
)


class InMemoryPolicies:
    """Satisfies `engine.policy_ports.PolicyReports`."""

    def __init__(self) -> None:
        super().__init__()
        self._published: dict[str, PolicyRow] = {}
        self._activations: list[ActivationRow] = []
        self._loads: dict[str, PolicyLoadRow] = {}
        self._begin_policies()

    def policies(self) -> Sequence[PolicyRow]:
        """Every published bundle, oldest first."""
        rows = self._published.values()
        return sorted(rows, key=lambda one: (one.time_ns, one.revision))

    def policy_activations(self) -> Sequence[ActivationRow]:
        """Every change of the bundle that decides, oldest first."""
        return list(self._activations)

    def policy_loads(self) -> Sequence[PolicyLoadRow]:
        """The last load of each worker that ever loaded one, by source."""
        return [self._loads[source] for source in sorted(self._loads)]

    def _begin_policies(self) -> None:
        """Begins a run of records: `_restore_policies` leads here."""
        self._before_run = self._published, self._activations, self._loads
        self._published, self._loads = dict(self._published), dict(self._loads)
        self._activations = list(self._activations)

    def _restore_policies(self) -> None:
        self._published, self._activations, self._loads = self._before_run

    def _follow_policies(self, source: str, acts: Sequence[PolicyAct]) -> None:
        for act in acts:
            self._follow(source, act)

    def _follow(self, source: str, act: PolicyAct) -> None:
        match act.data:
            case PolicyPublished() as made:
                self._published[made.revision] = PolicyRow(
                    made.revision,
                    made.author,
                    made.note,
                    act.time_ns,
                    len(made.files),
                    made.parts_count,
                    made.cases,
                    made.sets_digest,
                )
            case PolicyActivated() as activated:
                if activated.revision not in self._published:
                    raise RecordError(
                        f"policy {activated.revision} was never published"
                    )
                self._change(activated.revision, activated, "", act.time_ns)
            case PolicyDeactivated() as ended:
                self._change(None, ended, ended.note, act.time_ns)
            case PolicyLoaded(revision=revision, previous=previous):
                self._loads[source] = PolicyLoadRow(
                    source, act.offset, revision, previous, act.time_ns
                )

    def _change(
        self,
        revision: str | None,
        change: PolicyActivated | PolicyDeactivated,
        note: str,
        time_ns: int,
    ) -> None:
        active = self._activations[-1].revision if self._activations else None
        if change.previous != active:
            raise RecordError(
                f"policy {revision} replaces {change.previous}, but {active} was active"
            )
        self._activations.append(
            ActivationRow(
                len(self._activations) + 1,
                revision,
                change.previous,
                change.author,
                change.approver,
                note,
                change.separation_of_duties,
                time_ns,
            )
        )
