"""The simulated store: the fake one, whose rows can be watched."""

from __future__ import annotations

from collections.abc import Iterable

from comptroller.core.books import AccountState, LeaseState
from comptroller.testing.shelf import InMemoryShelf
from comptroller.testing.store import InMemoryStore


class WatchedStore(InMemoryStore):
    """What is projected; the witness looks at rows and never changes them."""

    def state(self, account: str) -> AccountState | None:
        """An account's row as it stands."""
        return InMemoryShelf.account(self._rows, account)

    def states(self) -> Iterable[AccountState]:
        """Every account's row as it stands."""
        return InMemoryShelf.accounts(self._rows)

    def lease_state(self, holder: str, account: str) -> LeaseState | None:
        """A lease's row as it stands; None: there is none."""
        found = InMemoryShelf.leases(self._rows, holder=holder, account=account)
        return found[0] if found else None
