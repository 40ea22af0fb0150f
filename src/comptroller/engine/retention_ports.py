"""Ports of retention: what a store knows of it, and the salts of legal holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol


class LegalHoldRow(NamedTuple):
    """A legal hold, in force or lifted."""

    id: str
    reason: str
    end_user_trace: str | None
    """See `retention_records.LegalHoldPlaced`; None: it is about everything."""
    placed_ns: int
    placed_by: str | None
    placed_account: str
    lifted_ns: int | None
    """None: it is in force."""
    lifted_reason: str | None
    lifted_by: str | None
    lifted_account: str | None


class PruningRow(NamedTuple):
    """One pruning of the trail, as it was asked for."""

    below: int
    """Index of the first entry that stays."""
    before: int
    """The same as of the pruning before this one; 0: there was none."""
    reason: str
    person: str | None
    approved_by: str
    account: str
    time_ns: int


class RetentionReports(Protocol):
    """What a store knows of retention."""

    def legal_holds(self) -> Sequence[LegalHoldRow]:
        """Every legal hold ever placed, oldest first."""

    def prunings(self) -> Sequence[PruningRow]:
        """Every pruning, oldest first, so that the last has the minimum index."""


class LegalHoldSalts(Protocol):
    """The salts by which a legal hold knows its end user again."""

    def keep(self, hold_id: str, salt: bytes) -> None:
        """Keeps the salt of a new legal hold durably.

        Raises:
            StoreUnavailableError: the disk refuses.
        """

    def read(self, hold_id: str) -> bytes | None:
        """The salt of a legal hold; None: it is not there, or cannot be used.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """

    def keep_only(self, hold_ids: Collection[str]) -> None:
        """Destroys the salts of all other legal holds.

        Raises:
            StoreUnavailableError: the disk refuses.
        """
