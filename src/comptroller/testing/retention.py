"""Fakes of what a store knows of retention, and of the salts of legal holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from comptroller.core.errors import RecordError
from comptroller.engine.fold import Act
from comptroller.engine.retention_ports import LegalHoldRow, PruningRow
from comptroller.engine.retention_records import (
    LegalHoldLifted,
    LegalHoldPlaced,
    TrailPruned,
)


class InMemoryRetention:
    """Satisfies `engine.retention_ports.RetentionReports`."""

    def __init__(self) -> None:
        super().__init__()
        self._legal_holds: dict[str, LegalHoldRow] = {}
        self._prunings: list[PruningRow] = []

    def legal_holds(self) -> Sequence[LegalHoldRow]:
        """Every legal hold ever placed, oldest first."""
        rows = self._legal_holds.values()
        return sorted(rows, key=lambda one: (one.placed_ns, one.id))

    def prunings(self) -> Sequence[PruningRow]:
        """Every pruning, oldest first."""
        return list(self._prunings)

    def _retained(self) -> tuple[dict[str, LegalHoldRow], list[PruningRow]]:
        """What `_retain_again` leads back to."""
        return dict(self._legal_holds), list(self._prunings)

    def _retain_again(
        self, before: tuple[dict[str, LegalHoldRow], list[PruningRow]]
    ) -> None:
        self._legal_holds, self._prunings = before

    def _retain(self, act: Act) -> None:
        """Follows an act, if it is one on retention.

        Raises:
            RecordError: it does not follow from what was before.
        """
        match act.data:
            case LegalHoldPlaced() as placed:
                self._place(placed, act.time_ns)
            case LegalHoldLifted() as lifted:
                self._lift(lifted, act.time_ns)
            case TrailPruned() as pruned:
                self._prune(pruned, act.time_ns)
            case _:
                pass

    def _place(self, placed: LegalHoldPlaced, time_ns: int) -> None:
        name, by = placed.legal_hold_id, placed.actor
        if name in self._legal_holds:
            raise RecordError(f"legal hold {name} was placed before")
        lifted = (None, None, None, None)
        said = (placed.reason, placed.end_user_trace)
        self._legal_holds[name] = LegalHoldRow(
            name, *said, time_ns, by.person, by.account, *lifted
        )

    def _lift(self, lifted: LegalHoldLifted, time_ns: int) -> None:
        row = self._legal_holds.get(lifted.legal_hold_id)
        if row is None or row.lifted_ns is not None:
            raise RecordError(f"legal hold {lifted.legal_hold_id} was not in force")
        self._legal_holds[row.id] = row._replace(
            lifted_ns=time_ns,
            lifted_reason=lifted.reason,
            lifted_by=lifted.actor.person,
            lifted_account=lifted.actor.account,
        )

    def _prune(self, pruned: TrailPruned, time_ns: int) -> None:
        minimum = self._prunings[-1].below if self._prunings else 0
        if pruned.below <= minimum:
            raise RecordError(
                f"the trail is pruned below {pruned.below}, and was below {minimum}"
                " before"
            )
        self._prunings.append(
            PruningRow(
                pruned.below,
                pruned.before,
                pruned.reason,
                pruned.actor.person,
                pruned.approved_by,
                pruned.actor.account,
                time_ns,
            )
        )


class InMemorySalts:
    """Satisfies `engine.retention_ports.LegalHoldSalts`."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def keep(self, hold_id: str, salt: bytes) -> None:
        """Keeps it."""
        self.kept[hold_id] = salt

    def read(self, hold_id: str) -> bytes | None:
        """The salt of a legal hold; None: it is not there."""
        return self.kept.get(hold_id)

    def keep_only(self, hold_ids: Collection[str]) -> None:
        """Forgets the others."""
        self.kept = {one: self.kept[one] for one in self.kept if one in hold_ids}
